"""Exploration noise that all instances of a student share for a whole episode.

Noise drawn per instance and step averages out within a batch: it hardly changes the student, so that the reward carries
no information about it. Generalized state-dependent exploration (gSDE; Raffin et al. 2022, arXiv 2005.05719) makes the
noise a function of the state, drawn once per rollout. Here it is drawn once per *student*: it shifts that student's
whole policy for an episode, and the student's rewards evaluate this shift.
"""

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import StateDependentNoiseDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import Schedule

from rltemp.errors import InputError

__all__ = ["CoherentNoiseDistribution", "CoherentPolicy"]


class CoherentNoiseDistribution(StateDependentNoiseDistribution):
    """gSDE with one noise matrix per group of `group_size` consecutive slots, instead of one per slot.

    The density of an action is that of gSDE (Raffin et al. 2022, arXiv 2005.05719), since the matrix of a slot has the
    same distribution.

    Args:
        action_dim: number of actions of a slot.
        group_size: slots per group, that is per student.
        **options: those of `StateDependentNoiseDistribution`.
    """

    def __init__(self, action_dim: int, group_size: int, **options: Any) -> None:
        super().__init__(action_dim, **options)
        self.group_size = group_size

    def sample_weights(self, log_std: torch.Tensor, batch_size: int = 1) -> None:
        """Draw one noise matrix per group, and repeat it for the group's slots.

        Args:
            log_std: logarithm of the standard deviation of the matrices' entries.
            batch_size: number of slots; 1 (a single matrix) or a multiple of `group_size`.

        Raises:
            InputError: for another number of slots.
        """
        groups, rest = divmod(batch_size, self.group_size)
        if rest and batch_size != 1:
            raise InputError(f"batch_size must be a multiple of the group size {self.group_size}, got {batch_size}")
        super().sample_weights(log_std, max(groups, 1))
        if groups:
            self.exploration_matrices = self.exploration_matrices.repeat_interleave(self.group_size, dim=0)


class CoherentPolicy(ActorCriticPolicy):
    """SB3's actor-critic policy with `CoherentNoiseDistribution`; its deterministic action is the mean without noise.

    Args:
        observation_space: of one slot.
        action_space: of one slot.
        lr_schedule: learning rate by the remaining share of the training.
        group_size: slots per student.
        **options: those of `ActorCriticPolicy`.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Box,
        lr_schedule: Schedule,
        group_size: int,
        **options: Any,
    ) -> None:
        # Set first, since the constructor of the base class calls `_build`, which uses it.
        self.group_size = group_size
        super().__init__(observation_space, action_space, lr_schedule, **{**options, "use_sde": True})

    def _build(self, lr_schedule: Schedule) -> None:
        assert isinstance(self.action_dist, StateDependentNoiseDistribution)
        self.action_dist = CoherentNoiseDistribution(
            self.action_dist.action_dim, self.group_size, **(self.dist_kwargs or {})
        )
        super()._build(lr_schedule)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "group_size": self.group_size}
