"""RLKD's agent where it can be judged: on batches whose best actions are known, with each flaw that applies."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import stats
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv

from rltemp.agents import CalibratedReward, Online, Redistribution, Uniform, VectorEnvAdapter
from rltemp.agents.online.ppo import make_online_ppo
from rltemp.agents.online.standardization import StandardizedReward
from rltemp.agents.randomness import RandomStream
from rltemp.agents.trainer import can_act
from rltemp.display import progress
from rltemp.envs import Transition
from rltemp.envs.contract import Floats
from rltemp.envs.toy import ToyVectorEnv
from rltemp.experiments.studies.rlkd_page import machine
from rltemp.seeding import make_generator

__all__ = ["toy_table"]

BATCH, MOMENTS = 16, (100, 200, 400)
MIDDLE = Online(temperature=10.0**0.5)
"""The agent that begins in the middle of the actions."""

ARMS: dict[str, tuple[Online, str]] = {
    "rlkd": (MIDDLE, "own"),
    "shuffled rewards": (MIDDLE, "any"),
    "reward before the action": (MIDDLE, "last"),
    "redistribution discarded": (dataclasses.replace(MIDDLE, calibration="discarded"), "own"),
    "wrong density": (dataclasses.replace(MIDDLE, density="temperature"), "own"),
    "these three": (dataclasses.replace(MIDDLE, calibration="discarded", density="temperature"), "last"),
}
"""Settings, and whose reward a batch is paid: its own, the last batch's, or that of any batch so far."""


class PaidElsewhere(ToyVectorEnv):
    """The toy, in which a batch is paid the reward of another."""

    def __init__(self, whose: str) -> None:
        super().__init__(1, batch_size=BATCH)
        self._whose, self._past = whose, [np.zeros(1, np.float32)]

    def advance(self, actions: Floats) -> tuple[Floats, Transition]:
        """As the toy's, with another reward."""
        seen, transition = super().advance(actions)
        self._past.append(transition.reward)
        number = {"own": -1, "last": -2}.get(self._whose)
        if number is None:
            number = int(self.np_random.integers(1, len(self._past)))
        return seen, dataclasses.replace(transition, reward=self._past[number])


def toy_table(seeds: Sequence[int], dry_run: bool = False) -> str:
    """Mean squared distance to the best actions after some batches, over seeds, +- its standard error."""
    if dry_run:
        return f"{len(ARMS)} agents on {MOMENTS[-1]} batches, {len(seeds)} seeds each"
    heads = " | ".join(f"after {moment} batches" for moment in MOMENTS)
    rows = [f"| agent | {heads} | diverged |", f"|{'---|' * (len(MOMENTS) + 2)}"]
    with progress("agents", len(ARMS) * len(seeds)) as display:
        for arm, (online, whose) in ARMS.items():
            regrets = []
            for seed in seeds:
                regrets.append(regret(online, whose, seed))
                display.advance()
            there = np.array([found for found in regrets if np.isfinite(found).all()])
            cells = [
                f"{mean:.3f} ± {error:.3f}"
                for mean, error in zip(there.mean(0), stats.sem(there), strict=True)
                if len(there) > 1
            ] or ["-"] * len(MOMENTS)
            rows.append(f"| {arm} | {' | '.join(cells)} | {len(regrets) - len(there)} of {len(regrets)} |")
    caption = f"{len(seeds)} seeds, {seeds[0]} to {seeds[-1]}; mean ± standard error. {machine()}."
    return "\n".join([*rows, "", caption])


def regret(online: Online, whose: str, seed: int) -> list[float]:
    """Mean squared distance of the actions without noise to the best ones, at every moment; NaN after a divergence."""
    generator = make_generator(seed, "redistribution")
    calibration = Uniform() if online.calibration == "discarded" else Redistribution(3, generator, passes=1)
    venv: VecEnv = CalibratedReward(VectorEnvAdapter(PaidElsewhere(whose)), calibration)
    if whose != "last":
        venv = StandardizedReward(venv)
    found: list[float] = []
    with RandomStream(seed).active():
        venv.seed(seed)
        model = make_online_ppo(venv, online)
        for batch in range(1, MOMENTS[-1] + 1):
            try:
                model.learn(BATCH, reset_num_timesteps=False)
            except ValueError:
                if can_act(model):
                    raise
                return found + [np.nan] * (len(MOMENTS) - len(found))
            calibration.update()
            if batch in MOMENTS:
                found.append(_distance(model))
    return found


def _distance(model: PPO) -> float:
    observations = np.random.default_rng(2).random((500, 3), dtype=np.float32)
    actions, _ = model.predict(observations, deterministic=True)
    return float(np.mean((np.clip(actions[:, 0], -1.0, 1.0) - ToyVectorEnv.best_actions(observations)) ** 2))
