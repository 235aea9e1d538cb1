"""Does a richer network gain what one linear layer over summaries of the minibatch does not?

uv run python -m rltemp.experiments.studies.networks

Evolution trains each on the tasks of the recipe `general`, with as many student runs: the linear layer that is shipped;
hidden units; a set encoder, which learns what to summarise of a minibatch; and a gated recurrent unit, which remembers
the minibatches before. Printed is what share of the tasks' validation images is wrong with it, on students that none
was trained with. What is finished is kept, and the same command goes on where it stopped.
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

from rltemp.agents.evolution import Evolution
from rltemp.agents.train import run_training
from rltemp.display import progress
from rltemp.distillation import Task
from rltemp.envs.contract import StudentVectorEnv
from rltemp.envs.episode import make_features
from rltemp.envs.split import SplitVectorEnv
from rltemp.experiments.named_recipe import NamedRecipe, build_all
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
"""Numbers of a summary."""

Layers = Sequence[tuple[Tensor, Tensor]]
"""Weights [K, outputs, inputs] and biases [K, outputs]."""


class Summary(NamedTuple):
    """What a network learns of a whole minibatch, beside the features that say it.

    Attributes:
        shapes: (outputs, inputs) of its layers, from the number of features.
        step: the summary [K, WIDTH] of centered features [K, B, F], from its layers and the summary before.
    """

    shapes: Callable[[int], list[tuple[int, int]]]
    step: Callable[[Tensor, Layers, Tensor], Tensor]


def _of_set(seen: Tensor, layers: Layers, _: Tensor) -> Tensor:
    """Deep sets (Zaheer et al. 2017, arXiv 1703.06114): the mean of what one layer makes of each instance."""
    ((weight, bias),) = layers
    return torch.tanh(torch.baddbmm(bias.unsqueeze(1), seen, weight.transpose(1, 2))).mean(1)


def _of_history(seen: Tensor, layers: Layers, state: Tensor) -> Tensor:
    """A gated recurrent unit (Cho et al. 2014, arXiv 1406.1078) over the means of minibatches."""
    mean = seen.mean(1)
    met = torch.cat((mean, state), dim=1)
    update, reset = (torch.sigmoid(_linear(layer, met)) for layer in layers[:2])
    candidate = torch.tanh(_linear(layers[2], torch.cat((mean, reset * state), dim=1)))
    return state.lerp(candidate, update)


def _linear(layer: tuple[Tensor, Tensor], values: Tensor) -> Tensor:
    weight, bias = layer
    return torch.einsum("koi,ki->ko", weight, values) + bias


SUMMARIES = {
    "set encoder": Summary(lambda features: [(WIDTH, features)], _of_set),
    "recurrent": Summary(lambda features: 3 * [(WIDTH, features + WIDTH)], _of_history),
}
HIDDEN: dict[str, list[int]] = {"linear": [], "16 hidden units": [16]}
ARMS = (*HIDDEN, *SUMMARIES)


class SummaryEvolution(Evolution):
    """Evolution of a linear layer over an instance's features and a summary of its minibatch.

    Args:
        env: as of `Evolution`.
        agent: the settings, without hidden layers.
        summary: what is learned of the minibatch.
    """

    def __init__(self, env: StudentVectorEnv, agent: Agent, summary: Summary) -> None:
        self._summary = summary
        super().__init__(env, agent)
        # The layer over the summary starts at 0 as the last one; so does the one over the features.
        self._weights[: env.actions * env.features] = 0.0
        self._state = torch.zeros(agent.students, WIDTH)

    def _architecture(self, env: StudentVectorEnv) -> list[tuple[int, int]]:
        return [(env.actions, env.features), *self._summary.shapes(env.features), (env.actions, WIDTH)]

    def _learn(self, progress: Progress) -> dict[str, float]:
        self._state = torch.zeros(self.agent.students, WIDTH)
        return super()._learn(progress)

    def _act(self, observations: Tensor, weights: Tensor) -> Tensor:
        actions, self._state = act(self._summary, center(observations), self._layers(weights), self._state)
        return actions

    def export(self, features: LogitFeatures, space: PolicySpace, card: Mapping[str, Any]) -> SummaryPolicy:
        """The policy of the weights; arguments are those of `Learner.export`."""
        return SummaryPolicy(self._summary, features, self._layers(self._weights[None]), space)


def act(summary: Summary, seen: Tensor, layers: Layers, state: Tensor) -> tuple[Tensor, Tensor]:
    """Actions [K, B, A] of centered features [K, B, F], and the summary [K, WIDTH]."""
    (weight, bias), *inner, last = layers
    state = summary.step(seen, inner, state)
    return torch.tanh(seen @ weight.transpose(1, 2) + (bias + _linear(last, state)).unsqueeze(1)), state


class SummaryPolicy(LearnedPolicy):
    """What `SummaryEvolution` learned, for one run at a time, which begins at progress 0."""

    def __init__(self, summary: Summary, features: LogitFeatures, layers: Layers, space: PolicySpace) -> None:
        super().__init__(features, (), **vars(space.actions))
        self._summary, self._layers, self._state = summary, layers, torch.zeros(1, WIDTH)

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
        layers = [(weight.expand(students, -1, -1), bias.expand(students, -1)) for weight, bias in self._layers]
        actions, self._state = act(self._summary, seen, layers, self._state)
        return self.actions.temperatures(actions.flatten(0, 1))


def main() -> None:
    """Train, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--arms", default=",".join(ARMS), help="which of them (default: all)")
    parser.add_argument("--rollouts", type=int, default=730, help="of each training (default: %(default)s)")
    parser.add_argument("--runs", default="runs", help="folder of all runs (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = load_recipe(RECIPE)
    tasks = build_all(NamedRecipe(RECIPE, recipe), options.runs)
    errors = errors_on(recipe, tasks)
    usual = errors(make_policy("static", temperature=4.0))
    print("| | numbers | wrong | more than T = 4, T² | more than linear |\n|---|---|---|---|---|")
    print(f"| T = 4, T² | | {usual.mean():.1f} | | |", flush=True)
    first = None
    for arm in options.arms.split(","):
        folder = Path(options.runs, RECIPE, f"network-{arm.replace(' ', '-')}-{options.rollouts}")
        policy, numbers = learn(load_recipe(RECIPE, {"agent.rollouts": options.rollouts}), arm, tasks, folder)
        wrong = errors(policy)
        against = "" if first is None else more(wrong, first)
        first = wrong if first is None else first
        print(f"| {arm} | {numbers} | {wrong.mean():.1f} | {more(wrong, usual)} | {against} |", flush=True)


def learn(recipe: Recipe, arm: str, tasks: Sequence[Task], folder: Path) -> tuple[LearnedPolicy, int]:
    """The trained policy of an arm, and how many numbers it is; training goes on in `folder`."""
    agent = change_recipe(recipe, {"agent.hidden": HIDDEN.get(arm, [])}).agent
    options: dict[str, Any] = {"task": tasks, "twins": True, "autoreset_mode": AutoresetMode.DISABLED}
    with closing(SplitVectorEnv(agent.students * recipe.instances, recipe, **options)) as env:
        learner = SummaryEvolution(env, agent, SUMMARIES[arm]) if arm in SUMMARIES else Evolution(env, agent)
        with progress(arm, agent.rollouts * env.horizon) as shown:
            run_training(learner, run_dir=folder, resume=True, progress=shown)
        policy = learner.export(make_features(recipe.policy), recipe.policy, {})
        return policy, sum(part.numel() for part in learner.weights().values())


if __name__ == "__main__":
    main()
