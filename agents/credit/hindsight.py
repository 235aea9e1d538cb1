"""Credit for the end of a run: how much an action did to it, and not what it did to the next step."""

from typing import Any

import numpy as np
import numpy.typing as npt
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from rltemp.agents.vec_env import student_env
from rltemp.errors import InputError

__all__ = ["HindsightPPO", "hindsight_advantages"]

Floats = npt.NDArray[np.floating]

_FARTHEST = 3.0
"""Root mean squares of a step beyond which an instance's advantage does not grow: one instance must not outvote all."""


class HindsightPPO(PPO):
    """PPO whose advantages come from what the actions of an episode did to its end.

    An instance's advantage over what the policy
    would have done without noise is the difference of the two actions' effects: to first order its own share in the
    outcome, free of the noise of all other instances and steps. What first order does not see, how far all actions of a
    student together moved the outcome, comes from the rewards: the advantage that the rollout buffer estimates.

    Args:
        *args: those of `PPO`.
        return_weight: size, >= 0, of the rewards' advantage beside that of the effects.
        **kwargs: those of `PPO`.
    """

    def __init__(self, *args: Any, return_weight: float, **kwargs: Any) -> None:
        if not 0.0 <= return_weight < float("inf"):
            raise InputError(f"return_weight must be >= 0 and finite, got {return_weight}")
        self.return_weight = return_weight
        super().__init__(*args, **kwargs)

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Play one episode, then look back upon it."""
        complete = super().collect_rollouts(env, callback, rollout_buffer, n_rollout_steps)
        if complete:
            students = student_env(env)
            effects, usual = (students.effects(actions) for actions in (rollout_buffer.actions[..., 0], self._usual()))
            students.forget()
            rewards = rollout_buffer.advantages / (rollout_buffer.advantages.std() + 1e-12)
            rollout_buffer.advantages = hindsight_advantages(effects, usual) + self.return_weight * rewards
        return complete

    def _usual(self) -> Floats:
        """What the policy does without noise where the rollout was, [steps, slots]."""
        observations = self.rollout_buffer.observations
        actions, _ = self.policy.predict(observations.reshape(-1, observations.shape[-1]), deterministic=True)
        return actions.reshape(observations.shape[:2])


def hindsight_advantages(effects: Floats, usual: Floats) -> Floats:
    """Effects over the usual ones in root mean squares of their step, within +- 3; [steps, slots] for the same.

    Steps are put on one scale because effects grow and shrink by orders of magnitude along a run, while where a policy
    has to be good is everywhere.
    """
    difference = effects - usual
    size = np.sqrt(np.square(difference).mean(axis=1, keepdims=True))
    advantages: Floats = np.clip(difference / (size + 1e-30), -_FARTHEST, _FARTHEST).astype(np.float32)
    return advantages
