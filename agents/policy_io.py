"""Conversion of an agent to a policy that needs neither its library nor Gymnasium, and back."""

from collections.abc import Mapping
from typing import Any

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import nn

from rltemp.agents.actors import stack_of
from rltemp.agents.ppo import CenteredFeatures, WhitenedFeatures, see_by
from rltemp.agents.vec_env import VectorEnvAdapter
from rltemp.agents.whitening import Basis
from rltemp.envs.vector import DistillationVectorEnv
from rltemp.errors import InputError
from rltemp.features import LogitFeatures
from rltemp.policies.learned import LearnedPolicy
from rltemp.recipes.schema import PolicySpace

__all__ = ["check_continuable", "export_policy", "import_policy"]


def export_policy(
    model: BaseAlgorithm | nn.Module,
    features: LogitFeatures | None = None,
    space: PolicySpace | None = None,
    *,
    card: Mapping[str, Any] | None = None,
) -> LearnedPolicy:
    """The mean action of `model` as a `LearnedPolicy`, with copies of its weights.

    What stands around the layers becomes part of them: a centring, `VecNormalize`, and the Box of the actions, whose
    ends are those of the range of temperatures. The model is asked for some actions, and must act as the policy does.

    Args:
        model: PPO, A2C, SAC, TD3 and others of Stable-Baselines3 and sb3-contrib, trained on observations of these
            features; or a torch module from features [N, F] in [0, 1] to actions [N] or [N, A], of linear layers with
            tanh or ReLU between them.
        features: the F features that the policy computes from logits; by default those of the model's environment.
        space: maps the policy's actions to temperatures; by default that of the model's environment.
        card: how the policy was trained and what it scored, as plain JSON values.

    Raises:
        InputError: if the number of features is not the size of the model's observation, without features or space for
            a model without an environment of `make_sb3_env`, or for a model that no `LearnedPolicy` can hold.
    """
    if features is None or space is None:
        env = _environment(model)
        features, space = features or LogitFeatures(env.feature_names), space or env.policy_space
    stack = stack_of(model)
    if stack.features != len(features):
        raise InputError(f"features must be the {stack.features} the model was trained on, got {len(features)}")
    if stack.actions != space.actions.count:
        raise InputError(
            f"space must give an action {stack.actions} numbers, as the model's, got {space.actions.count}"
        )
    policy = LearnedPolicy(
        features,
        stack.hidden,
        **vars(space.actions),
        activation=stack.activation,
        squash=stack.squash,
        card=card,
    )
    with torch.no_grad():
        for layer, source in zip(_layers_of(policy), stack.layers, strict=True):
            layer.weight.copy_(source.weight)
            layer.bias.copy_(source.bias)
    return policy


def import_policy(model: PPO, policy: LearnedPolicy) -> None:
    """Copy the weights of `policy` into the mean action of `model`, to continue its training.

    Args:
        model: made by `make_ppo`; its exploration noise and its value function do not change.
        policy: a trained policy with the model's features and hidden layers, tanh between them.

    Raises:
        InputError: for layers of other sizes, another activation, an action that is squashed where the model's is
            clipped or the other way round, or a model that `make_ppo` did not make.
    """
    layers, sources = _actor_layers(model), _layers_of(policy)
    want, got = ([tuple(layer.weight.shape) for layer in both] for both in (layers, sources))
    if got != want:
        raise InputError(f"policy must have layers of the model's shapes {want}, got {got}")
    check_continuable("policy", policy, model.policy.squash_output)
    if isinstance(model.policy.features_extractor, WhitenedFeatures):
        see_by(model.policy, Basis.plain(len(policy.features)))  # as the policy does
    with torch.no_grad():
        for source, target in zip(sources, layers, strict=True):
            target.weight.copy_(source.weight)
            target.bias.copy_(source.bias)


def check_continuable(name: str, policy: LearnedPolicy, squash: bool) -> None:
    """Raise `InputError` that begins with `name` unless a learner has networks of this policy's kind.

    Args:
        name: of the policy.
        policy: to continue from.
        squash: whether the learner's actions end in tanh; else they are clipped.
    """
    if policy.activation != "tanh" or policy.squash != squash:
        want, got = ("squashed" if kind else "clipped" for kind in (squash, policy.squash))
        raise InputError(f"{name} must have tanh between its layers and be {want}, got {policy.activation}, {got}")


def _environment(model: BaseAlgorithm | nn.Module) -> DistillationVectorEnv:
    """The environment of `make_sb3_env` that the model has.

    Raises:
        InputError: for a model without one.
    """
    venv = model.get_env() if isinstance(model, BaseAlgorithm) else None
    adapter = None if venv is None else venv.unwrapped
    env = adapter.env.unwrapped if isinstance(adapter, VectorEnvAdapter) else None
    if not isinstance(env, DistillationVectorEnv):
        raise InputError("features and space must be given for a model without an environment of make_sb3_env")
    return env


def _layers_of(policy: LearnedPolicy) -> list[nn.Linear]:
    """The policy's linear layers, from features to action."""
    return [layer for layer in policy.net if isinstance(layer, nn.Linear)]


def _actor_layers(model: PPO) -> list[nn.Linear]:
    """The model's linear layers, from observation to mean action.

    Raises:
        InputError: for a model that `make_ppo` did not make.
    """
    hidden = list(model.policy.mlp_extractor.policy_net)
    other = [type(layer).__name__ for layer in hidden if not isinstance(layer, nn.Linear | nn.Tanh)]
    if other or not isinstance(model.policy.features_extractor, CenteredFeatures):
        raise InputError(f"model must be one of make_ppo: centered features, linear layers, tanh; got {other or model}")
    return [layer for layer in (*hidden, model.policy.action_net) if isinstance(layer, nn.Linear)]
