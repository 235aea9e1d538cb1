"""SB3's PPO, configured for temperatures."""

import math
import warnings
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from rltemp.agents.buffer import StudentRolloutBuffer
from rltemp.agents.credit.hindsight import HindsightPPO
from rltemp.agents.exploration import CoherentPolicy
from rltemp.agents.vec_env import student_env
from rltemp.agents.whitening import Basis
from rltemp.features import center
from rltemp.recipes.schema import Agent

__all__ = ["CenteredFeatures", "WhitenedFeatures", "make_ppo", "see_by"]


class CenteredFeatures(BaseFeaturesExtractor):
    """Feature extractor that centers observations [N, F], as a `LearnedPolicy` does before its network."""

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space, features_dim=observation_space.shape[0])

    def forward(self, observations: Tensor) -> Tensor:
        """Map observations [N, F] from [0, 1] to [-2, 2]."""
        return center(observations)


class WhitenedFeatures(CenteredFeatures):
    """Centered features that are white besides, by what a policy has met: (f - mean) @ scale; at first as they are."""

    scale: Tensor
    mean: Tensor

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space)
        for name, value in Basis.plain(self.features_dim)._asdict().items():
            self.register_buffer(name, value)

    def forward(self, observations: Tensor) -> Tensor:
        """Map observations [N, F] from [0, 1] to features of mean 0 and about unit variance, that vary apart."""
        return (super().forward(observations) - self.mean) @ self.scale


def see_by(policy: ActorCriticPolicy, basis: Basis) -> None:
    """Let an agent of `WhitenedFeatures` see by another basis; its actions and values stay what they are.

    Its noise and its steps change: they are as large in every direction in which features were met.
    """
    seen = policy.features_extractor
    assert isinstance(seen, WhitenedFeatures)
    old, new = (seen.scale.double(), seen.mean.double()), (basis.scale.double(), basis.mean.double())
    # W A (f - m) + b for all f, in other words: W A = V B, and b + V B (n - m) for the bias.
    with torch.no_grad():
        for first in _first_layers(policy):
            plain = first.weight.double() @ old[0]
            first.weight.copy_(torch.linalg.solve(new[0], plain, left=False))
            first.bias.add_((plain @ (new[1] - old[1])).to(first.bias.dtype))
        seen.scale.copy_(basis.scale)
        seen.mean.copy_(basis.mean)


def _first_layers(policy: ActorCriticPolicy) -> list[nn.Linear]:
    """Those of actor and critic that see the features."""
    both = policy.mlp_extractor
    return [
        [*hidden, last][0]
        for hidden, last in ((both.policy_net, policy.action_net), (both.value_net, policy.value_net))
    ]


def make_ppo(venv: VecEnv, agent: Agent) -> PPO:
    """PPO (Schulman et al. 2017, arXiv 1707.06347) whose rollout is one whole episode of every student.

    There is no discount: the rewards sum to the whole run's decrease of the probe loss, and the horizon is finite.
    Advantages are those of `StudentRolloutBuffer` (of `HindsightPPO` for that credit), with a critic or without one, as
    `agent.baseline` says; noise is that of `CoherentPolicy`. Features are centered, or white besides (`agent.whiten`;
    by what has been met, see `see_by`), actions clipped, or squashed with their noise (`agent.squash`). An update ends
    once the approximate KL divergence exceeds 1.5 * target_kl. Networks stay on the CPU, where they are fastest at this
    size. The model draws from the global generators: make it, and train it, inside a `RandomStream`.

    Args:
        venv: a `VectorEnvAdapter` of an environment of students.
        agent: the settings.

    Raises:
        InputError: for another environment.
    """
    env = student_env(venv)
    hidden = list(agent.hidden)
    with warnings.catch_warnings():
        # Rounding up makes the last minibatch a little smaller; SB3 warns, since it could be tiny.
        warnings.filterwarnings("ignore", message="You have specified a mini-batch size")
        kind: type[PPO] = PPO
        options: dict[str, Any] = {}
        if agent.credit == "hindsight":
            kind, options = HindsightPPO, {"return_weight": agent.return_weight}
        model = kind(
            CoherentPolicy,
            venv,
            learning_rate=agent.learning_rate,
            n_steps=env.horizon,
            # PPO compares the instances of a step with each other, and refuses steps of one.
            batch_size=max(2, math.ceil(env.horizon * venv.num_envs / agent.minibatches)),
            n_epochs=agent.n_epochs,
            gamma=1.0,
            gae_lambda=agent.gae_lambda,
            target_kl=agent.target_kl,
            use_sde=True,
            rollout_buffer_class=StudentRolloutBuffer,
            rollout_buffer_kwargs={"group_size": env.batch_size, "twins": agent.baseline == "twin"},
            vf_coef=0.5 if agent.baseline == "critic" else 0.0,
            policy_kwargs={
                "group_size": env.batch_size,
                "features_extractor_class": WhitenedFeatures if agent.whiten else CenteredFeatures,
                "net_arch": {"pi": hidden, "vf": hidden},
                "activation_fn": nn.Tanh,
                "log_std_init": agent.log_std_init,
                "squash_output": agent.squash,
            },
            device="cpu",
            **options,
        )
    # Without this logger, SB3 creates a folder for logs in every call of `learn`.
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model
