"""What is imported is installed: by the base, or by the extra that its error names; and nothing else is."""

import ast
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import rltemp
from rltemp.experiments import cli
from rltemp.experiments.detection.precision import require_torchmetrics
from rltemp.experiments.launch import joined
from rltemp.export import export_onnx
from rltemp.hub import load_policy_from_hub, push_policy
from rltemp.networks import make_network

tomllib = pytest.importorskip("tomllib")  # Python 3.11

REPOSITORY = Path(__file__).parents[1]
ROOMS = ("rltemp", "envs", "agents", "experiments")
BEHIND = {
    "detection": "experiments/detection/precision.py",
    "export": "rltemp/export.py",
    "hub": "rltemp/hub.py",
    "scale": "experiments/launch.py",
    "timm": "rltemp/networks/external.py",
}
CALLED_OTHERWISE = {"PIL": "pillow", "yaml": "pyyaml", "sklearn": "scikit-learn"}
# torch.utils.tensorboard imports it, which the agents' callbacks do.
THROUGH_TORCH = "tensorboard"


def packages(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=; ]", requirement)[0] for requirement in requirements}


def imported(path: Path) -> set[str]:
    """The packages that a file imports, by the names that install them."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module":
            found |= {str(part.value) for part in node.args if isinstance(part, ast.Constant)}
    tops = {name.partition(".")[0] for name in found} - {"rltemp", ""}
    names = {top for top in tops if top not in sys.stdlib_module_names}
    return {CALLED_OTHERWISE.get(name, name.replace("_", "-")) for name in names}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    content: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    project: dict[str, Any] = content["project"]
    return project


def test_the_base_is_what_is_imported_without_an_extra(project: dict[str, Any]) -> None:
    files = [file for room in ROOMS for file in (REPOSITORY / room).rglob("*.py")]
    extra = {REPOSITORY / file for file in BEHIND.values()}
    used = set().union(*(imported(file) for file in files if file not in extra))
    base = packages(project["dependencies"])
    assert used | {THROUGH_TORCH} == base
    assert any("torch.utils.tensorboard" in file.read_text(encoding="utf-8") for file in files)
    assert {CALLED_OTHERWISE.get(name, name.replace("_", "-")) for name in cli.BASE} == base


@pytest.mark.parametrize("extra", BEHIND)
def test_an_extra_is_what_the_code_behind_it_imports(extra: str, project: dict[str, Any]) -> None:
    needed = imported(REPOSITORY / BEHIND[extra]) - packages(project["dependencies"])
    assert packages(project["optional-dependencies"][extra]) == needed


def test_the_extra_of_language_models_is_what_their_examples_import(project: dict[str, Any]) -> None:
    examples = ("causal_lm", "huggingface_lm", "axolotl_plugin", "trl_gkd", "trl_distillation")
    used = set().union(*(imported(REPOSITORY / "examples" / f"{name}.py") for name in examples))
    # What these two bring, another example, and what cannot be installed beside them.
    brought = {"datasets", "tokenizers", "trl-gkd", "axolotl"}
    assert used - packages(project["dependencies"]) - brought == packages(project["optional-dependencies"]["lm"])


def test_no_extra_is_without_code_or_test(project: dict[str, Any]) -> None:
    assert project["optional-dependencies"].keys() == {*BEHIND, "docs", "lm"}
    plugins = {"mkdocs", "mkdocs-material", "mkdocstrings"}
    assert packages(project["optional-dependencies"]["docs"]) == plugins
    site = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    assert re.search(r"^theme:\n  name: material$", site, re.MULTILINE)
    assert re.search(r"^  - mkdocstrings:", site, re.MULTILINE)


def test_the_home_page_names_every_extra_and_what_it_brings(project: dict[str, Any]) -> None:
    page = (REPOSITORY / "docs" / "index.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `rltemp\[(\w+)\]` \| ([^|]+) \|", page, re.MULTILINE)
    brought = {extra: set(brings.split(", ")) for extra, brings in rows}
    assert brought == {extra: packages(needed) for extra, needed in project["optional-dependencies"].items()}


def _onnx(folder: Path) -> object:
    return export_onnx(rltemp.make_policy("static"), folder / "policy.onnx", 10)


def _push(folder: Path) -> object:
    return push_policy(rltemp.load_policy("rltemp/digits"), "mine/policy")


def _pull(folder: Path) -> object:
    return load_policy_from_hub("mine/policy")


def _precision(folder: Path) -> object:
    return require_torchmetrics()


def _scale(folder: Path) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORLD_SIZE", "2")
        with joined("cpu"):
            pass
    return None


def _timm(folder: Path) -> object:
    return make_network("timm:resnet18", 10, (3, 32, 32), torch.Generator())


@pytest.mark.parametrize(
    ("extra", "module", "call"),
    [
        ("detection", "pycocotools", _precision),
        ("detection", "torchmetrics.detection", _precision),
        ("export", "onnxruntime", _onnx),
        ("export", "onnxscript", _onnx),
        ("hub", "huggingface_hub", _push),
        ("hub", "huggingface_hub", _pull),
        ("scale", "accelerate", _scale),
        ("timm", "timm", _timm),
    ],
)
def test_without_it_one_line_says_what_installs_it(
    extra: str, module: str, call: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # its import fails
    with pytest.raises(rltemp.InputError, match=rf'pip install "rltemp\[{extra}\]"$') as refusal:
        call(tmp_path)
    assert "\n" not in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_a_command_without_the_base_says_what_installs_it(tmp_path: Path) -> None:
    code = "import sys; sys.modules['rich'] = None\nfrom rltemp.experiments.cli import main\n"
    code += "sys.exit(main(['train', 'digits-short']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    said = "rltemp: error: rich must be installed for this command, and is not: pip install rltemp\n"
    assert (done.returncode, done.stderr) == (2, said)
    assert list(tmp_path.iterdir()) == []


def test_a_module_of_nobodys_is_no_mistake_of_the_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'mine'", name="mine")

    monkeypatch.setattr(cli, "_run", broken)
    with pytest.raises(ModuleNotFoundError, match="mine"):
        cli.main(["presets"])
