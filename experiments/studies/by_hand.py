"""What does learning add to what the features show? The same three numbers, set by hand over the features of a class.

uv run python -m rltemp.experiments.studies.by_hand

Every setting distils an instance less, and heeds its label more, the more often the teacher is wrong for the others of
its class than for the whole minibatch. The one with the fewest wrong validation images on tasks of the recipe `general`
is kept as a policy, for `rltemp arena --policy`. What is measured is kept, and the same command goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import math
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path

import torch

from rltemp.display import progress
from rltemp.distillation import Task
from rltemp.experiments.named_recipe import NamedRecipe, build_all
from rltemp.experiments.studies.general import STUDENTS, errors_on
from rltemp.features import LogitFeatures
from rltemp.files import atomic_write
from rltemp.policies.artifact import load_policy, save_policy
from rltemp.policies.learned import LearnedPolicy
from rltemp.recipes import Recipe, load_recipe
from rltemp.temperatures import temperature_to_action

RECIPE = "general"
TEMPERATURES, LESS, MORE, LABELS = (1.0, 2.0, 4.0), (0.0, 4.0, 8.0), (0.0, 2.0, 4.0), (0.25, 1.0)
"""T with T^2; octaves that the scale falls, and the label's weight rises, for a class that the teacher never gets right
where it gets all others right; the label's weight elsewhere."""
_RANGE = (1e-3, 1e3)


@dataclasses.dataclass(frozen=True)
class Setting:
    """Four numbers that stand for a policy."""

    temperature: float
    less: float
    more: float
    label: float

    def policy(self, recipe: Recipe) -> LearnedPolicy:
        """It as a policy of one linear layer over the teacher's hits in the class and in the minibatch."""
        weights = {"kd_weight": recipe.optimization.kd_weight, "ce_weight": recipe.optimization.ce_weight}
        features = LogitFeatures(("class_teacher_correct", "batch_teacher_correct"))
        low, high = _RANGE
        policy = LearnedPolicy(
            features, (), low=low, high=high, scale_range=_RANGE, label_range=_RANGE, weights=weights
        )
        (layer,) = (module for module in policy.net if isinstance(module, torch.nn.Linear))
        middles = torch.tensor([self.temperature, self.temperature**2, self.label])
        layer.bias.copy_(temperature_to_action(middles, low, high))
        # Features are centered, four times as far apart; an action of 2 is the whole range.
        octave = 2.0 / math.log2(high / low) / 4.0
        slopes = torch.tensor([0.0, self.less, -self.more]) * octave
        layer.weight.copy_(torch.stack((slopes, -slopes), dim=1))
        return policy


def settings() -> Iterator[Setting]:
    """All that are tried."""
    for numbers in itertools.product(TEMPERATURES, LESS, MORE, LABELS):
        yield Setting(*numbers)


def main() -> None:
    """Measure, keep the best, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--every", type=int, default=4, help="of the recipe's tasks, each so many-th (default: %(default)s)"
    )
    parser.add_argument("--runs", default="runs", help="folder of all runs (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = load_recipe(RECIPE)
    chosen = dataclasses.replace(recipe.agent, variations=recipe.agent.variations[:: options.every])
    tasks = build_all(NamedRecipe(RECIPE, dataclasses.replace(recipe, agent=chosen)), options.runs)[1:]
    folder = Path(options.runs, RECIPE, "by-hand")
    folder.mkdir(parents=True, exist_ok=True)
    found = measure(recipe, tasks, folder / f"every-{options.every}.json")
    best = min(found, key=lambda setting: found[setting])
    policy = best.policy(recipe)
    learned = load_policy("rltemp/general").card
    runs = {"agent.students": STUDENTS, "rollouts": len(found) * len(tasks)}
    policy.card = {
        **{name: learned[name] for name in ("recipe", "trained_on") if name in learned},
        "training": {**learned["training"], **runs, "algorithm": "by hand"},
    }
    save_policy(policy, folder / "policy", overwrite=True)
    print("\n".join(f"{wrong:.1f} % wrong: {setting}" for setting, wrong in sorted(found.items(), key=itemgetter(1))))
    print(f"policy: {folder / 'policy'}")


def measure(recipe: Recipe, tasks: Sequence[Task], path: Path) -> dict[Setting, float]:
    """Wrong validation images in percent, the mean over the tasks, of every setting; kept in `path`."""
    known = json.loads(path.read_text()) if path.exists() else {}
    errors, everything = errors_on(recipe, tasks), list(settings())
    with progress("settings", len(everything) * len(tasks)) as display:
        for setting in everything:
            name = str(setting)
            if name not in known:
                known[name] = float(errors(setting.policy(recipe)).mean())
                atomic_write(path, json.dumps(known, indent=1))
            display.advance(len(tasks))
    return {setting: known[str(setting)] for setting in everything}


if __name__ == "__main__":
    main()
