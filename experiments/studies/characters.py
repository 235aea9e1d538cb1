"""Which temperature for which divergence, token by token? Small language models of characters.

    uv run python -m rltemp.experiments.studies.characters --text TEXT [--out FOLDER] [--seeds N] [--steps N]

A teacher (4 layers of width 128) learns the first nine tenths of a text; students (2 of width 64) are distilled from
it on the same windows, with the same initial weights in every arm of a seed. Arms are static temperatures for three
divergences, a schedule, and the rules and mixtures that look at each token; the labels alone stand beside them. All
arms of a seed run side by side, and finished seeds are kept in FOLDER: the command goes on where it stopped. It
prints bits per character of the last twentieth of the text, the difference to the static temperature of forward KL
that is best on the twentieth before it (paired over seeds, 95 % t interval), and how often both networks choose the
same character.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import math
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor

from rltemp import DistillationLoss, InputError, make_policy
from rltemp.experiments.evaluation.statistics import paired_difference
from rltemp.files import atomic_write
from rltemp.networks import Network, make_network
from rltemp.objectives import KD, AdaptiveKD, EntropySplitKD, JensenShannonKD, Objective, ReverseKD
from rltemp.reading import read_safetensors, read_text
from rltemp.seeding import make_generator

CONTEXT, SENTENCES, RATE = 64, 16, 2e-3
TEACHER: dict[str, Any] = {"width": 128, "layers": 4}
STUDENT: dict[str, Any] = {"width": 64, "layers": 2}
DIVERGENCES: dict[str, Objective] = {"forward": KD(), "reverse": ReverseKD(), "jensen-shannon": JensenShannonKD()}


@dataclasses.dataclass(frozen=True)
class Texts:
    """Ids of characters, and how many different ones there are; validation and test are a twentieth each."""

    training: Tensor
    validation: Tensor
    test: Tensor
    vocabulary: int

    @classmethod
    def of(cls, text: str) -> Texts:
        """Split a text.

        Raises:
            InputError: for a text whose twentieth is no window.
        """
        if len(text) < 20 * (CONTEXT + 1):
            raise InputError(f"--text must have at least {20 * (CONTEXT + 1)} characters, got {len(text)}")
        known = {character: i for i, character in enumerate(sorted(set(text)))}
        ids = torch.tensor([known[character] for character in text])
        first, second = len(ids) * 18 // 20, len(ids) * 19 // 20
        return cls(ids[:first], ids[first:second], ids[second:], len(known))

    def draw(self, generator: torch.Generator) -> Tensor:
        """Windows [S, L + 1] of the training text."""
        starts = torch.randint(len(self.training) - CONTEXT, (SENTENCES, 1), generator=generator)
        return self.training[starts + torch.arange(CONTEXT + 1)]


@dataclasses.dataclass(frozen=True)
class Row:
    """What became of one student; bits are per character."""

    arm: str
    seed: int
    validation_bits: float
    test_bits: float
    agreement: float


def arms() -> dict[str, DistillationLoss]:
    """A criterion by name, new at every call; cross-entropy weighs 0.1, distillation 0.9."""
    found = {"labels alone": DistillationLoss(make_policy("static"), ce_weight=1.0, kd_weight=0.0)}
    for name, divergence in DIVERGENCES.items():
        for t in (0.5, 1.0, 2.0, 4.0):
            found[f"{name}, T = {t:g}"] = DistillationLoss(make_policy("static", temperature=t), divergence)
        found[f"{name}, adakd"] = DistillationLoss(make_policy("adakd"), divergence)
    for t in (0.5, 2.0, 4.0):
        found[f"forward, T = {t:g}, scale T"] = DistillationLoss(make_policy("static", temperature=t, scale=t))
    found["forward, T 4 to 1"] = DistillationLoss(make_policy("anneal", start=4.0, end=1.0))
    found["forward, spread"] = DistillationLoss(make_policy("spread"))
    plain = make_policy("static", temperature=1.0)
    found["AKL, T = 1"] = DistillationLoss(plain, AdaptiveKD())
    found["split at 1 nat, T = 1"] = DistillationLoss(plain, EntropySplitKD(1.0))
    return found


def scores(model: Network, teacher: Network, text: Tensor) -> tuple[float, float]:
    """Bits per character of a text, in windows side by side, and how often both networks choose the same character."""
    windows = text[: len(text) // (CONTEXT + 1) * (CONTEXT + 1)].view(-1, CONTEXT + 1)
    bits = same = 0.0
    with torch.no_grad():
        for part in windows.split(64):
            logits, taught = model(part[:, :-1]), teacher(part[:, :-1])
            bits += F.cross_entropy(logits.flatten(0, 1), part[:, 1:].flatten(), reduction="sum").item() / math.log(2)
            same += (logits.argmax(-1) == taught.argmax(-1)).sum().item()
    tokens = windows[:, 1:].numel()
    return bits / tokens, same / tokens


def train_teacher(texts: Texts, steps: int, path: Path) -> Network:
    """The teacher, which is kept at `path`."""
    generator = make_generator(0, "teacher")
    teacher = make_network("gpt", texts.vocabulary, (CONTEXT,), generator, **TEACHER)
    if path.exists():
        teacher.load_state_dict(read_safetensors(path))
        return teacher
    optimizer, schedule = _optimizer(teacher, steps)
    for _ in range(steps):
        windows = texts.draw(generator)
        loss = F.cross_entropy(teacher(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    atomic_write(path, safetensors.torch.save(teacher.state_dict()))
    return teacher


def train_students(texts: Texts, teacher: Network, seed: int, steps: int) -> list[Row]:
    """All arms of a seed, side by side: the teacher answers once for all."""
    criteria, windows_of = arms(), make_generator(seed, "windows")
    students = {
        name: make_network("gpt", texts.vocabulary, (CONTEXT,), make_generator(seed, "weights"), **STUDENT)
        for name in criteria
    }
    learners = {name: _optimizer(student, steps) for name, student in students.items()}
    for step in range(steps):
        windows = texts.draw(windows_of)
        with torch.no_grad():
            taught = teacher(windows[:, :-1])
        for name, student in students.items():
            optimizer, schedule = learners[name]
            loss = criteria[name](student(windows[:, :-1]), taught, windows[:, 1:], step / steps)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    rows = []
    for name, student in students.items():
        test, agreement = scores(student, teacher, texts.test)
        rows.append(Row(name, seed, scores(student, teacher, texts.validation)[0], test, agreement))
    return rows


def table(rows: list[Row]) -> str:
    """The arms over all seeds, best first, against the static temperature of forward KL that validation prefers."""
    found = {row.arm: [one for one in rows if one.arm == row.arm] for row in rows}
    static = [name for name in found if name.startswith("forward, T = ")]
    best = min(static, key=lambda name: sum(row.validation_bits for row in found[name]))
    lines = [f"| arm | bits per character | beyond {best} | agreement |", "|---|---|---|---|"]
    for name, ours in sorted(found.items(), key=lambda item: sum(row.test_bits for row in item[1])):
        bits = [row.test_bits for row in ours]
        beyond = ""
        if name != best and len(bits) > 1:
            gap = paired_difference(bits, [row.test_bits for row in found[best]])
            beyond = f"{gap.mean:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})"
        agreement = sum(row.agreement for row in ours) / len(ours)
        lines.append(f"| {name} | {sum(bits) / len(bits):.3f} | {beyond} | {100 * agreement:.1f} % |")
    return "\n".join(lines)


def run(text: str, folder: Path, seeds: int, steps: int, teacher_steps: int) -> list[Row]:
    """Train what is missing in `folder`; the rows of all seeds."""
    texts = Texts.of(text)
    folder.mkdir(parents=True, exist_ok=True)
    teacher = train_teacher(texts, teacher_steps, folder / f"teacher-{teacher_steps}.safetensors").eval()
    print(f"teacher: {scores(teacher, teacher, texts.test)[0]:.3f} bits per character", flush=True)
    rows = []
    for seed in range(seeds):
        path = folder / f"students-{teacher_steps}-{steps}-{seed}.csv"
        if not path.exists():
            atomic_write(path, _write(train_students(texts, teacher, seed, steps)))
        rows += _read(path)
        print(f"seed {seed} of {seeds} is done", flush=True)
    return rows


def _optimizer(model: Network, steps: int) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps + 1, pct_start=0.1)


def _write(rows: list[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in dataclasses.fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(dataclasses.asdict(row) for row in rows)
    return text.getvalue()


def _read(path: Path) -> list[Row]:
    lines = csv.DictReader(io.StringIO(read_text(path)))
    numbers = ("validation_bits", "test_bits", "agreement")
    return [Row(line["arm"], int(line["seed"]), *(float(line[name]) for name in numbers)) for line in lines]


def main() -> None:
    """Read the options, train, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, required=True, help="a UTF-8 text of a million characters or so")
    parser.add_argument("--out", type=Path, default=Path("runs/characters"))
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=600, help="updates of a student")
    parser.add_argument("--teacher-steps", type=int, default=2000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(table(run(read_text(options.text), options.out, options.seeds, options.steps, options.teacher_steps)))


if __name__ == "__main__":
    main()
