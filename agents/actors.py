"""The mean action of anybody's agent as a `Stack`, compared with the agent itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorActionWrapper, VectorObservationWrapper, VectorWrapper
from gymnasium.wrappers.vector import RescaleAction
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor, nn

from rltemp.agents.stack import Affine, Stack, read_stack
from rltemp.agents.vec_env import VectorEnvAdapter
from rltemp.envs.contract import Floats
from rltemp.errors import InputError
from rltemp.features import center

__all__ = ["check_exportable", "stack_of"]

_ACTIONS = ((1,), (2,), (3,))
"""Shapes of an action: temperature, scale, and weight of the label."""

_ROWS = 256
"""Observations on which a stack is compared with its agent."""

_TOLERANCE = 1e-3, 1e-5
"""Largest mean difference of actions: in shares of how far the actions of observations lie apart, and what rounding
adds. Of large weights, rounding may turn a few actions over, and a wrong reading changes nearly all."""


def check_exportable(model: BaseAlgorithm | nn.Module) -> None:
    """Raise unless `export_policy` takes this model, now and when it is trained; ask before training.

    Args:
        model: as `export_policy` takes it.

    Raises:
        InputError: for what cannot be exported, or a `VecNormalize` that may come to cut features.
    """
    stack_of(model)
    norm = model.get_vec_normalize_env() if isinstance(model, BaseAlgorithm) else None
    # A feature lies in [0, 1], so that it is never further from its mean than this.
    if norm is not None and norm.norm_obs and norm.clip_obs < (furthest := 1.0 / math.sqrt(norm.epsilon)):
        raise InputError(f"VecNormalize must have clip_obs >= {furthest:g}, which cuts nothing, got {norm.clip_obs:g}")


def stack_of(model: BaseAlgorithm | nn.Module) -> Stack:
    """The mean action of an agent, clipped to [-1, 1], as a function of one instance's features.

    Args:
        model: an algorithm of Stable-Baselines3 (or sb3-contrib), or an actor as a module of torch.

    Raises:
        InputError: for an agent that is no stack of linear layers, observes anything but an instance's features, or
            acts otherwise than its layers say.
    """
    if isinstance(model, BaseAlgorithm):
        stack, act = _of_algorithm(model)
    elif isinstance(model, BasePolicy):
        raise InputError(f"model must be the algorithm itself, got its policy, {type(model).__name__}")
    elif isinstance(model, nn.Module):
        stack, act = _of_module(model)
    else:
        raise InputError(
            f"model must be an algorithm of Stable-Baselines3 or a torch module, got {type(model).__name__}"
        )
    _compare(stack, act)
    return stack


def _of_module(module: nn.Module) -> tuple[Stack, Callable[[Floats], Floats]]:
    first = next((part for part in module.modules() if isinstance(part, nn.Linear)), None)
    if first is None:
        raise InputError(f"model must be linear layers with tanh or ReLU between them, got {type(module).__name__}")

    def act(observations: Floats) -> Floats:
        with torch.no_grad():
            try:
                actions = module(torch.from_numpy(observations).to(first.weight))
            except Exception as error:
                raise InputError(
                    f"model must be a module from features [N, {first.in_features}] to actions [N, A]: "
                    f"it raised {type(error).__name__}"
                ) from error
        rows = len(observations)
        if not isinstance(actions, Tensor) or actions.shape[:1] != (rows,) or actions.shape[1:] not in ((), *_ACTIONS):
            got = list(actions.shape) if isinstance(actions, Tensor) else type(actions).__name__
            raise InputError(f"model must give actions [N], or [N, A] of 1 to 3 numbers, got {got} for N = {rows}")
        return actions.float().cpu().numpy().reshape(rows, -1)

    *_, last = (part for part in module.modules() if isinstance(part, nn.Linear))
    return read_stack([module], first.in_features, last.out_features), act


def _of_algorithm(model: BaseAlgorithm) -> tuple[Stack, Callable[[Floats], Floats]]:
    features, to_unit = _spaces(model)
    _check_wrappers(model)
    if any(isinstance(part, nn.RNNBase) for part in model.policy.modules()):
        raise InputError("model must act on one observation alone, got a recurrent policy")
    norm = model.get_vec_normalize_env()
    norm = norm if norm is not None and norm.norm_obs else None
    actor = _actor(model.policy)
    # SB3 stretches a squashed action to its Box, so that the action in [-1, 1] is what was squashed.
    after = [] if model.policy.squash_output else [to_unit]
    before = [] if norm is None else [_normalization(norm)]
    scale, shift = to_unit.weight.diagonal().float().numpy(), to_unit.bias.float().numpy()

    def act(observations: Floats) -> Floats:
        seen = observations if norm is None else norm.normalize_obs(observations)
        actions, _ = model.predict(seen, deterministic=True)
        return np.asarray(np.reshape(actions, (len(seen), -1)) * scale + shift, dtype=np.float32)

    return read_stack([*before, *actor, *after], features, len(shift)), act


def _spaces(model: BaseAlgorithm) -> tuple[int, Affine]:
    """Number of features F, and the map of the model's actions to [-1, 1]."""
    seen, acts = model.observation_space, model.action_space
    if not (isinstance(seen, spaces.Box) and len(seen.shape) == 1 and (seen.low == 0).all() and (seen.high == 1).all()):
        raise InputError(
            f"model must observe one instance, Box(0, 1, [F]) as make_sb3_env gives it, got {_in_one_line(seen)}"
        )
    if not isinstance(acts, spaces.Box) or acts.shape not in _ACTIONS:
        raise InputError(
            f"model must give one action for an instance, Box(-1, 1, [1]), [2] or [3], got {_in_one_line(acts)}"
        )
    low, high = torch.from_numpy(acts.low).double(), torch.from_numpy(acts.high).double()
    return seen.shape[0], Affine.diagonal(2.0 / (high - low), -(high + low) / (high - low))


def _in_one_line(space: spaces.Space[Any]) -> str:
    return " ".join(repr(space).split())[:80]


def _check_wrappers(model: BaseAlgorithm) -> None:
    """Refuse Gymnasium's wrappers that change what the model sees, or what its actions do, in a way unknown here."""
    venv = model.get_env()
    adapter = None if venv is None else venv.unwrapped
    env = adapter.env if isinstance(adapter, VectorEnvAdapter) else None
    while isinstance(env, VectorWrapper):
        if isinstance(env, VectorObservationWrapper | VectorActionWrapper) and not isinstance(env, RescaleAction):
            raise InputError(f"model must see features and act as the environment says, got {type(env).__name__}")
        env = env.env


def _actor(policy: BasePolicy) -> list[Any]:
    """The policy's modules from observation to mean action."""
    if isinstance(policy, ActorCriticPolicy):  # PPO, A2C, TRPO
        squash = [nn.Tanh()] if policy.squash_output else []
        return [policy.pi_features_extractor, policy.mlp_extractor.policy_net, policy.action_net, *squash]
    actor = getattr(policy, "actor", policy)
    if hasattr(actor, "latent_pi"):  # SAC, TQC: the squashing is that of the distribution
        return [actor.features_extractor, actor.latent_pi, actor.mu, nn.Tanh()]
    return [actor]  # TD3, DDPG, ARS: the actor is nothing else


def _normalization(norm: VecNormalize) -> Affine:
    """What `VecNormalize` does to features in [0, 1].

    Raises:
        InputError: if it cuts some of them.
    """
    assert isinstance(norm.obs_rms, RunningMeanStd)  # a dict only of Dict observations, which were refused
    mean, deviation = norm.obs_rms.mean, np.sqrt(norm.obs_rms.var + norm.epsilon)
    furthest = float((np.maximum(mean, 1.0 - mean) / deviation).max())
    if furthest > norm.clip_obs:
        raise InputError(
            f"VecNormalize must have clip_obs >= {furthest:.1f}, which cuts no feature, got {norm.clip_obs:g}: "
            "set another before training, or leave it out, since features lie in [0, 1]"
        )
    return Affine.diagonal(torch.from_numpy(1.0 / deviation), torch.from_numpy(-mean / deviation))


def _compare(stack: Stack, act: Callable[[Floats], Floats]) -> None:
    """Raise `InputError` unless the agent acts as the stack says, on random features."""
    observations = np.random.default_rng(0).random((_ROWS, stack.features), dtype=np.float32)
    want, got = np.clip(act(observations), -1.0, 1.0), _actions(stack, observations)
    share, rounding = _TOLERANCE
    off = float(np.abs(want - got).mean())
    if not off <= share * float(np.ptp(want)) + rounding:
        raise InputError(f"model must act as its layers say (docs/agents.md), got actions that differ by {off:.1g}")


def _actions(stack: Stack, observations: Floats) -> Floats:
    values = center(torch.from_numpy(observations).double())
    for number, layer in enumerate(stack.layers):
        if number:
            values = values.tanh() if stack.activation == "tanh" else values.relu()
        values = values @ layer.weight.T + layer.bias
    return (values.tanh() if stack.squash else values.clamp(-1.0, 1.0)).float().numpy()
