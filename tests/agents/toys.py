"""Learners on the environment with a known optimum, how far their policies are from it, and a small recipe."""

import dataclasses

import numpy as np
import torch
from gymnasium.vector import AutoresetMode

from rltemp.agents.direct import DirectLearner
from rltemp.agents.train import make_learner
from rltemp.envs.toy import ToyVectorEnv
from rltemp.features import LogitFeatures
from rltemp.recipes.schema import Agent, PolicySpace

EVOLUTION = Agent(
    learner="evolution", credit="uniform", students=16, rollouts=200, hidden=(), log_std_init=-1.0, learning_rate=0.3
)
DESCENT = Agent(learner="descent", credit="hindsight", students=4, rollouts=60, hidden=(), learning_rate=0.1)
SPACE = PolicySpace(low=0.5, high=32.0)
FEATURES = LogitFeatures(("progress", "teacher_margin", "student_margin"))

SMALL = {
    "data": {"train": 32, "validation": 16},
    "teacher": {"members": 1, "epochs": 1, "network": {"options": {"hidden": [8]}}},
    "optimization": {"epochs": 2, "batch_size": 16},
}
"""Of a recipe: a run of four updates on 16 digits each."""


def make(agent: Agent, env: type[ToyVectorEnv] = ToyVectorEnv, **changes: object) -> DirectLearner:
    """The learner that `agent` names, with other settings, on students of four instances and five updates."""
    agent = dataclasses.replace(agent, **changes)  # type: ignore[arg-type]
    toy = env(agent.students, batch_size=4, horizon=5, autoreset_mode=AutoresetMode.DISABLED)
    learner = make_learner(toy, agent)
    assert isinstance(learner, DirectLearner)
    return learner


def regret(learner: DirectLearner) -> float:
    """Mean squared distance of the exported policy's action from the known optimum."""
    observations = np.random.default_rng(1).random((500, 3), dtype=np.float32)
    t = learner.export(FEATURES, SPACE, {}).temperature(torch.from_numpy(observations))
    actions = 2.0 * np.log(t.numpy() / 0.5) / np.log(64.0) - 1.0
    return float(np.mean((actions - ToyVectorEnv.best_actions(observations)) ** 2))
