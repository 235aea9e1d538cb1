"""Advantage estimation along the run of a student instead of along a slot."""

from collections.abc import Generator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.type_aliases import RolloutBufferSamples

from rltemp.agents.forfeit import forfeits
from rltemp.errors import InputError

__all__ = ["StudentRolloutBuffer"]

_LEARNED_FROM = ("observations", "actions", "values", "log_probs", "advantages", "returns")


class StudentRolloutBuffer(RolloutBuffer):
    """SB3's rollout buffer with generalized advantage estimation per student.

    The instance of a slot is another image at every step, so that the consequences of an action are its student's later
    rewards and not its slot's. With R and V the means of rewards r_i and values V_i over the B slots of a student,

        A_i = GAE(R, V) + (r_i - R) - (V_i - V)

    where GAE is that of Schulman et al. (2016), equation 16, and the other terms are this project's. The value of
    instance i is regressed on A_i + V_i, that is on its own deviation r_i - R plus its student's return. Estimates per
    slot would contain the rewards of unrelated images at later steps as noise. For B = 1 both estimates are equal, and
    always mean_i A_i = GAE(R, V).

    With twins, two students that are the same but for their actions, there is no critic. A student's noise is one for
    the whole run, and so is its advantage: its return, less the mean of its own and its twin's,

        A_i = (sum_t R_t - mean over both) + (r_i - R).

    A rollout is one episode of all students. Where a slot's episode ended before, its student was lost: the end is a
    terminal state, at which it pays its forfeit (`forfeits`), and what comes after it is no experience, from which
    nothing is learned.

    Args:
        *args: those of `RolloutBuffer`.
        group_size: B, slots per student, a divisor of the number of slots; slots k * B to k * B + B - 1 are student
            k's.
        twins: whether students 2j and 2j + 1 are compared with each other instead of with the critic.
        **kwargs: those of `RolloutBuffer`.

    Raises:
        InputError: for a `group_size` that does not divide the number of slots, or an odd number of twins.
    """

    def __init__(self, *args: Any, group_size: int, twins: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if group_size < 1 or self.n_envs % group_size:
            raise InputError(f"group_size must divide the number of slots {self.n_envs}, got {group_size}")
        if twins and self.n_envs % (2 * group_size):
            raise InputError(f"twins must come in pairs, got {self.n_envs // group_size} students")
        self.group_size, self.twins = group_size, twins

    @property
    def counted(self) -> npt.NDArray[np.bool_]:
        """Which rows are experience, [steps, slots]: all up to the end of a slot's episode."""
        over = self.episode_starts.astype(bool)
        over[0] = False  # where every rollout begins
        return ~np.logical_or.accumulate(over)

    def compute_returns_and_advantage(self, last_values: torch.Tensor, dones: npt.NDArray[Any]) -> None:
        """Fill `advantages` and `returns`, both [steps, slots].

        Args:
            last_values: values of the observations after the last step, [slots].
            dones: whether the last step ended the episode, [slots].
        """
        mean_rewards = self._student_mean(self.rewards)
        if self.twins:
            self.advantages = self.rewards - mean_rewards + self._ahead_of_twins(mean_rewards)
        else:
            self._ahead_of_critic(mean_rewards, last_values, dones)
        self.returns = self.advantages + self.values

    def get(self, batch_size: int | None = None) -> Generator[RolloutBufferSamples, None, None]:
        """Minibatches of the counted rows in random order.

        Args:
            batch_size: rows of a minibatch; None for all in one.
        """
        if not self.generator_ready:
            rows = self.swap_and_flatten(self.counted)[:, 0]
            for name in _LEARNED_FROM:
                setattr(self, name, self.swap_and_flatten(getattr(self, name))[rows])
            self.generator_ready = True
        order = np.random.permutation(len(self.values))  # noqa: NPY002 (as SB3 does, from the stream of `RandomStream`)
        size = batch_size or len(order)
        for start in range(0, len(order), size):
            yield self._get_samples(order[start : start + size])

    def _after_forfeits(self, rewards: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The students' rewards [steps, slots], less what those that were lost pay at their end."""
        last = self.counted.sum(axis=0) - 1
        paid, slots = rewards.copy(), np.arange(self.n_envs)
        paid[last, slots] -= forfeits(rewards.sum(axis=0), last < len(rewards) - 1)
        return paid

    def _ahead_of_critic(
        self, mean_rewards: npt.NDArray[np.float32], last_values: torch.Tensor, dones: npt.NDArray[Any]
    ) -> None:
        """Fill `advantages` with what students earn, [steps, slots], less what the critic expects."""
        own_rewards, own_values = self.rewards, self.values
        mean_values = self._student_mean(own_values)
        self.rewards, self.values = self._after_forfeits(mean_rewards), mean_values
        mean_last = torch.from_numpy(self._student_mean(last_values.detach().cpu().numpy().reshape(1, -1)))
        super().compute_returns_and_advantage(mean_last, dones)
        self.advantages += (own_rewards - mean_rewards) - (own_values - mean_values)
        self.rewards, self.values = own_rewards, own_values

    def _ahead_of_twins(self, rewards: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Returns [slots] of the students' rewards [steps, slots], less the mean of a student's and its twin's."""
        earned = self._after_forfeits(rewards).sum(axis=0).reshape(-1, 2, self.group_size)
        ahead: npt.NDArray[np.float32] = (earned - earned.mean(axis=1, keepdims=True)).reshape(-1)
        return ahead

    def _student_mean(self, slots: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Replace each value of [steps, slots] by the mean over its student's slots, keeping the shape."""
        grouped = slots.reshape(len(slots), -1, self.group_size)
        return np.repeat(grouped.mean(axis=2), self.group_size, axis=1)
