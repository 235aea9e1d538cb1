"""The agent: SB3's PPO on the distillation environment, and what it takes to learn there.

make_sb3_env    the vector environment as an SB3 `VecEnv`
train_policy    from a recipe to a policy that needs neither SB3 nor Gymnasium
"""

from typing import Any

from rltemp.agents.buffer import StudentRolloutBuffer
from rltemp.agents.credit.calibration import CalibratedReward, Calibration, Influence, Uniform
from rltemp.agents.credit.hindsight import HindsightPPO
from rltemp.agents.credit.redistribution import Redistribution
from rltemp.agents.exploration import CoherentPolicy
from rltemp.agents.policy_io import export_policy, import_policy
from rltemp.agents.ppo import make_ppo
from rltemp.agents.train import train_policy
from rltemp.agents.trainer import Trainer
from rltemp.agents.vec_env import VectorEnvAdapter
from rltemp.distillation.task import Task
from rltemp.envs.from_recipe import resolve
from rltemp.envs.vector import DistillationVectorEnv
from rltemp.recipes.schema import Recipe

__all__ = [
    "CalibratedReward",
    "Calibration",
    "CoherentPolicy",
    "HindsightPPO",
    "Influence",
    "Redistribution",
    "StudentRolloutBuffer",
    "Trainer",
    "Uniform",
    "VectorEnvAdapter",
    "export_policy",
    "import_policy",
    "make_ppo",
    "make_sb3_env",
    "train_policy",
]


def make_sb3_env(
    recipe: str | Recipe = "digits-short", *, students: int | None = None, task: Task | None = None, **overrides: Any
) -> VectorEnvAdapter:
    """`rltemp/Distillation-v0` with one slot per instance, as an SB3 `VecEnv` with uniform reward.

    Args:
        recipe: name, file or value of a recipe.
        students: K; by default what the recipe's agent trains with. The environment has K * B slots.
        task: what the recipe builds, if it is at hand already: spares training the teacher again.
        **overrides: values of the recipe, by dotted name or nested.

    Raises:
        InputError: for an unknown recipe or key, or a wrong type.
    """
    whole, tasks = resolve(recipe, task, overrides)
    slots = (whole.agent.students if students is None else students) * whole.optimization.batch_size
    return VectorEnvAdapter(DistillationVectorEnv(slots, whole, task=tasks))
