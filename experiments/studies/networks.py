"""Does a richer network gain what one linear layer over summaries of the minibatch does not?

uv run python -m rltemp.experiments.studies.networks --data FOLDER

Evolution trains each on the tasks of the recipe `general`, with as many student runs: the linear layer that is shipped;
hidden units; a set encoder, which learns what to summarise of a minibatch; and a gated recurrent unit, which remembers
the minibatches before. Printed is what share of the tasks' validation images is wrong with it, on students that none
was trained with; then test accuracies in cells of the arena, on data that none was trained on, which `--trained-on`
leaves out. What is finished is kept, and the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from rltemp.agents.direct import linear
from rltemp.agents.evolution import Evolution
from rltemp.agents.train import run_training
from rltemp.display import progress
from rltemp.distillation import Task
from rltemp.envs.contract import StudentVectorEnv
from rltemp.envs.episode import make_features
from rltemp.envs.split import SplitVectorEnv
from rltemp.experiments.named_recipe import NamedRecipe, build_all
from rltemp.experiments.studies.cells import add_cells, compare, tuned_cells
from rltemp.experiments.studies.general import errors_on, more
from rltemp.features import LogitFeatures, center
from rltemp.policies import make_policy
from rltemp.policies.learned import LearnedPolicy
from rltemp.progress import Progress
from rltemp.recipes import Recipe, change_recipe, load_recipe
from rltemp.recipes.schema import Agent, PolicySpace
from rltemp.temperatures import Temperatures

RECIPE = "general"
WIDTH = 8
"""Numbers of a summary of a minibatch."""

Layers = Sequence[tuple[Tensor, Tensor]]
"""Weights [K, outputs, inputs] and biases [K, outputs] of each."""


class Network(NamedTuple):
    """A network of K students beside the plain one.

    Attributes:
        shapes: (outputs, inputs) of its layers, from the numbers of features and actions. The first is over the
            features; it and the last one start at 0.
        forward: actions [K, B, A] before they are squashed, and the state [K, WIDTH], from centered features [K, B, F],
            the layers, and the state before.
    """

    shapes: Callable[[int, int], list[tuple[int, int]]]
    forward: Callable[[Tensor, Layers, Tensor], tuple[Tensor, Tensor]]


def _with_set(seen: Tensor, layers: Layers, _: Tensor) -> tuple[Tensor, Tensor]:
    """Deep sets (Zaheer et al. 2017, arXiv 1703.06114): beside it the mean of what a layer makes of each instance."""
    own, encoder, last = layers
    summary = torch.tanh(linear(seen, *encoder)).mean(1)
    return linear(seen, *own) + _of_one(last, summary).unsqueeze(1), summary


def _with_history(seen: Tensor, layers: Layers, state: Tensor) -> tuple[Tensor, Tensor]:
    """Beside it a gated recurrent unit (Cho et al. 2014, arXiv 1406.1078) over the means of minibatches."""
    own, update, reset, candidate, last = layers
    mean = seen.mean(1)
    met = torch.cat((mean, state), dim=1)
    kept = torch.sigmoid(_of_one(reset, met)) * state
    heard = torch.tanh(_of_one(candidate, torch.cat((mean, kept), dim=1)))
    state = state.lerp(heard, torch.sigmoid(_of_one(update, met)))
    return linear(seen, *own) + _of_one(last, state).unsqueeze(1), state


def _of_one(layer: tuple[Tensor, Tensor], values: Tensor) -> Tensor:
    return linear(values.unsqueeze(1), *layer).squeeze(1)


NETWORKS = {
    "set encoder": Network(
        lambda features, actions: [(actions, features), (WIDTH, features), (actions, WIDTH)], _with_set
    ),
    "recurrent": Network(
        lambda features, actions: [(actions, features), *3 * [(WIDTH, features + WIDTH)], (actions, WIDTH)],
        _with_history,
    ),
}
HIDDEN: dict[str, list[int]] = {"linear": [], "16 hidden units": [16]}
ARMS = (*HIDDEN, *NETWORKS)


class NetworkEvolution(Evolution):
    """Evolution of another network.

    Args:
        env: as of `Evolution`.
        agent: the settings, without hidden layers.
        network: what is learned.
    """

    def __init__(self, env: StudentVectorEnv, agent: Agent, network: Network) -> None:
        self._network = network
        super().__init__(env, agent)
        self._weights[: env.actions * env.features] = 0.0
        self._state = torch.zeros(agent.students, WIDTH)

    def _architecture(self, env: StudentVectorEnv) -> list[tuple[int, int]]:
        return self._network.shapes(env.features, env.actions)

    def _learn(self, progress: Progress) -> dict[str, float]:
        self._state = torch.zeros(self.agent.students, WIDTH)
        return super()._learn(progress)

    def _act(self, observations: Tensor, weights: Tensor) -> Tensor:
        values, self._state = self._network.forward(center(observations), self._layers(weights), self._state)
        return torch.tanh(values)

    def export(self, features: LogitFeatures, space: PolicySpace, card: Mapping[str, Any]) -> NetworkPolicy:
        """The policy of the weights; arguments are those of `Learner.export`."""
        return NetworkPolicy(self._network, features, self._layers(self._weights[None]), space)


class NetworkPolicy(LearnedPolicy):
    """What `NetworkEvolution` learned, for one run at a time, which begins at progress 0."""

    def __init__(self, network: Network, features: LogitFeatures, layers: Layers, space: PolicySpace) -> None:
        super().__init__(features, (), **vars(space.actions))
        self._network, self._own, self._state = network, layers, torch.zeros(1, WIDTH)

    def choose(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        targets: Tensor | None,
        progress: float | Tensor,
        alignment: Tensor | None,
        students: int = 1,
        position: Tensor | None = None,
    ) -> Temperatures:
        """As of `LearnedPolicy`."""
        inputs = (student_logits, teacher_logits, targets, progress, alignment)
        seen = center(self.features(*inputs, students, position=position)).unflatten(0, (students, -1))
        if progress == 0.0:
            self._state = seen.new_zeros(students, WIDTH)
        layers = [(weight.expand(students, -1, -1), bias.expand(students, -1)) for weight, bias in self._own]
        values, self._state = self._network.forward(seen, layers, self._state)
        return self.actions.temperatures(torch.tanh(values).flatten(0, 1))


def main() -> None:
    """Train, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--arms", default=",".join(ARMS), help="which of them (default: all)")
    parser.add_argument("--rollouts", type=int, default=730, help="of each training (default: %(default)s)")
    parser.add_argument("--trained-on", action="store_true", help="judge on the tasks of the training alone")
    add_cells(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = load_recipe(RECIPE, {"agent.rollouts": options.rollouts})
    tasks = build_all(NamedRecipe(RECIPE, recipe), options.runs)
    errors = errors_on(recipe, tasks)
    usual = errors(make_policy("static", temperature=4.0))
    print("| | numbers | wrong | more than T = 4, T² | more than linear |\n|---|---|---|---|---|")
    print(f"| T = 4, T² | | {usual.mean():.1f} | | |", flush=True)
    policies: dict[str, LearnedPolicy] = {}
    first = None
    for arm in options.arms.split(","):
        folder = Path(options.runs, RECIPE, f"network-{arm.replace(' ', '-')}-{options.rollouts}")
        policies[arm], numbers = learn(recipe, arm, tasks, folder)
        wrong = errors(policies[arm])
        against = "" if first is None else more(wrong, first)
        first = wrong if first is None else first
        print(f"| {arm} | {numbers} | {wrong.mean():.1f} | {more(wrong, usual)} | {against} |", flush=True)
    if not options.trained_on:
        weights = {"ce_weight": recipe.optimization.ce_weight, "kd_weight": recipe.optimization.kd_weight}
        compare(policies, weights, tuned_cells(options))


def learn(recipe: Recipe, arm: str, tasks: Sequence[Task], folder: Path) -> tuple[LearnedPolicy, int]:
    """The trained policy of an arm, and how many numbers it is; training goes on in `folder`."""
    agent = change_recipe(recipe, {"agent.hidden": HIDDEN.get(arm, [])}).agent
    options: dict[str, Any] = {"task": tasks, "twins": agent.twins, "autoreset_mode": AutoresetMode.DISABLED}
    with closing(SplitVectorEnv(agent.students * recipe.instances, recipe, **options)) as env:
        learner = NetworkEvolution(env, agent, NETWORKS[arm]) if arm in NETWORKS else Evolution(env, agent)
        with progress(arm, agent.rollouts * env.horizon) as shown:
            run_training(learner, run_dir=folder, resume=True, progress=shown)
        policy = learner.export(make_features(recipe.policy), recipe.policy, {})
        return policy, sum(part.numel() for part in learner.weights().values())


if __name__ == "__main__":
    main()
