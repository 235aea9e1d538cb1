"""Who reuses a policy needs torch and nothing of reinforcement learning, and unpickles nothing."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import rltemp
from rltemp.features import ALIGNED_FEATURES

REPOSITORY = Path(__file__).parents[2]

PROLOGUE = """
    import sys

    BLOCKED = {
        "gymnasium", "stable_baselines3", "sklearn", "torchvision", "scipy", "pandas", "jsonargparse", "yaml",
        "matplotlib", "tensorboard", "rich",
    }

    class Block:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in BLOCKED:
                raise ModuleNotFoundError(f"{name} is blocked", name=name)

    sys.meta_path.insert(0, Block())
    import torch
    import rltemp
"""

# Two of these would be enough; whoever adds another road to an object finds it closed as well.
NO_PICKLE = """
    import pickle, _pickle, numpy, torch

    class Unpickled(BaseException):
        pass

    def refuse(*args, **kwargs):
        raise Unpickled

    class Refuse:
        __init__ = refuse

    for module in (pickle, _pickle):
        module.load = module.loads = refuse
        module.Unpickler = Refuse
    pickle._Unpickler = pickle._load = pickle._loads = Refuse
    torch.load = torch.jit.load = torch.serialization.load = numpy.load = refuse
    try:
        import cloudpickle
        cloudpickle.load = cloudpickle.loads = refuse
    except ImportError:
        pass
    try:
        pickle.loads(b"")
    except Unpickled:
        pass
    else:
        raise AssertionError("the trap does not work")
"""


def _run(*code: str, arguments: tuple[Path, ...]) -> None:
    script = "\n".join(textwrap.dedent(part) for part in code)
    command = [sys.executable, "-W", "ignore", "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_public_is_there() -> None:
    assert {
        "DistillationLoss",
        "InputError",
        "LearnedPolicy",
        "LogitFeatures",
        "ProbeAlignment",
        "TemperaturePolicy",
        "Temperatures",
        "dkd_loss",
        "kd_loss",
        "list_policies",
        "list_presets",
        "load_policy",
        "make_policy",
        "make_preset",
        "save_policy",
    } <= set(rltemp.__all__)
    for name in rltemp.__all__:
        value = getattr(rltemp, name)
        assert name == "__version__" or value.__doc__, name


def test_the_version_is_the_projects() -> None:
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert rltemp.__version__ == project["version"]


FIVE_LINES = """
    student_logits = torch.randn(6, 10, requires_grad=True)
    teacher_logits, targets = torch.randn(6, 10), torch.arange(6)

    policy = rltemp.load_policy(sys.argv[1])
    temperatures = policy(student_logits, teacher_logits, targets, 0.5)
    loss = rltemp.kd_loss(student_logits, teacher_logits, temperatures).mean()
    loss.backward()
    assert student_logits.grad.abs().sum() > 0
"""

ALIGNED = """
    student = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 10))
    probe = rltemp.ProbeAlignment(student, student[2], torch.randn(20, 4), torch.arange(20) % 10)
    student_logits = student(torch.randn(6, 4))

    policy = rltemp.load_policy(sys.argv[2])
    temperatures = policy(student_logits, teacher_logits, targets, 0.5, probe(student_logits, teacher_logits))
    rltemp.kd_loss(student_logits, teacher_logits, temperatures).mean().backward()
"""

NOTHING_OF_RL = """
    loaded = {name.partition(".")[0] for name in sys.modules} & BLOCKED
    assert not loaded, loaded
"""


RULES = """
    for name in rltemp.list_policies():
        policy = rltemp.make_policy(name)
        alignment = torch.randn(6, 7) if "alignment" in policy.needs else None
        temperatures = policy(student_logits, teacher_logits, targets, 0.5, alignment)
        assert len(rltemp.kd_loss(student_logits, teacher_logits, temperatures)) == 6
"""


def test_reusing_a_policy_needs_torch_alone_and_unpickles_nothing(tmp_path: Path) -> None:
    plain = rltemp.save_policy(rltemp.LearnedPolicy(rltemp.LogitFeatures()), tmp_path / "plain")
    aligned = rltemp.save_policy(rltemp.LearnedPolicy(rltemp.LogitFeatures(ALIGNED_FEATURES)), tmp_path / "aligned")
    _run(PROLOGUE, NO_PICKLE, FIVE_LINES, ALIGNED, RULES, NOTHING_OF_RL, arguments=(plain, aligned))
