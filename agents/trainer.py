"""Training of a temperature policy, one rollout at a time."""

import copy
import dataclasses
import operator
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from stable_baselines3 import PPO

from rltemp.agents.credit.calibration import CalibratedReward, Calibration, Influence, Uniform
from rltemp.agents.credit.redistribution import Redistribution
from rltemp.agents.metrics import RolloutRecorder, update_metrics
from rltemp.agents.ppo import make_ppo
from rltemp.agents.randomness import RandomStream
from rltemp.agents.vec_env import VectorEnvAdapter, student_env
from rltemp.distillation.optimization import load_optimizer
from rltemp.errors import DivergenceError, InputError
from rltemp.progress import NoProgress, Progress
from rltemp.recipes.schema import Agent
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


class Trainer:
    """A policy in training: everything that the next rollout depends on, and the metrics of past rollouts.

    Each rollout is one episode of all students, seeded by its number, and one PPO update. If the environment has
    several tasks, rollouts play them in turn. A trainer that continues from `state_dict()` gives the same result, bit
    for bit, as one that never stopped.

    Args:
        env: K students of B instances, a `StudentVectorEnv`, possibly in Gymnasium's wrappers. With autoreset disabled,
            only episodes that this trainer plays are begun.
        agent: the settings.
        calibration: replaces the one that `agent` names.

    Attributes:
        agent: the settings.
        calibration: divides the reward of a batch among its instances.
        model: SB3's PPO.
        history: metrics of every rollout so far.
        best: score, rollout, and weights of the best policy so far; None unless `keep_best` is used.

    Raises:
        InputError: for an environment that is not one of students, that has another number of students than `agent`
            says, or that does not support the agent's kind of credit.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], agent: Agent, calibration: Calibration | None = None) -> None:
        adapter = VectorEnvAdapter(env)
        students = student_env(adapter)
        if students.students != agent.students:
            raise InputError(f"env must hold agent.students = {agent.students} students, got {students.students}")
        if agent.credit not in students.credit_kinds:
            got = ", ".join(sorted(students.credit_kinds))
            raise InputError(f"env must answer what agent.credit = {agent.credit!r} needs, got one for {got}")
        self._tasks = students.tasks
        self.agent = agent
        self.calibration = calibration or make_calibration(agent, students.features)
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Any] | None = None
        self._venv = CalibratedReward(adapter, self.calibration, agent.reward_scale)
        self._stream = RandomStream(agent.seed)
        with self._stream.active():
            self.model = make_ppo(self._venv, agent)

    def rollout(self, progress: Progress | None = None) -> dict[str, float]:
        """Play one episode with every student, update policy and calibration, and return the rollout's metrics.

        Args:
            progress: advances with every step of the environment.

        Raises:
            DivergenceError: for an agent or students that are not finite; `history` then has no entry for this rollout.
        """
        recorder = RolloutRecorder(progress or NoProgress())
        self._venv.seed(_episode_seed(self.agent.seed, len(self.history)))
        if self._tasks > 1:
            self._venv.set_options({"task": len(self.history) % self._tasks})
        with self._stream.active():
            # Ends an open episode, and starts one with this rollout's seed.
            self.model.set_env(self._venv, force_reset=True)
            self._learn(recorder)
        self.calibration.update()
        metrics = {**recorder.metrics(), **update_metrics(self.model)}
        self.history.append(metrics)
        return metrics

    def keep_best(self, score: float) -> None:
        """Record the current policy's score, higher is better, and keep its weights if it is the highest so far."""
        self.history[-1]["score"] = score
        if self.best is None or score > self.best["score"]:
            weights = copy.deepcopy(self.model.policy.state_dict())
            self.best = {"score": score, "rollout": len(self.history), "policy": weights}

    def restore_best(self) -> None:
        """Load the weights with the highest score into the model, if any were kept."""
        if self.best is not None:
            self.model.policy.load_state_dict(self.best["policy"])

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next rollout depends on, and the history, as tensors and plain values."""
        return {
            "agent": dataclasses.asdict(self.agent),
            "policy": self.model.policy.state_dict(),
            "optimizer": self.model.policy.optimizer.state_dict(),
            "timesteps": self.model.num_timesteps,
            "calibration": self.calibration.state_dict(),
            "random": self._stream.state_dict(),
            "history": [dict(metrics) for metrics in self.history],
            "best": self.best,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict()` returned.

        Raises:
            InputError: for the state of other settings, of which only the number of rollouts may differ; this trainer
                must then be discarded.
        """
        ours, theirs = ({**settings, "rollouts": None} for settings in (dataclasses.asdict(self.agent), state["agent"]))
        different = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
        if different:
            name = different[0]
            raise InputError(f"agent.{name} must be {theirs.get(name)!r} to continue, got {ours.get(name)!r}")
        best = state["best"]
        self.best = None if best is None else {**best, "score": float(best["score"])}
        self.restore_best()  # raises if these weights do not fit
        self.model.policy.load_state_dict(state["policy"])
        load_optimizer(self.model.policy.optimizer, state["optimizer"])
        self.model.num_timesteps = operator.index(state["timesteps"])
        self.calibration.load_state_dict(state["calibration"])
        self._stream.load_state_dict(state["random"])
        self.history = [dict(metrics) for metrics in state["history"]]

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
            raise DivergenceError(
                f"the agent diverged in rollout {len(self.history) + 1}: "
                "lower agent.learning_rate, or agent.log_std and agent.reward_scale where they are large"
            ) from trouble
        if trouble is not None:
            raise trouble


def can_act(model: PPO) -> bool:
    """Whether all weights are finite, and the noise has a standard deviation > 0 and a finite variance."""
    std = model.policy.log_std.detach().exp()
    tensors = [*model.policy.parameters(), std.square(), std.log()]
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


def _episode_seed(seed: int, rollout: int) -> int:
    """The environment's seed for one rollout; < 2**30, since SB3 adds the slot's index to it, below 2**31."""
    return int(np.random.SeedSequence([seed, *b"episodes", rollout]).generate_state(1)[0] >> np.uint32(2))
