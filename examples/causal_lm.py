"""Token-level distillation of a causal language model: logits [B, L, V], with padding.

    python examples/causal_lm.py

Networks are built from configurations and sentences are made up, so nothing is downloaded.
"""

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM

import rltemp

VOCABULARY, LENGTH, BATCH, STEPS = 200, 24, 8, 15
PADDING, IGNORED = 0, -100


def language_model(width: int, layers: int) -> LlamaForCausalLM:
    """A Llama of any size, with fresh weights."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=layers,
            num_attention_heads=4,
            max_position_embeddings=LENGTH,
            pad_token_id=PADDING,
        )
    )


def sentences() -> Tensor:
    """Sentences [B, L] that count upwards by a step of their own, padded at the end."""
    start, stride = torch.randint(1, VOCABULARY, (BATCH, 1)), torch.randint(1, 4, (BATCH, 1))
    tokens = 1 + (start + stride * torch.arange(LENGTH)) % (VOCABULARY - 1)
    lengths = torch.randint(LENGTH // 2, LENGTH + 1, (BATCH, 1))
    return tokens.masked_fill(torch.arange(LENGTH) >= lengths, PADDING)


def next_tokens(tokens: Tensor) -> Tensor:
    """What each position [B, L - 1] has to predict; padding does not count."""
    return tokens[:, 1:].masked_fill(tokens[:, 1:] == PADDING, IGNORED)


def logits(model: LlamaForCausalLM, tokens: Tensor) -> Tensor:
    """Predictions of the next token, [B, L - 1, V]."""
    return model(tokens, attention_mask=tokens != PADDING).logits[:, :-1]


def main(policy: rltemp.TemperaturePolicy | None = None) -> list[float]:
    """Train a teacher, distill it token by token; the loss of every step."""
    torch.manual_seed(0)
    teacher, student = language_model(width=64, layers=2), language_model(width=32, layers=1)
    optimizer = torch.optim.AdamW(teacher.parameters(), lr=0.01)
    for _ in range(STEPS):
        tokens = sentences()
        optimizer.zero_grad()
        F.cross_entropy(logits(teacher, tokens).flatten(0, 1), next_tokens(tokens).flatten()).backward()
        optimizer.step()
    teacher.requires_grad_(False)

    policy = policy or rltemp.make_policy("anneal", start=4.0, end=1.0)
    criterion = rltemp.DistillationLoss(policy, ignore_index=IGNORED)
    optimizer = torch.optim.AdamW([*student.parameters(), *criterion.parameters()], lr=0.01)
    losses = []
    for step in range(STEPS):
        tokens = sentences()
        loss = criterion(logits(student, tokens), logits(teacher, tokens), next_tokens(tokens), step / STEPS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        print(f"step {step:2}  loss {losses[-1]:.3f}")
    return losses


if __name__ == "__main__":
    main()
