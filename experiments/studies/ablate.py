"""What carries a trained policy's gain: each feature, softness or the factor T^2, which instance or only how many.

    uv run python -m rltemp.experiments.studies.ablate [POLICY]

One trained policy, evaluated on an unseen split, teacher and student with 64 paired students; accuracy in points above
the policy as it is, with 95 % t intervals. Nothing is trained: a feature is taken away by giving every instance the
batch's mean of it (the progress of the run, which all share, stands at half).
"""

from __future__ import annotations

import copy
import sys

import torch
from torch import Tensor

from rltemp import LearnedPolicy, TemperaturePolicy, Temperatures, load_policy, make_policy
from rltemp.experiments.evaluation.statistics import paired_difference
from rltemp.experiments.report.sentences import points
from rltemp.experiments.studies.changed import Changed, accuracy, dealt
from rltemp.recipes import load_recipe
from rltemp.tasks import build_task

UNSEEN = {"data.split_seed": 1, "teacher.seed": 1, "student.options": {"hidden": [24]}}
STUDENTS = range(64)


class WithoutFeature(LearnedPolicy):
    """A trained policy that sees the batch's mean in place of one feature."""

    column: int

    def temperature(self, features: Tensor) -> Tensor:
        """Temperatures [B] of features [B, F]."""
        features = features.clone()
        same_for_all = self.features.names[self.column] == "progress"
        features[:, self.column] = 0.5 if same_for_all else features[:, self.column].mean()
        return super().temperature(features)


def without(policy: LearnedPolicy, name: str) -> TemperaturePolicy:
    other = copy.deepcopy(policy)
    other.__class__ = WithoutFeature
    other.column = policy.features.names.index(name)  # type: ignore[assignment]
    return other


def softness_alone(t: Temperatures) -> Temperatures:
    return Temperatures(t.teacher, t.student, torch.full_like(t.scale, 16.0))


def factor_alone(t: Temperatures) -> Temperatures:
    four = torch.full_like(t.teacher, 4.0)
    return Temperatures(four, four, t.scale)


def clipped(t: Temperatures) -> Temperatures:
    return Temperatures.shared(t.teacher.clamp(2.0, 8.0))


def main() -> None:
    torch.set_num_threads(1)
    policy = load_policy(sys.argv[1] if len(sys.argv) > 1 else "rltemp/digits")
    recipe = load_recipe("digits-short", UNSEEN)
    task = build_task(recipe)
    teacher = task.teacher.recorded()
    full = accuracy(recipe, task, policy, STUDENTS, teacher)
    print("| change | points against the policy as it is |\n|---|---|")
    for name, change in {
        "T = 4 for all": make_policy("static", temperature=4.0),
        "temperatures dealt to other instances": Changed(policy, dealt),
        "T clipped to [2, 8]": Changed(policy, clipped),
        "T clipped to [2, 8], scale 16 (softness alone)": Changed(Changed(policy, clipped), softness_alone),
        "T 4, scale of T clipped to [2, 8] (factor alone)": Changed(Changed(policy, clipped), factor_alone),
        **{f"without {feature}": without(policy, feature) for feature in policy.features.names},
    }.items():
        difference = paired_difference(accuracy(recipe, task, change, STUDENTS, teacher), full)
        print(f"| {name} | {points(difference)} |", flush=True)


if __name__ == "__main__":
    main()
