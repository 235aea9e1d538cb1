"""The agent: SB3's PPO with coherent exploration and credit per instance, evolution, or descent on the credit.

make_sb3_env    the vector environment as an SB3 `VecEnv`
train_policy    from a recipe to a policy that needs neither SB3 nor Gymnasium
OnlineRun       one KD run whose agent learns in it (RLKD)
export_policy   the same from an agent of another library; `check_exportable` says before training whether it will go
"""

from rltemp.agents.actors import check_exportable
from rltemp.agents.buffer import StudentRolloutBuffer
from rltemp.agents.credit.calibration import CalibratedReward, Calibration, Influence, Uniform
from rltemp.agents.credit.hindsight import HindsightPPO
from rltemp.agents.credit.redistribution import Redistribution
from rltemp.agents.descent import Descent
from rltemp.agents.evolution import Evolution
from rltemp.agents.exploration import CoherentPolicy
from rltemp.agents.learner import Learner
from rltemp.agents.online import AGENTS, Online, OnlineRun, make_online
from rltemp.agents.policy_io import export_policy, import_policy
from rltemp.agents.ppo import make_ppo
from rltemp.agents.train import train_policy
from rltemp.agents.trainer import Trainer
from rltemp.agents.vec_env import VectorEnvAdapter, make_sb3_env

__all__ = [
    "AGENTS",
    "CalibratedReward",
    "Calibration",
    "CoherentPolicy",
    "Descent",
    "Evolution",
    "HindsightPPO",
    "Influence",
    "Learner",
    "Online",
    "OnlineRun",
    "Redistribution",
    "StudentRolloutBuffer",
    "Trainer",
    "Uniform",
    "VectorEnvAdapter",
    "check_exportable",
    "export_policy",
    "import_policy",
    "make_online",
    "make_ppo",
    "make_sb3_env",
    "train_policy",
]
