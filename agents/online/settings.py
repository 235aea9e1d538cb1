"""How an agent learns inside one student's training, and what of the released code's flaws it takes over."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from rltemp.actions import HIGHEST, LOWEST
from rltemp.errors import InputError
from rltemp.policies.learned import MOST_LAYERS, WIDEST
from rltemp.recipes.ranges import Length, Range
from rltemp.recipes.schema import Optimization
from rltemp.recipes.typed import typed

__all__ = ["AGENTS", "Online", "Role", "make_online"]

Role = Literal["waits", "learns", "acts"]


@dataclasses.dataclass(frozen=True)
class Online:
    """Settings of RLKD inside one run. What the paper (arXiv 2407.00115) leaves open has a default and its reason here.

    Attributes:
        warmup: share of the epochs, in [0, 1), trained at `temperature` before the agent acts, at least one epoch
            unless 0. The public code's 20 of 240, as a share, so that short runs have the same phases.
        every: share of the epochs from one in which the agent learns to the next, in [0, 1], at least one epoch.
            Likewise 20 of 240.
        temperature: T of the warm-up. The paper's T = 4; with `squash` "log" the agent starts there as well, where an
            untrained network would disturb a student that has just been warmed up.
        low: smallest temperature with `squash` "log". 1, after the public code's docstring.
        high: largest temperature. 10, likewise.
        squash: from action to temperature: "log", from `low` to `high` on a log scale, because factors are what
            matter to a softmax; or the public code's "sigmoid", high * sigmoid(x) with x around the tanh of a network.
        performance: what the state says of both networks: their probability of the "label", as the paper's figure, or
            their "top" probability, as the public code, which says nothing of right and wrong.
        uncertainty: what the state says of the student's doubt: its top-1 minus its top-2 probability ("margin"), or
            minus the "second-smallest" one, as the public code, which is the top-1 probability again.
        noise: what exploration noise is drawn for: the whole "batch", because independent noise averages out of a
            student's progress, or every "instance", as the public code.
        outside: what acts in epochs without learning: the policy's "mean", because noise that nobody learns from only
            disturbs, or a "sample", as the public code.
        reward: what a batch is paid: the "improvement" of the loss on held-out images by the update that its
            temperatures acted in; "before-action", the public code's difference of accuracy between two training
            batches, measured before that update; or, as a control, a "shuffled" improvement of any batch so far.
        calibration: "redistribution" to instances by a learned model, with mean_i r_i = R; or "discarded", as the
            public code's second pass over its buffer has it: R is the last instance's, in the order of the batch.
        density: of a temperature under the policy: that of the "action" it was made of, or the "temperature"'s own
            value put into the action's density, as the public code.
        explore: share of the run, in [0, 1], from its start, within which epochs that learn mix instances (`MixUp`).
            The paper says early; 0.5 is half. The public code mixes to the end.
        labels: of mixtures: "both", or "one", that of the lesser image, as the public code.
        learning_rate: Adam's, > 0. 1e-3 where the public code has 1e-4 for twelve learning epochs of 781 batches:
            short runs have a hundredth of that.
        n_epochs: passes over a batch per update of the agent, >= 1; the public code's 5.
        log_std_init: initial log standard deviation of the noise, by the weights of the last hidden layer with `noise`
            "batch", where -2 moves an instance's T by a factor of about 1.5 at the start.
        hidden: widths of the hidden layers of policy and value function.

    Raises:
        InputError: for a range of temperatures that is empty or without `temperature`.
    """

    warmup: Annotated[float, Range(0, below=1)] = 20 / 240
    every: Annotated[float, Range(0, 1)] = 20 / 240
    temperature: Annotated[float, Range(LOWEST, HIGHEST)] = 4.0
    low: Annotated[float, Range(LOWEST, HIGHEST)] = 1.0
    high: Annotated[float, Range(LOWEST, HIGHEST)] = 10.0
    squash: Literal["log", "sigmoid"] = "log"
    performance: Literal["label", "top"] = "label"
    uncertainty: Literal["margin", "second-smallest"] = "margin"
    noise: Literal["batch", "instance"] = "batch"
    outside: Literal["mean", "sample"] = "mean"
    reward: Literal["improvement", "before-action", "shuffled"] = "improvement"
    calibration: Literal["redistribution", "discarded"] = "redistribution"
    density: Literal["action", "temperature"] = "action"
    explore: Annotated[float, Range(0, 1)] = 0.5
    labels: Literal["both", "one"] = "both"
    learning_rate: Annotated[float, Range(above=0)] = 1e-3
    n_epochs: Annotated[int, Range(1)] = 5
    log_std_init: Annotated[float, Range(-20, 2)] = -2.0
    hidden: Annotated[tuple[Annotated[int, Range(1, WIDEST)], ...], Length(MOST_LAYERS)] = (32, 32)

    def __post_init__(self) -> None:
        if self.squash == "log" and not self.low < self.high:
            raise InputError(f"high must be > low = {self.low:g}, got {self.high:g}")
        if self.squash == "log" and not self.low <= self.temperature <= self.high:
            raise InputError(f"temperature must lie in [{self.low:g}, {self.high:g}], got {self.temperature:g}")

    def check(self, optimization: Optimization) -> None:
        """Refuse a run whose agent would never learn, or would not know a term of the loss.

        Raises:
            InputError: for epochs that are all warm-up, or a `probe_weight`.
        """
        self.roles(optimization.epochs)
        if optimization.probe_weight:
            raise InputError(f"optimization.probe_weight must be 0 for an agent, got {optimization.probe_weight:g}")

    def roles(self, epochs: int) -> tuple[Role, ...]:
        """What the agent does in each of a run's `epochs`: it waits for the warm-up's end, learns, or acts.

        Raises:
            InputError: for a run in which it would never learn.
        """
        waits, period = _count(self.warmup, epochs), max(1, _count(self.every, epochs))
        if waits >= epochs:
            raise InputError(f"optimization.epochs must be > {waits}, the agent's warm-up, got {epochs}")
        roles: list[Role] = ["waits"] * waits
        roles += ["acts" if e % period else "learns" for e in range(epochs - waits)]
        return tuple(roles)


AGENTS: Mapping[str, Online] = MappingProxyType(
    {
        "rlkd": Online(),
        "rlkd-as-released": Online(
            squash="sigmoid",
            performance="top",
            uncertainty="second-smallest",
            noise="instance",
            outside="sample",
            reward="before-action",
            calibration="discarded",
            density="temperature",
            explore=1.0,
            labels="one",
            learning_rate=1e-4,
            log_std_init=-0.5,
            hidden=(256, 256),
        ),
    }
)
"""Agents by name: the paper's idea, and the form of its public code (ITKD at 0183c6c) with all of its flaws."""


def make_online(name: str = "rlkd", **options: Any) -> Online:
    """Settings of an agent by its name in `AGENTS`, with other values for some of them.

    Raises:
        InputError: for an unknown name or option, or a value of another type or out of its range.
    """
    if name not in AGENTS:
        raise InputError(f"agent must be one of {', '.join(AGENTS)}, got {name!r}")
    return typed(Online, {**dataclasses.asdict(AGENTS[name]), **options}, "")


def _count(share: float, epochs: int) -> int:
    return max(1, round(share * epochs)) if share else 0
