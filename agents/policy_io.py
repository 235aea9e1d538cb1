"""Conversion of SB3's model to a policy that needs neither SB3 nor Gymnasium, and back."""

from collections.abc import Mapping
from typing import Any

import torch
from stable_baselines3 import PPO
from torch import nn

from rltemp.agents.ppo import CenteredFeatures
from rltemp.errors import InputError
from rltemp.features import LogitFeatures
from rltemp.policies.learned import LearnedPolicy
from rltemp.recipes.schema import PolicySpace

__all__ = ["export_policy", "import_policy"]


def export_policy(
    model: PPO, features: LogitFeatures, space: PolicySpace, *, card: Mapping[str, Any] | None = None
) -> LearnedPolicy:
    """The mean action of `model` as a `LearnedPolicy`, with copies of its weights.

    Args:
        model: made by `make_ppo`, and trained on observations of these features.
        features: the F features that the policy computes from logits.
        space: maps the policy's actions to temperatures.
        card: how the policy was trained and what it scored, as plain JSON values.

    Raises:
        InputError: if the number of features is not the size of the model's observation, or for a model that `make_ppo`
            did not make.
    """
    layers = _actor_layers(model)
    if layers[0].in_features != len(features):
        raise InputError(f"features must be the {layers[0].in_features} the model was trained on, got {len(features)}")
    hidden = [layer.out_features for layer in layers[:-1]]
    policy = LearnedPolicy(features, hidden, low=space.low, high=space.high, scale=space.scale, card=card)
    _copy(layers, _layers_of(policy))
    return policy


def import_policy(model: PPO, policy: LearnedPolicy) -> None:
    """Copy the weights of `policy` into the mean action of `model`, to continue its training.

    Args:
        model: made by `make_ppo`; its exploration noise and its value function do not change.
        policy: a trained policy with the model's features and hidden layers.

    Raises:
        InputError: for layers of other sizes, or a model that `make_ppo` did not make.
    """
    layers, sources = _actor_layers(model), _layers_of(policy)
    want, got = ([tuple(layer.weight.shape) for layer in both] for both in (layers, sources))
    if got != want:
        raise InputError(f"policy must have layers of the model's shapes {want}, got {got}")
    _copy(sources, layers)


def _layers_of(policy: LearnedPolicy) -> list[nn.Linear]:
    """The policy's linear layers, from features to action."""
    return [layer for layer in policy.net if isinstance(layer, nn.Linear)]


def _copy(sources: list[nn.Linear], targets: list[nn.Linear]) -> None:
    with torch.no_grad():
        for source, target in zip(sources, targets, strict=True):
            target.weight.copy_(source.weight)
            target.bias.copy_(source.bias)


def _actor_layers(model: PPO) -> list[nn.Linear]:
    """The model's linear layers, from observation to mean action.

    Raises:
        InputError: for a model that `make_ppo` did not make.
    """
    hidden = list(model.policy.mlp_extractor.policy_net)
    other = [type(layer).__name__ for layer in hidden if not isinstance(layer, nn.Linear | nn.Tanh)]
    if other or model.policy.squash_output or not isinstance(model.policy.features_extractor, CenteredFeatures):
        raise InputError(f"model must be one of make_ppo: centered features, linear layers, tanh; got {other or model}")
    return [layer for layer in (*hidden, model.policy.action_net) if isinstance(layer, nn.Linear)]
