"""Put the best of the policies that `prove.py` trained into the package, with what they scored on their cards.

    uv run python -m rltemp.experiments.studies.prove && uv run python -m rltemp.experiments.studies.ship

and the best that was trained on CIFAR-100, if the folder of such trainings and of their evaluation is given.

The best is the one with the highest validation score on the tasks it was trained on; tests decide nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from rltemp import load_policy, save_policy
from rltemp.experiments.evaluation.comparison import compare
from rltemp.experiments.evaluation.results import PolicyResult
from rltemp.experiments.evaluation.results_files import load_evaluation
from rltemp.experiments.evaluation.statistics import paired_difference
from rltemp.experiments.report.sentences import points

DIGITS = {
    "90 updates": "digits-short/unseen",
    "90 updates, 10 % wrong labels, teacher of one member, student 64-12-10": "digits-short/unseen-too",
    "270 updates": "digits/unseen",
}


@dataclasses.dataclass(frozen=True)
class Shipped:
    """A policy of the package.

    Attributes:
        name: in the package.
        trained: trainings to choose from.
        where: it was judged.
        judged: evaluations by what they were of.
    """

    name: str
    trained: str
    where: str
    judged: dict[str, str]


UNSEEN = "splits, teachers and students that were not seen in training; 64 paired students"
FROM_PROOF = (
    Shipped("digits", "digits-varied/varied-*", UNSEEN, DIGITS),
    Shipped("digits-softness", "digits-varied/softness-varied-*", UNSEEN, DIGITS),
    Shipped("digits-logits", "digits-varied/logits-varied-*", UNSEEN, DIGITS),
)
FROM_CIFAR = (
    Shipped(
        "cifar100-schedule",
        "cifar100-cpu-short/schedule-*",
        "test images of CIFAR-100, students that were not seen in training; 8 paired students",
        {"cifar100-cpu, 4 epochs": "cifar100-cpu/evaluation"},
    ),
)


def main() -> None:
    """Choose, write the cards, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", default="runs/prove", help="folder of prove.py's runs (default: %(default)s)")
    parser.add_argument("--cifar", metavar="RUNS", help="folder of the runs on CIFAR-100")
    options = parser.parse_args()
    for root, policies in ((options.runs, FROM_PROOF), (options.cifar, FROM_CIFAR)):
        for shipped in policies if root is not None else ():
            ship(shipped, Path(root))


def ship(shipped: Shipped, root: Path) -> None:
    """Put the best training into the package."""
    best = max((folder / "policy" for folder in root.glob(shipped.trained)), key=validation_score)
    policy = load_policy(best)
    scores = {what: score(root / folder, best) for what, folder in shipped.judged.items()}
    policy.card["scores"] = {"where": shipped.where} | {what: said for what, said in scores.items() if said is not None}
    save_policy(policy, Path("rltemp/pretrained") / shipped.name, overwrite=True)
    print(shipped.name, best, policy.card["scores"])


def validation_score(folder: Path) -> float:
    """What the policy's best rollout scored in training."""
    return float(load_policy(folder).card["training"]["score"])


def score(folder: Path, policy: Path) -> str | None:
    """The policy against both references of an evaluation; None if it is not among those judged there."""
    evaluation = load_evaluation(folder)
    judged = [result for result in evaluation.results if result.name.startswith(f"{policy}@")]
    if not judged:
        return None
    comparison = compare(evaluation)
    assert comparison.best_static is not None
    assert comparison.best_schedule is not None
    gains = [over(judged[0], reference) for reference in (comparison.best_static, comparison.best_schedule)]
    return f"{100 * judged[0].accuracy.mean():.2f} % of the test images; {gains[0]}; {gains[1]}"


def over(result: PolicyResult, reference: PolicyResult) -> str:
    """The gain over a reference, in words."""
    return f"{points(paired_difference(result.accuracy, reference.accuracy))} over {reference.label}"


if __name__ == "__main__":
    main()
