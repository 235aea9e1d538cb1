import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

import rltemp
from rltemp.experiments.cli import main
from rltemp.experiments.report.policy_map import plot_policy, show_policy, temperature_map
from rltemp.features import ALIGNED_FEATURES


def policy_that_follows(feature: str, *, aligned: bool = False) -> rltemp.LearnedPolicy:
    """A policy whose action is 4 (feature - 1/2), up to the clip."""
    features = rltemp.LogitFeatures(ALIGNED_FEATURES) if aligned else rltemp.LogitFeatures()
    policy = rltemp.LearnedPolicy(features, (), card={"training": {"algorithm": "PPO", "note": "\x1b[31mred"}})
    with torch.no_grad():
        policy.get_parameter("net.0.weight")[0, features.names.index(feature)] = 0.5
    return policy


def test_the_map_is_over_teacher_confidence_and_student_error() -> None:
    axis = np.array([0.2, 0.5, 0.9])
    by_teacher = temperature_map(policy_that_follows("teacher_target_probability"), axis, axis, 0.0)
    actions = np.clip(2 * (axis - 0.5), -1, 1)
    expected = 0.5 * 64 ** ((actions + 1) / 2)
    np.testing.assert_allclose(by_teacher, np.tile(expected, (3, 1)), rtol=1e-5)
    by_student = temperature_map(policy_that_follows("student_target_probability"), axis, axis, 0.0)
    np.testing.assert_allclose(by_student[:, 0], 0.5 * 64 ** (np.clip(1 - 2 * axis, -1, 1) / 2 + 0.5), rtol=1e-5)
    late = temperature_map(policy_that_follows("progress"), axis, axis, 1.0)
    np.testing.assert_allclose(late, 32.0, rtol=1e-5)


@pytest.mark.parametrize("aligned", [False, True])
def test_the_command_prints_card_and_map_and_writes_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], aligned: bool
) -> None:
    rltemp.save_policy(policy_that_follows("progress", aligned=aligned), tmp_path / "policy")
    picture = tmp_path / "map.svg"
    assert main(["policy", "show", str(tmp_path / "policy"), "--out", str(picture)]) == 0
    printed = capsys.readouterr().out
    assert "Temperature policy for knowledge distillation" in printed
    assert "algorithm: PPO" in printed
    assert "\x1b[31mred" not in printed
    assert f"picture: {picture}" in printed
    for share, value in (("0%", "0.5"), ("50%", "4"), ("100%", "32")):
        assert f"{share} of the run" in printed
        assert len(re.findall(rf"(?<![\d.]){re.escape(value)}(?![\d.])", printed)) >= 36
    assert ("a probe that says nothing" in printed) == aligned
    assert picture.read_text(encoding="utf-8").lstrip().startswith("<?xml")


def test_pictures_are_svg_or_png_named_after_the_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rltemp.save_policy(policy_that_follows("progress"), tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    console = Console(file=io.StringIO(), width=120)
    assert show_policy("mine", console=console) == Path("mine.svg")
    assert show_policy("mine", "map.png", console).read_bytes().startswith(b"\x89PNG")
    with pytest.raises(rltemp.InputError, match=r"--out must end in .svg or .png, got map.pdf"):
        show_policy("mine", "map.pdf", console)


def test_the_picture_has_a_panel_per_stage() -> None:
    figure = plot_policy(policy_that_follows("progress"))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[:3] == ["0% of the run", "50% of the run", "100% of the run"]


def test_what_is_no_policy_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "show", str(tmp_path)]) == 2
    assert "must be a policy's folder" in capsys.readouterr().err
