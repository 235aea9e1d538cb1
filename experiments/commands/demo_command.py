"""`rltemp demo`: the main job on embedded data, from nothing to a report, in about two minutes."""

from __future__ import annotations

from pathlib import Path

from rltemp.experiments.commands.distill_command import distill
from rltemp.experiments.commands.evaluate_command import run_comparison
from rltemp.experiments.commands.train_command import train
from rltemp.experiments.console import output
from rltemp.experiments.evaluation.specs import parse_policies, trained_policy
from rltemp.experiments.named_recipe import build, read
from rltemp.experiments.run_folder import RunFolder

__all__ = ["demo"]

_RECIPE = "digits-short"
# Published rules come with the loss their papers give them.
_POLICIES = "static,anneal,preset(ctkd),preset(ctkd-instance),preset(dtkd),preset(normkd-cifar),random,influence"
# Another split, another teacher than the agent learned on.
_UNSEEN = {"data.split_seed": 1, "teacher.seed": 1}
_STUDENTS = 64


def demo(root: str) -> Path:
    """Train a policy on one task, compare it on an unseen one, reuse it in a new run.

    Args:
        root: folder of all runs.

    Returns:
        The HTML report.
    """
    console = output()
    name = RunFolder.free_name(root, _RECIPE, "demo")
    console.print("1/3  A teacher, and an agent that learns to set temperatures for its students")
    policy = train(read(_RECIPE, {}), root, name)
    console.print("2/3  The policy against static temperatures and rules: another split, another teacher, new students")
    unseen = read(_RECIPE, _UNSEEN)
    task = build(unseen, root)
    learned = trained_policy(str(policy))
    report = run_comparison(
        unseen,
        task,
        [*parse_policies(_POLICIES), learned],
        range(_STUDENTS),
        root,
        f"{name}-evaluation",
        training_metrics=RunFolder(policy.parent).read_metrics(),
        command="rltemp demo",
    )
    console.print("3/3  A new KD run that reuses the policy")
    result = distill(unseen, learned, seed=1000, root=root, name=f"{name}-student", task=task)
    console.print(f"student: {100 * float(result.test.accuracy):.2f} % of the test images, in {result.folder}")
    console.print(f"report:  {report}")
    return report
