"""Credit in hindsight: advantages of actions by their effects on the end of a run instead of the next step."""

from typing import Any

import numpy as np
import numpy.typing as npt
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from rltemp.agents.buffer import StudentRolloutBuffer
from rltemp.agents.vec_env import student_env
from rltemp.errors import InputError

__all__ = ["ROWS", "HindsightPPO", "hindsight_advantages", "squeezed"]

Floats = npt.NDArray[np.floating]

_FARTHEST = 3.0
"""Largest advantage of an instance, in root mean squares of its step, so that no instance dominates an update."""

ROWS = 1 << 18
"""Observations that the policy is asked for at once."""


class HindsightPPO(PPO):
    """PPO whose advantages are the effects of an episode's actions on its end (this project's method).

    The advantage of an instance is the effect of its action minus that of the policy's action without noise: to first
    order its own share in the outcome, without the noise of all other instances and steps. The joint effect of all
    actions of a student, which first order misses, comes from the rewards, as the advantage that the rollout buffer
    estimates. It alone tells of a student that is lost, whose end has no gradient: its effects are 0.

    Args:
        *args: those of `PPO`.
        return_weight: weight, >= 0, of the rewards' advantage, normalized to deviation 1, beside that of the effects.
        **kwargs: those of `PPO`.

    Raises:
        InputError: for a weight that is negative or not finite.
    """

    def __init__(self, *args: Any, return_weight: float, **kwargs: Any) -> None:
        if not 0.0 <= return_weight < float("inf"):
            raise InputError(f"return_weight must be >= 0 and finite, got {return_weight}")
        self.return_weight = return_weight
        super().__init__(*args, **kwargs)

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Play one episode, and replace the buffer's advantages by those in hindsight.

        Args:
            env: environment of students that supports credit in hindsight, in SB3's wrappers.
            callback: called at every step.
            rollout_buffer: filled with [steps, slots].
            n_rollout_steps: steps of the episode.

        Returns:
            False if the callback stopped the rollout early.
        """
        complete = super().collect_rollouts(env, callback, rollout_buffer, n_rollout_steps)
        if complete:
            students = student_env(env)
            # In one call: each may cost a way back through the whole run.
            effects, usual = students.effects(np.stack((squeezed(rollout_buffer.actions), self._usual())))
            students.forget()
            assert isinstance(rollout_buffer, StudentRolloutBuffer)
            rewards = rollout_buffer.advantages / (rollout_buffer.advantages[rollout_buffer.counted].std() + 1e-12)
            rollout_buffer.advantages = hindsight_advantages(effects, usual) + self.return_weight * rewards
        return complete

    def _usual(self) -> Floats:
        """Actions [steps, slots], or [steps, slots, A], of the policy without noise on the rollout's observations."""
        observations = self.rollout_buffer.observations
        rows = observations.reshape(-1, observations.shape[-1])
        # In parts, since layers are wider than observations: a long run's would not fit at once.
        parts = [rows[start : start + ROWS] for start in range(0, len(rows), ROWS)]
        actions = np.concatenate([self.policy.predict(part, deterministic=True)[0] for part in parts])
        return squeezed(actions.reshape(*observations.shape[:2], -1))


def squeezed(actions: Floats) -> Floats:
    """Actions of one number without the axis of their numbers, as environments of students take them."""
    return actions[..., 0] if actions.shape[-1] == 1 else actions


def hindsight_advantages(effects: Floats, usual: Floats) -> Floats:
    """Differences of effects in root mean squares of their step, clipped to [-3, 3]; [steps, slots] float32.

    Each step is scaled by itself, since effects change by orders of magnitude along a run while a policy must be good
    at all of its steps.

    Args:
        effects: of the chosen actions, [steps, slots].
        usual: effects of the policy's actions without noise, [steps, slots].
    """
    difference = effects - usual
    size = np.sqrt(np.square(difference).mean(axis=1, keepdims=True))
    advantages: Floats = np.clip(difference / (size + 1e-30), -_FARTHEST, _FARTHEST).astype(np.float32)
    return advantages
