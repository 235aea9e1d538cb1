"""Work that is kept: the same whether it is done at once or in parts, and paired over policies."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

import rltemp
from rltemp.errors import InputError
from rltemp.experiments.arena.store import ResultStore
from rltemp.experiments.detection import units
from rltemp.experiments.detection.tasks import DetectionData, Setting, load_data
from rltemp.experiments.detection.training import distill, train_teacher
from rltemp.experiments.detection.units import DetectionRun, check_specs
from rltemp.experiments.evaluation.specs import parse_policies
from rltemp.objectives.method import Method
from rltemp.progress import NoProgress

pytest.importorskip("torchmetrics")
pytest.importorskip("pycocotools")

SPECS = parse_policies("no-kd,static(temperature=2),ctkd")


def make_run(data: DetectionData, setting: Setting, folder: Path) -> DetectionRun:
    return DetectionRun("digits", data, setting, ResultStore(folder))


def test_what_is_done_is_not_repeated(
    tiny_data: DetectionData, tiny_setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_run(tiny_data, tiny_setting, tmp_path / "whole").results(SPECS, range(2), NoProgress())

    first = make_run(tiny_data, tiny_setting, tmp_path / "parts")
    first.results(SPECS[:2], range(1), NoProgress())
    assert [first.done(spec, seed) for spec in SPECS for seed in range(2)] == [True, False, True, False, False, False]
    assert np.isnan(first.seconds(SPECS[2:], range(2)))
    assert first.seconds(SPECS, range(2)) > 0

    def trained_again(*arguments: object) -> None:
        raise AssertionError("the teacher is there")

    monkeypatch.setattr(units, "train_teacher", trained_again)
    parts = make_run(tiny_data, tiny_setting, tmp_path / "parts").results(SPECS, range(2), NoProgress())
    for one, other in zip(whole, parts, strict=True):
        assert one.label == other.label
        assert np.array_equal(one.ap, other.ap)
        assert np.array_equal(one.validation_ap, other.validation_ap)
    other_setting = dataclasses.replace(tiny_setting, weight=2.0)
    assert not make_run(tiny_data, other_setting, tmp_path / "parts").done(SPECS[0], 0)


def test_students_of_one_seed_are_paired(tiny_data: DetectionData, tiny_setting: Setting) -> None:
    teacher = train_teacher(tiny_data.training, tiny_setting)
    state = torch.get_rng_state()

    def weights(seed: int, weight: float) -> torch.Tensor:
        policy = rltemp.make_policy("static", temperature=1.0)
        student = distill(tiny_data.training, teacher, policy, Method(kd_weight=weight), tiny_setting, seed)
        return torch.nn.utils.parameters_to_vector(student.parameters()).detach()

    plain, again, faint, other = weights(0, 0.0), weights(0, 0.0), weights(0, 1e-12), weights(1, 0.0)
    assert torch.equal(plain, again)
    # With next to no distillation the student is that of the labels alone: the same start, batches and proposals.
    torch.testing.assert_close(plain, faint, rtol=0, atol=1e-6)
    assert (plain - other).abs().max() > 1e-2
    assert (plain - weights(0, 1.0)).abs().max() > 1e-4
    assert torch.equal(state, torch.get_rng_state())


def test_a_student_that_diverges_is_told_of(tiny_data: DetectionData, tiny_setting: Setting, tmp_path: Path) -> None:
    specs = parse_policies("static(temperature=2),static(temperature=2, scale=1e30, kd_weight=1e20)")
    fine, broken = make_run(tiny_data, tiny_setting, tmp_path).results(specs, range(2), NoProgress())
    assert (fine.diverged, broken.diverged) == (0, 2)
    assert np.isnan(broken.ap).all()


@pytest.mark.parametrize(
    ("policies", "message"),
    [
        ("preset(dkd)", r"^policies must be rules or trained policies for detectors, got preset\(dkd\)$"),
        ("influence", r"^policies must need no probe for detectors"),
        ("static(temperature=2, ce_weight=3)", r"^policies must leave torchvision's own losses as they are"),
    ],
)
def test_what_has_no_meaning_for_detectors_is_refused(policies: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_specs(parse_policies(policies))


def test_a_policy_that_brings_the_labels_at_their_own_weight_is_compared() -> None:
    (spec,) = parse_policies("rltemp/general-kd")
    assert spec.weights == {"ce_weight": 1.0, "kd_weight": 0.9}
    check_specs([spec])
    assert spec.loss(Method(kd_weight=5.0)).kd_weight == 0.9


def test_cells_need_a_path_and_digits_none() -> None:
    with pytest.raises(
        InputError, match=r"^--data must be BCCD's folder or a zip archive of it for cells, got nothing$"
    ):
        load_data("cells", None)
    with pytest.raises(InputError, match=r"^--data must be left out for digits"):
        load_data("digits", "somewhere")
