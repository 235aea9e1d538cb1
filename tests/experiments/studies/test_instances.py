"""The study of instances changes whose choice is whose, and nothing else."""

import pytest
import torch

from rltemp import LearnedPolicy, Temperatures, make_policy
from rltemp.experiments.studies.changed import Changed, averaged, dealt
from rltemp.experiments.studies.instances import main

CHOSEN = Temperatures(
    *(torch.tensor(values) for values in ([1.0, 2.0, 4.0], [2.0, 2.0, 16.0], [1.0, 10.0, 100.0], [0.5, 1.0, 4.0]))
)


def test_dealt_choices_stay_together_and_none_keeps_its_own() -> None:
    given = torch.stack(dealt(CHOSEN).tensors, dim=1).tolist()
    own = torch.stack(CHOSEN.tensors, dim=1).tolist()
    assert sorted(given) == sorted(own)
    assert all(a != b for a, b in zip(given, own, strict=True))


def test_averaged_choices_are_one_geometric_mean_for_all() -> None:
    for values, mean in zip(averaged(CHOSEN).tensors, (2.0, 4.0, 10.0, 2.0 ** (1 / 3)), strict=True):
        torch.testing.assert_close(values, torch.full((3,), mean))


def test_a_changed_policy_asks_for_what_its_policy_needs() -> None:
    general = make_policy("general")
    changed = Changed(general, averaged)
    assert isinstance(general, LearnedPolicy)
    assert (changed.needs, changed.weighs_labels, changed.over_batch) == (general.needs, True, True)
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 8, 5, generator=generator)
    targets = torch.arange(8) % 5
    chosen = general(student, teacher, targets, 0.5)
    torch.testing.assert_close(changed(student, teacher, targets, 0.5).scale, averaged(chosen).scale)


def test_cells_are_searched_and_the_policy_judged_as_it_is_and_changed(
    small_cell: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["instances", *small_cell, "--conditions", "clean,noise30"])
    main()
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()]
    assert [row[0].strip() for row in rows[2:]] == ["small, clean", "small, noise30", "mean of the cells"]
    assert all(len(row) == 4 for row in rows)
    clean = float(rows[2][1])
    assert 0.0 < clean < 100.0
    assert rows[2][2].strip() != rows[2][3].strip()
