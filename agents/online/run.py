"""A KD run of one student whose temperatures are chosen by an agent that learns in it."""

from __future__ import annotations

import dataclasses
import operator
from typing import Any

import torch
from stable_baselines3.common.vec_env import VecEnv

from rltemp.agents.credit.calibration import CalibratedReward, Uniform
from rltemp.agents.credit.redistribution import Redistribution
from rltemp.agents.online.environment import OnlineEnv
from rltemp.agents.online.ppo import make_online_ppo
from rltemp.agents.online.rewards import make_reward
from rltemp.agents.online.settings import Online
from rltemp.agents.online.squash import to_temperature
from rltemp.agents.online.standardization import StandardizedReward
from rltemp.agents.online.state import STATE, state_features
from rltemp.agents.policy_io import export_policy
from rltemp.agents.randomness import RandomStream
from rltemp.agents.trainer import can_act
from rltemp.agents.vec_env import VectorEnvAdapter
from rltemp.distillation.feature_term import FeatureTerm
from rltemp.distillation.mixup import MixUp
from rltemp.distillation.optimization import load_optimizer
from rltemp.distillation.policy_run import Observer
from rltemp.distillation.run import DistillationRun
from rltemp.distillation.task import Task
from rltemp.distillation.teacher import Answers
from rltemp.errors import DivergenceError, InputError, to_continue
from rltemp.objectives.method import Method
from rltemp.policies.learned import LearnedPolicy
from rltemp.recipes.schema import PolicySpace
from rltemp.seeding import make_generator

__all__ = ["OnlineRun"]


class OnlineRun:
    """RLKD (Zhang 2024, arXiv 2407.00115): a KD run of one student, and the agent that learns from it.

    After a warm-up at one temperature, the agent learns in every n-th epoch: it chooses the temperatures of a batch,
    the student is updated, the agent is paid, and is updated from this batch alone. In the other epochs it acts. Call
    `advance` until `run.finished`. The same seed gives the same bits.

    Args:
        task: the distillation problem; its validation images are the probe of the reward.
        online: the settings.
        seed: of the student, as in any other run; agents of different students draw different numbers.
        scale: factor on the loss of every instance, > 0; None for T * T.
        method: the loss to minimize; by default the task's.
        teacher: source of the teacher's logits; by default the task's teacher.

    Attributes:
        run: the KD run, with its student.
        model: SB3's PPO.
        roles: what the agent does in each epoch: "waits", "learns" or "acts".

    Raises:
        InputError: for a run in which the agent would never learn, or `optimization.probe_weight`, of which it would
            not know.
    """

    def __init__(
        self,
        task: Task,
        online: Online,
        seed: int,
        *,
        scale: float | None = None,
        method: Method | None = None,
        teacher: Answers | None = None,
    ) -> None:
        settings = task.optimization
        online.check(settings)
        self.roles = online.roles(settings.epochs)
        self._scale = scale
        self._online, self._updates = online, task.steps // settings.epochs
        self.run = DistillationRun(
            task,
            [seed],
            teacher=teacher,
            method=method,
            mixup=self._mixup(),
            features=FeatureTerm.of(task, [seed]),
        )
        self._reward = make_reward(online, task, seed)
        self._env = OnlineEnv(self.run, online, self._reward, scale)
        discarded = online.calibration == "discarded"
        self._calibration = (
            Uniform() if discarded else Redistribution(STATE, make_generator(seed, "redistribution"), passes=1)
        )
        self._standard = StandardizedReward(CalibratedReward(VectorEnvAdapter(self._env), self._calibration))
        # The public code's reward has a unit of its own, by its factor.
        self._venv: VecEnv = self._standard.venv if online.reward == "before-action" else self._standard
        self._stream = RandomStream(seed)
        with self._stream.active():
            self.model = make_online_ppo(self._venv, online)

    def advance(self, observer: Observer | None = None) -> None:
        """Make one update of the student, and of the agent in an epoch in which it learns.

        Args:
            observer: called before the update with the observation and the chosen temperatures.

        Raises:
            InputError: after the last update.
            DivergenceError: for a student or an agent that is not finite.
        """
        if self.run.finished:
            raise InputError(f"advance() was called after the last of {self.run.task.steps} updates")
        epoch, update = divmod(self.run.step, self._updates)
        self._env.observer = observer
        if self.roles[epoch] == "learns":
            self._learn(first=update == 0)
        elif self.roles[epoch] == "acts":
            self._env.update(to_temperature(self._online, self._act()))
        else:
            self._env.update(torch.full((1, self._env.batch_size), self._online.temperature))

    @property
    def is_exportable(self) -> bool:
        """Whether a policy can hold what the agent is: a range on a log scale, and features of `LogitFeatures`."""
        return self._online.squash == "log" and self._online.uncertainty == "margin"

    def export(self) -> LearnedPolicy:
        """The agent as it is now, without noise, as a policy for other runs.

        Raises:
            InputError: unless `is_exportable`.
        """
        online = self._online
        if not self.is_exportable:
            got = f"{online.squash!r} and {online.uncertainty!r}"
            raise InputError(f"an agent to export must have squash 'log' and uncertainty 'margin', got {got}")
        space = PolicySpace(low=online.low, high=online.high, scale=self._scale)
        card = {"training": {"algorithm": "PPO inside one run", "updates": self.run.step, **_plain(online)}}
        return export_policy(self.model, state_features(online), space, card=card)

    def state_dict(self) -> dict[str, Any]:
        """Everything the rest of the run depends on, between two epochs: student, agent, and rewards.

        Raises:
            InputError: within an epoch, where the agent has begun what it cannot save.
        """
        if self.run.step % self._updates:
            raise InputError(f"state_dict() must be called between two epochs, got update {self.run.step}")
        return {
            "online": dataclasses.asdict(self._online),
            "run": self.run.state_dict(),
            "policy": self.model.policy.state_dict(),
            "optimizer": self.model.policy.optimizer.state_dict(),
            "timesteps": self.model.num_timesteps,
            "calibration": self._calibration.state_dict(),
            "reward": self._reward.state_dict(),
            "standard": self._standard.state_dict(),
            "random": self._stream.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict()` of a run with the same task, settings, and seed returned.

        Raises:
            InputError: for the state of another run, after which this one must be discarded.
        """
        ours = dataclasses.asdict(self._online)
        for name, value in state["online"].items():
            if value != ours.get(name):
                raise InputError(to_continue(name, value, ours.get(name)))
        self.run.load_state_dict(state["run"])
        self.model.policy.load_state_dict(state["policy"])
        load_optimizer(self.model.policy.optimizer, state["optimizer"])
        self.model.num_timesteps = operator.index(state["timesteps"])
        self._calibration.load_state_dict(state["calibration"])
        self._reward.load_state_dict(state["reward"])
        self._standard.load_state_dict(state["standard"])
        self._stream.load_state_dict(state["random"])

    def _mixup(self) -> MixUp | None:
        """Mixes in the epochs that learn and begin within the share of the run that explores."""
        count = len(self.roles)
        epochs = [e for e, role in enumerate(self.roles) if role == "learns" and e < self._online.explore * count]
        updates = frozenset(e * self._updates + update for e in epochs for update in range(self._updates))
        return MixUp(updates, one_label=self._online.labels == "one") if updates else None

    def _act(self) -> torch.Tensor:
        """Actions [1, B] for the next minibatch, in an epoch without learning."""
        state, samples = self._env.state(), self._online.outside == "sample"
        with self._stream.active():
            if samples and self.model.use_sde:
                self.model.policy.reset_noise(self._env.batch_size)
            actions, _ = self.model.predict(state, deterministic=not samples)
        return torch.from_numpy(actions).view(1, -1)

    def _learn(self, first: bool) -> None:
        """One batch: act, update the student, be paid, and update the agent."""
        trouble: ValueError | None = None
        with self._stream.active():
            if first:
                # The environment's reset begins the epoch.
                self.model.set_env(self._venv, force_reset=True)
            try:
                self.model.learn(self._env.batch_size, reset_num_timesteps=False)
            except DivergenceError:
                raise
            except ValueError as error:
                trouble = error
        if not can_act(self.model):
            raise DivergenceError(
                f"the agent diverged at update {self.run.step}: lower learning_rate, or log_std_init where it is large"
            ) from trouble
        if trouble is not None:
            raise trouble
        self._calibration.update()


def _plain(online: Online) -> dict[str, Any]:
    settings = dataclasses.asdict(online)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}
