"""SB3's actor-critic policies with the squashings and densities of the online agent."""

from __future__ import annotations

from typing import Any, cast

from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from rltemp.agents.exploration import CoherentPolicy
from rltemp.agents.online.settings import Online
from rltemp.agents.online.squash import REACH, density_argument, first_action

__all__ = ["BatchNoisePolicy", "InstanceNoisePolicy"]


class _OnlineActor:
    """What both policies have in common; stands before an `ActorCriticPolicy` among the bases.

    Args:
        *arguments: those of the policy.
        online: the settings.
        **options: those of the policy.
    """

    def __init__(self, *arguments: Any, online: Online, **options: Any) -> None:
        # Set first, since the constructor of the base class calls `_build`, which uses it.
        self.online = online
        super().__init__(*arguments, **options)

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)  # type: ignore[misc]
        if self.online.squash == "sigmoid":
            self.action_net: nn.Module = nn.Sequential(self.action_net, _TanhOfReach())
        else:
            assert isinstance(self.action_net, nn.Linear)
            nn.init.constant_(self.action_net.bias, first_action(self.online))

    def _get_action_dist_from_latent(self, latent_pi: Tensor) -> Distribution:
        distribution: Distribution = super()._get_action_dist_from_latent(latent_pi)  # type: ignore[misc]
        if self.online.density == "action":
            return distribution
        return cast(Distribution, _DensityElsewhere(distribution, self.online))


class BatchNoisePolicy(_OnlineActor, CoherentPolicy):
    """One noise for all instances of a batch, as a function of their state (`CoherentPolicy`)."""


class InstanceNoisePolicy(_OnlineActor, ActorCriticPolicy):
    """Independent Gaussian noise for every instance, of one standard deviation."""


class _TanhOfReach(nn.Module):
    """tanh of the network as the mean of x in [-1, 1], in units of the action."""

    def forward(self, values: Tensor) -> Tensor:
        return values.tanh() / REACH


class _DensityElsewhere:
    """A distribution of actions whose density is evaluated at their temperatures."""

    def __init__(self, distribution: Distribution, online: Online) -> None:
        self._distribution, self._online = distribution, online

    def get_actions(self, deterministic: bool = False) -> Tensor:
        return self._distribution.get_actions(deterministic=deterministic)

    def log_prob(self, actions: Tensor) -> Tensor:
        return self._distribution.log_prob(density_argument(self._online, actions))

    def entropy(self) -> Tensor | None:
        return self._distribution.entropy()
