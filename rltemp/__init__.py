"""Knowledge distillation whose temperature is set per instance and per step.

    policy = rltemp.load_policy(path)                # or rltemp.make_policy("static", temperature=4.0)
    temperatures = policy(student_logits, teacher_logits, targets, progress)
    loss = rltemp.kd_loss(student_logits, teacher_logits, temperatures).mean()

Importing this package needs torch, and no library of reinforcement learning. Environments are in `rltemp.envs`, agents
in `rltemp.agents`, the command line in `rltemp.experiments`.
"""

from importlib.metadata import version

from rltemp.errors import InputError
from rltemp.features import LogitFeatures
from rltemp.objectives import DKD, KD, DistillationLoss, LossParts, dkd_loss, kd_loss
from rltemp.policies.artifact import load_policy, save_policy
from rltemp.policies.learned import LearnedPolicy
from rltemp.policies.policy import TemperaturePolicy
from rltemp.policies.registry import list_policies, make_policy
from rltemp.presets import Preset, list_presets, make_preset
from rltemp.probe import ProbeAlignment
from rltemp.temperatures import Temperatures

__all__ = [
    "DKD",
    "KD",
    "DistillationLoss",
    "InputError",
    "LearnedPolicy",
    "LogitFeatures",
    "LossParts",
    "Preset",
    "ProbeAlignment",
    "TemperaturePolicy",
    "Temperatures",
    "__version__",
    "dkd_loss",
    "kd_loss",
    "list_policies",
    "list_presets",
    "load_policy",
    "make_policy",
    "make_preset",
    "save_policy",
]

__version__ = version("rltemp")
