"""`rltemp demo`: the main job on embedded data, from nothing to a report, in about two minutes."""

from __future__ import annotations

from pathlib import Path

from rltemp.experiments.commands.distill_command import distill
from rltemp.experiments.commands.evaluate_command import run_comparison
from rltemp.experiments.commands.train_command import train
from rltemp.experiments.commands.tune_command import tune
from rltemp.experiments.console import output
from rltemp.experiments.evaluation.specs import parse_policies, trained_policy
from rltemp.experiments.named_recipe import NamedRecipe, build, read
from rltemp.experiments.run_folder import RunFolder
from rltemp.recipes import change_recipe

__all__ = ["demo"]

_RECIPE = "demo"
# Images that nobody is judged on, another teacher; as many updates, at the learning rate that was tuned.
_AGENTS = {
    "data.pool": "agents",
    "data.train": 300,
    "data.validation": 149,
    "optimization.epochs": 10,
    "teacher.seed": 1,
}
# One setting that nobody tuned, the field's default, a rule without a search, whole methods of papers, controls.
_POLICIES = "static(temperature=4),spread,preset(ctkd),preset(normkd-cifar),preset(lskd),preset(wttm),random,no-kd"
_TRIALS, _TUNING_STUDENTS, _STUDENTS = 12, 8, 64
"""Two searches are behind each reference, with as many student runs together as the agent's training takes."""


def demo(root: str) -> Path:
    """Tune the references of a task, train a policy on other images, compare them, reuse the policy in a new run.

    Args:
        root: folder of all runs.

    Returns:
        The HTML report.
    """
    console = output()
    name = RunFolder.free_name(root, _RECIPE, "demo")
    judged = read(_RECIPE, {})
    console.print("1/4  A teacher, and the references: a static temperature and a schedule, tuned on validation images")
    tuned = read(str(tune(judged, _TRIALS, _TUNING_STUDENTS, root, f"{name}-tune")), {})
    console.print("2/4  An agent that learns to set temperatures, on other images and with another teacher")
    policy = train(NamedRecipe(_RECIPE, change_recipe(tuned.recipe, _AGENTS)), root, f"{name}-agent")
    console.print("3/4  The policy, which was not tuned to this task, beside the references, which were")
    setting = NamedRecipe(_RECIPE, tuned.recipe)
    task = build(setting, root)
    learned = trained_policy(str(policy))
    references = parse_policies(",".join(tuned.recipe.references.policies))
    report = run_comparison(
        setting,
        task,
        [*references, *parse_policies(_POLICIES), learned],
        range(_STUDENTS),
        root,
        f"{name}-evaluation",
        training_metrics=RunFolder(policy.parent).read_metrics(),
        command="rltemp demo",
    )
    console.print("4/4  A new KD run that reuses the policy")
    result = distill(setting, learned, seed=1000, root=root, name=f"{name}-student", task=task)
    console.print(f"student: {100 * float(result.test.accuracy):.2f} % of the test images, in {result.folder}")
    console.print(f"report:  {report}")
    return report
