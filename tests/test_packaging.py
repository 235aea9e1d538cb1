"""The folders at the top level are one package, and nothing else is installed."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

tomllib = pytest.importorskip("tomllib")  # Python 3.11

REPOSITORY = Path(__file__).parents[1]
ROOMS = {"rltemp": "rltemp", "rltemp.envs": "envs", "rltemp.agents": "agents", "rltemp.experiments": "experiments"}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    content: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    return content


def _packages() -> set[str]:
    """Names of all folders of the rooms that hold Python files."""
    found = set()
    for name, folder in ROOMS.items():
        for file in (REPOSITORY / folder).rglob("*.py"):
            inner = file.parent.relative_to(REPOSITORY / folder).parts
            found.add(".".join((name, *inner)))
    return found


def test_the_package_list_is_the_folders(project: dict[str, Any]) -> None:
    setuptools = project["tool"]["setuptools"]
    assert set(setuptools["packages"]) == _packages()
    assert setuptools["package-dir"] == ROOMS
    for package in _packages():
        room = max((name for name in ROOMS if f"{package}.".startswith(f"{name}.")), key=len)
        folder = REPOSITORY / ROOMS[room] / package.removeprefix(room).removeprefix(".").replace(".", "/")
        assert (folder / "__init__.py").is_file(), f"{folder} is no package"


def test_type_checkers_find_the_rooms_by_relative_links() -> None:
    for room in ("envs", "agents", "experiments"):
        link = REPOSITORY / "typings" / "rltemp" / room
        assert os.readlink(link) == f"../../{room}"
        assert link.resolve() == REPOSITORY / room


def test_coverage_looks_at_every_room(project: dict[str, Any]) -> None:
    assert set(project["tool"]["coverage"]["run"]["source_pkgs"]) == set(ROOMS)


def test_the_site_needs_the_same_for_users_and_developers(project: dict[str, Any]) -> None:
    needed = project["project"]["optional-dependencies"]["docs"]
    assert project["dependency-groups"]["docs"] == needed
    assert {"include-group": "docs"} in project["dependency-groups"]["dev"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What users install, built from the working tree."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE", *ROOMS.values()):
        _copy(REPOSITORY / name, folder / "source" / name)
    build = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    command = [sys.executable, "-c", build, str(folder)]
    done = subprocess.run(command, cwd=folder / "source", capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_rltemp_alone_and_all_of_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    top = {name.partition("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"rltemp"}

    expected = {"rltemp/py.typed"}
    for name, folder in ROOMS.items():
        for pattern in ("*.py", "*.yaml", "*.safetensors", "*.json"):
            for file in (REPOSITORY / folder).rglob(pattern):
                expected.add(f"{name.replace('.', '/')}/{file.relative_to(REPOSITORY / folder).as_posix()}")
    assert expected <= set(names)


_ALONE = """
import importlib.abc, sys

# torch's own requirements belong to torch.
THERE = {"rltemp", "torch", "torchgen", "functorch", "numpy", "safetensors"}
THERE |= {"typing_extensions", "sympy", "mpmath", "networkx", "jinja2", "markupsafe", "fsspec", "filelock", "triton"}
THERE |= {"nvidia"}


class Bare(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in THERE or top in sys.stdlib_module_names:
            return None
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Bare())
sys.path.insert(0, sys.argv[1])
import torch, rltemp

assert rltemp.__file__.startswith(sys.argv[1]), rltemp.__file__
student = torch.nn.Sequential(torch.nn.Linear(64, 16), torch.nn.Tanh(), torch.nn.Linear(16, 10))
images, targets = torch.rand(8, 64), torch.arange(8)
probe = rltemp.ProbeAlignment(student, student[2], torch.rand(20, 64), torch.arange(20) % 10, scope="network")
logits, teacher = student(images), torch.randn(8, 10)
for name in ("rltemp/digits", "rltemp/digits-logits", "rltemp/cifar100-schedule"):
    policy = rltemp.load_policy(name)
    given = [probe(logits, teacher)] if "alignment" in policy.needs else []
    temperatures = policy(logits, teacher, targets, 0.5, *given)
    rltemp.kd_loss(logits, teacher, temperatures).mean().backward(retain_graph=True)
for rule in ("anneal", "dtkd", "spread"):
    loss = rltemp.DistillationLoss(rltemp.make_policy(rule))
    loss(logits, teacher, targets, progress=0.5).backward(retain_graph=True)
rltemp.make_preset("ctkd").loss()
rltemp.save_policy(rltemp.load_policy("rltemp/digits-logits"), sys.argv[2])
rltemp.load_policy(sys.argv[2])
try:
    import rltemp.envs
except ImportError as error:
    assert "gymnasium" in str(error), error
else:
    raise AssertionError("Gymnasium is not there")
print("reused")
"""


def test_reuse_needs_torch_numpy_and_safetensors_alone(wheel: Path, tmp_path: Path) -> None:
    """As on a cluster after `pip install --no-deps rltemp`: nothing else can be imported."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    command = [sys.executable, "-c", _ALONE, str(tmp_path / "installed"), str(tmp_path / "policy")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout == "reused\n", done.stderr


def _copy(path: Path, target: Path) -> None:
    if path.is_dir():
        for inner in path.iterdir():
            if inner.name != "__pycache__":
                _copy(inner, target / inner.name)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())


def test_the_repository_names_no_registry_host_and_no_absolute_home() -> None:
    """Every clone resolves packages with its own settings."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    # In brackets, so that this line does not find itself.
    hosts = re.compile(r"pyp[i]\.org|python[h]osted|index[-]url|anaconda[.]org|/hom[e]/\w|/roo[t]/")
    for name in filter(None, listed.stdout.split("\0")):
        path = REPOSITORY / name
        if path.is_symlink() or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found = hosts.search(text)
        assert found is None, f"{name}: {found and found.group()}"
