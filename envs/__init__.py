"""Knowledge distillation as Gymnasium environments; importing this package registers them.

gymnasium.make("rltemp/Distillation-v0")                    one student, its minibatch as one action
gymnasium.make_vec("rltemp/Distillation-v0", num_envs=512)  16 students, one slot per instance
"""

import gymnasium

from rltemp.envs.contract import StudentVectorEnv, Transition
from rltemp.envs.single import DistillationEnv
from rltemp.envs.vector import DistillationVectorEnv

__all__ = ["DistillationEnv", "DistillationVectorEnv", "StudentVectorEnv", "Transition"]

# The version increases whenever a trained agent would score differently.
gymnasium.register(
    id="rltemp/Distillation-v0",
    entry_point="rltemp.envs.single:DistillationEnv",
    vector_entry_point="rltemp.envs.vector:DistillationVectorEnv",
)
