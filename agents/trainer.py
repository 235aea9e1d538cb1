"""Training of a temperature policy, one rollout at a time."""

import operator
from collections.abc import Mapping
from typing import Any

import torch
from gymnasium.vector import VectorEnv
from stable_baselines3 import PPO
from torch import Tensor

from rltemp.agents.credit.calibration import CalibratedReward, Calibration, Influence, Uniform
from rltemp.agents.credit.redistribution import Redistribution
from rltemp.agents.learner import Learner, episode_seed
from rltemp.agents.metrics import RolloutRecorder, update_metrics
from rltemp.agents.policy_io import export_policy, import_policy
from rltemp.agents.ppo import make_ppo, see_by
from rltemp.agents.randomness import RandomStream
from rltemp.agents.vec_env import VectorEnvAdapter, student_env
from rltemp.agents.whitening import FeatureMoments
from rltemp.checks import unchecked
from rltemp.distillation.optimization import load_optimizer
from rltemp.errors import DivergenceError, InputError
from rltemp.features import LogitFeatures
from rltemp.policies.learned import LearnedPolicy
from rltemp.progress import NoProgress, Progress
from rltemp.recipes.schema import Agent, PolicySpace
from rltemp.seeding import make_generator

__all__ = ["Trainer", "can_act", "make_calibration"]


def make_calibration(agent: Agent, features: int) -> Calibration:
    """The calibration for the settings' `credit`, for instances of `features` numbers.

    Raises:
        InputError: for an unknown kind of credit.
    """
    if agent.credit in ("uniform", "hindsight"):
        # Hindsight gives credit at the end of the episode; until then every instance gets the batch's reward.
        return Uniform()
    if agent.credit == "influence":
        return Influence(agent.influence_weight)
    if agent.credit == "redistribution":
        return Redistribution(features, make_generator(agent.seed, "redistribution"))
    raise InputError(f"agent.credit must be uniform, redistribution, influence or hindsight, got {agent.credit!r}")


class Trainer(Learner):
    """A policy that SB3's PPO learns.

    Each rollout is one episode of all students, seeded by its number, and one PPO update. If the environment has
    several tasks, rollouts play them in turn.

    Args:
        env: K students of B instances, a `StudentVectorEnv`, possibly in Gymnasium's wrappers. With autoreset disabled,
            only episodes that this trainer plays are begun.
        agent: the settings.
        calibration: replaces the one that `agent` names.

    Attributes:
        calibration: divides the reward of a batch among its instances.
        model: SB3's PPO.

    Raises:
        InputError: for an environment that is not one of students, that has another number of students than `agent`
            says, or that does not support the agent's kind of credit.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], agent: Agent, calibration: Calibration | None = None) -> None:
        super().__init__(agent)
        adapter = VectorEnvAdapter(env)
        students = student_env(adapter)
        if students.students != agent.students:
            raise InputError(f"env must hold agent.students = {agent.students} students, got {students.students}")
        if agent.credit not in students.credit_kinds:
            got = ", ".join(sorted(students.credit_kinds))
            raise InputError(f"env must answer what agent.credit = {agent.credit!r} needs, got one for {got}")
        self._tasks = students.tasks
        self._met = FeatureMoments(students.features) if agent.whiten else None
        self.calibration = calibration or make_calibration(agent, students.features)
        self._venv = CalibratedReward(adapter, self.calibration, agent.reward_scale)
        self._stream = RandomStream(agent.seed)
        with self._stream.active():
            self.model = make_ppo(self._venv, agent)

    def rollout(self, progress: Progress | None = None) -> dict[str, float]:
        """Play one episode with every student, update policy and calibration, and return the rollout's metrics.

        Args:
            progress: advances with every step of the environment.

        Raises:
            DivergenceError: for an agent that is not finite, or where no student is left; `history` then has no entry
                for this rollout.
        """
        recorder = RolloutRecorder(progress or NoProgress())
        self._venv.seed(episode_seed(self.agent.seed, len(self.history)))
        self._venv.set_options(self._turn(self._tasks))
        if self.agent.anneal:
            rate = self._rate()
            self.model.lr_schedule = lambda _: rate
        if self._met is not None:
            see_by(self.model.policy, self._met.basis())
        with self._stream.active(), unchecked():
            # Ends an open episode, and starts one with this rollout's seed.
            self.model.set_env(self._venv, force_reset=True)
            self._learn(recorder)
        self.calibration.update()
        if self._met is not None:
            self._met.note_rollout(torch.from_numpy(self.model.rollout_buffer.observations).flatten(0, -2))
        return self._note({**recorder.record.metrics(), **update_metrics(self.model)}, self._tasks)

    @property
    def free(self) -> frozenset[str]:
        """The number of rollouts may change, unless the learning rate depends on it."""
        return frozenset() if self.agent.anneal else frozenset({"rollouts"})

    @property
    def steps(self) -> int:
        """Steps of the environment in a rollout."""
        return self.model.n_steps

    def export(self, features: LogitFeatures, space: PolicySpace, card: Mapping[str, Any]) -> LearnedPolicy:
        """The mean action, with copies of its weights; arguments are those of `Learner.export`."""
        return export_policy(self.model, features, space, card=card)

    def start_from(self, policy: LearnedPolicy) -> None:
        """Take the weights of a policy that `import_policy` takes."""
        import_policy(self.model, policy)

    def weights(self) -> dict[str, Tensor]:
        """The state of SB3's policy, value function and noise included."""
        state: dict[str, Tensor] = self.model.policy.state_dict()
        return state

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Restore what `weights()` returned."""
        self.model.policy.load_state_dict(weights)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next rollout depends on, and the history, as tensors and plain values."""
        return {
            **self._common_state(),
            "policy": self.weights(),
            "optimizer": self.model.policy.optimizer.state_dict(),
            "timesteps": self.model.num_timesteps,
            "calibration": self.calibration.state_dict(),
            "random": self._stream.state_dict(),
            "met": None if self._met is None else self._met.sums.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict()` returned.

        Raises:
            InputError: for the state of other settings, of which only the number of rollouts may differ; this trainer
                must then be discarded.
        """
        self._load_common_state(state)
        self.load_weights(state["policy"])
        load_optimizer(self.model.policy.optimizer, state["optimizer"])
        self.model.num_timesteps = operator.index(state["timesteps"])
        self.calibration.load_state_dict(state["calibration"])
        self._stream.load_state_dict(state["random"])
        if self._met is not None:
            self._met.sums = state["met"].clone()

    def _learn(self, recorder: RolloutRecorder) -> None:
        """Make one rollout and its update.

        Raises:
            DivergenceError: for an agent whose weights or noise are not finite, which SB3 reports in part as a
                `ValueError`.
        """
        steps = self.model.n_steps * self._venv.num_envs
        trouble: ValueError | None = None
        try:
            self.model.learn(steps, callback=recorder, reset_num_timesteps=False)
        except DivergenceError:
            raise
        except ValueError as error:
            trouble = error
        if not can_act(self.model):
            raise self._diverged() from trouble
        if trouble is not None:
            raise trouble


def can_act(model: PPO) -> bool:
    """Whether all weights are finite, and the noise has a standard deviation > 0 and a finite variance."""
    std = model.policy.log_std.detach().exp()
    tensors = [*model.policy.parameters(), std.square(), std.log()]
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
