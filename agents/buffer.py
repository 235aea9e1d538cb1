"""Advantages along the life of a student, not along a slot."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.buffers import RolloutBuffer

from rltemp.errors import InputError

__all__ = ["StudentRolloutBuffer"]


class StudentRolloutBuffer(RolloutBuffer):
    """SB3's rollout buffer with generalized advantage estimation (Schulman et al. 2016) per student.

    The instance of a slot is another image at every step, so a slot has no future of its own: what an action leads to
    is its student's future. With R and V the means over the B slots of a student,

        A_i = GAE(R, V) + (r_i - R) - (V_i - V)

    and the value of instance i is regressed on A_i + V_i, that is on its own deviation r_i - R plus its student's
    return. Estimated slot by slot, the pay of unrelated images of later steps would enter as noise; with B = 1 both are
    the same, and mean_i A_i = GAE(R, V) always.

    Args:
        *args: those of `RolloutBuffer`.
        group_size: B, slots per student; slots k * B .. k * B + B - 1 are student k's.
        **kwargs: those of `RolloutBuffer`.
    """

    def __init__(self, *args: Any, group_size: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if group_size < 1 or self.n_envs % group_size:
            raise InputError(f"group_size must divide the number of slots {self.n_envs}, got {group_size}")
        self.group_size = group_size

    def compute_returns_and_advantage(self, last_values: torch.Tensor, dones: npt.NDArray[Any]) -> None:
        """Fill `advantages` and `returns`, both [steps, slots].

        Args:
            last_values: values of the observations after the last step; one per slot.
            dones: whether the last step ended the episode; one per slot.
        """
        own_rewards, own_values = self.rewards, self.values
        self.rewards, self.values = self._student_mean(own_rewards), self._student_mean(own_values)
        mean_last = torch.from_numpy(self._student_mean(last_values.detach().cpu().numpy().reshape(1, -1)))
        super().compute_returns_and_advantage(mean_last, dones)
        self.advantages += (own_rewards - self.rewards) - (own_values - self.values)
        self.rewards, self.values = own_rewards, own_values
        self.returns = self.advantages + self.values

    def _student_mean(self, slots: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The mean over each student's slots, in each of them: [steps, slots] -> [steps, slots]."""
        grouped = slots.reshape(len(slots), -1, self.group_size)
        return np.repeat(grouped.mean(axis=2), self.group_size, axis=1)
