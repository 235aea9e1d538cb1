"""The model card of a trained policy, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rltemp.markdown import escape_markdown
from rltemp.policies.model_index import model_index, results_of, results_table

if TYPE_CHECKING:
    from rltemp.policies.learned import LearnedPolicy

__all__ = ["render_card"]

_METADATA = "---\nlibrary_name: rltemp\ntags:\n- knowledge-distillation\n- reinforcement-learning"


def render_card(policy: LearnedPolicy) -> str:
    """The model card: what the policy is, what it needs, how it is used, how it was trained, and what it scored."""
    needs = ", ".join(sorted(policy.needs)) or "nothing beside logits and progress"
    sections = [
        "\n".join(filter(None, (_METADATA, model_index(policy.card), "---"))),
        "# Temperature policy for knowledge distillation",
        f"Chooses the temperature of every instance of a minibatch from {_source(policy)}. "
        f"Needs: {needs}. Temperatures from {policy.low:g} to {policy.high:g}; "
        f"the loss is scaled by {policy.actions.describe_scale()}{policy.actions.describe_labels()}.",
        "## Use",
        _usage(policy),
        "## Features",
        "\n".join(f"- `{name}`" for name in policy.features.names),
    ]
    for title, content in policy.card.items():
        told = results_table(policy.card) if title == "results" and results_of(policy.card) else _render(content)
        sections += [f"## {_text(title.replace('_', ' ').capitalize())}", told]
    return "\n\n".join(sections) + "\n"


def _source(policy: LearnedPolicy) -> str:
    if policy.is_schedule:
        return "how far the run is, the same for all: a schedule"
    if policy.over_batch:
        return "student and teacher logits of the whole minibatch"
    return "student and teacher logits"


def _usage(policy: LearnedPolicy) -> str:
    optional = "".join(f", {name}={name}" for name in ("alignment", "position") if name in policy.needs)
    kd, entropy = "rltemp.kd_loss(student_logits, teacher_logits, temperatures)", "torch.nn.functional.cross_entropy"
    ce_weight, kd_weight = (f"{policy.weights.get(name, 1.0):g}" for name in ("ce_weight", "kd_weight"))
    loss = f"loss = {kd}.mean()"
    if policy.weighs_labels:
        loss = (
            f'labels = {entropy}(student_logits, targets, reduction="none") * temperatures.label_weight\n'
            f"loss = ({ce_weight} * labels + {kd_weight} * {kd}).mean()"
        )
    elif policy.weights:
        loss = f"labels = {entropy}(student_logits, targets)\nloss = {ce_weight} * labels + {kd_weight} * {kd}.mean()"
    return (
        "```python\n"
        "policy = rltemp.load_policy(path)\n"
        f"temperatures = policy(student_logits, teacher_logits, targets, progress{optional})\n"
        f"{loss}\n"
        "```"
    )


def _render(content: Any, indent: str = "") -> str:
    if not isinstance(content, Mapping):
        return f"{indent}{_text(content)}"
    lines = []
    for key, value in content.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}- {_text(f'{key}:')}", _render(value, indent + "  ")]
        else:
            lines.append(f"{indent}- {_text(f'{key}:')} {_text(value)}".rstrip())
    return "\n".join(lines)


def _text(value: object) -> str:
    return str(value) if isinstance(value, int | float) else escape_markdown(str(value))
