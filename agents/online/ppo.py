"""SB3's PPO for an agent that learns from every batch of one run."""

from __future__ import annotations

import math
from typing import Any

from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from rltemp.agents.online.policies import BatchNoisePolicy, InstanceNoisePolicy
from rltemp.agents.online.released import BatchOrderBuffer
from rltemp.agents.online.settings import Online
from rltemp.agents.online.squash import REACH
from rltemp.agents.ppo import CenteredFeatures

__all__ = ["make_online_ppo"]


def make_online_ppo(venv: VecEnv, online: Online) -> PPO:
    """PPO whose rollout is one batch: an instance's advantage is its reward minus its value, r_i - V(s_i).

    What follows a batch are other images, and a reward is caused by its own update, so that there is no discounted
    future (gamma 0). With `calibration` "discarded", advantages are those of `BatchOrderBuffer`. The model draws from
    the global generators: make it, and train it, inside a `RandomStream`.

    Args:
        venv: the environment of one student, with one slot per instance.
        online: the settings.
    """
    per_batch, released = online.noise == "batch", online.squash == "sigmoid"
    options: dict[str, Any] = {"group_size": venv.num_envs} if per_batch else {}
    hidden = list(online.hidden)
    model = PPO(
        BatchNoisePolicy if per_batch else InstanceNoisePolicy,
        venv,
        learning_rate=online.learning_rate,
        n_steps=1,
        batch_size=venv.num_envs,
        n_epochs=online.n_epochs,
        gamma=0.0,
        normalize_advantage=False,
        use_sde=per_batch,
        rollout_buffer_class=BatchOrderBuffer if online.calibration == "discarded" else RolloutBuffer,
        policy_kwargs={
            "online": online,
            "features_extractor_class": CenteredFeatures,
            "net_arch": {"pi": hidden, "vf": hidden},
            "activation_fn": nn.ReLU if released else nn.Tanh,
            # The public code's deviation is that of x, and its layers have PyTorch's initialization.
            "log_std_init": online.log_std_init - (math.log(REACH) if released else 0.0),
            "ortho_init": not released,
            **options,
        },
        device="cpu",
    )
    # Without this logger, SB3 creates a folder for logs in every call of `learn`.
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model
