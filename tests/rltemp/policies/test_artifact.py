"""What is saved is loaded, whole or not at all, and says how it is used."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import rltemp
from rltemp import InputError, LearnedPolicy, LogitFeatures, load_policy, save_policy
from rltemp.features import ALIGNED_FEATURES
from rltemp.policies import artifact
from tests.rltemp.policies.saved import CARD, DESCRIPTION, WEIGHTS, describe, policy_of, same_weights


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    card = {"trained_on": {"recipe": "digits", "seeds": [1, 2]}, "score": 0.75, "note": "größer"}
    saved = policy_of(card=card)
    loaded = load_policy(save_policy(saved, tmp_path / "some" / "where"))
    assert same_weights(saved, loaded)
    assert loaded.features.names == ALIGNED_FEATURES
    assert (loaded.hidden, loaded.low, loaded.high, loaded.card) == ((6, 4), 1.0, 16.0, card)
    assert loaded.scale is None
    assert loaded.needs == {"targets", "alignment"}
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_a_scale_is_kept_and_a_description_from_before_there_was_one_means_the_square(tmp_path: Path) -> None:
    folder = save_policy(policy_of(scale=16.0), tmp_path / "policy")
    assert load_policy(folder).scale == 16.0
    assert "scaled by 16." in (folder / CARD).read_text(encoding="utf-8")
    description = json.loads((folder / DESCRIPTION).read_text())
    del description["scale"]
    (folder / DESCRIPTION).write_text(json.dumps(description))
    assert load_policy(folder).scale is None


def test_an_activation_and_a_squashed_action_are_kept_and_others_write_what_they_always_wrote(tmp_path: Path) -> None:
    saved = policy_of(activation="relu", squash=True)
    loaded = load_policy(save_policy(saved, tmp_path / "policy"))
    assert (loaded.activation, loaded.squash) == ("relu", True)
    features = torch.rand(50, len(ALIGNED_FEATURES), generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded.temperature(features), saved.temperature(features))
    assert not torch.equal(loaded.temperature(features), policy_of().temperature(features))
    usual = json.loads((save_policy(policy_of(), tmp_path / "usual") / DESCRIPTION).read_text())
    keys = ["card", "features", "features_version", "format_version", "hidden", "scale", "temperature_range"]
    assert list(usual) == keys


def test_a_range_of_scales_is_kept_and_readers_from_before_refuse_it(tmp_path: Path) -> None:
    saved = policy_of(scale_range=(1.0, 64.0))
    loaded = load_policy(save_policy(saved, tmp_path / "policy"))
    assert same_weights(saved, loaded)
    assert loaded.scale_range == (1.0, 64.0)
    description = json.loads((tmp_path / "policy" / DESCRIPTION).read_text())
    assert description["scale_range"] == [1.0, 64.0]
    assert "scaled by 1 to 64." in (tmp_path / "policy" / CARD).read_text(encoding="utf-8")
    for wrong in ([1.0], [0.0, 2.0], [2.0, 1.0], "all", None):
        describe(tmp_path / "policy", scale_range=wrong)
        with pytest.raises(InputError, match="scale_range must be two numbers"):
            load_policy(tmp_path / "policy")


def test_a_range_of_the_labels_weights_is_kept_and_stands_in_its_use(tmp_path: Path) -> None:
    weights = {"kd_weight": 0.9, "ce_weight": 1.0}
    saved = policy_of(scale_range=(1.0, 64.0), label_range=(0.25, 8.0), weights=weights)
    loaded = load_policy(save_policy(saved, tmp_path / "policy"))
    assert same_weights(saved, loaded)
    assert (loaded.label_range, loaded.weighs_labels, policy_of().weighs_labels) == ((0.25, 8.0), True, False)
    card = (tmp_path / "policy" / CARD).read_text(encoding="utf-8")
    assert "scaled by 1 to 64, that of the labels by 0.25 to 8." in card
    student, teacher, targets = torch.randn(4, 5), torch.randn(4, 5), torch.arange(4)
    names = {"rltemp": rltemp, "torch": torch, "path": tmp_path / "policy", "progress": 0.5}
    names |= {"student_logits": student, "teacher_logits": teacher, "targets": targets, "alignment": torch.randn(4, 7)}
    exec(card.partition("```python\n")[2].partition("```")[0], names)
    criterion = rltemp.DistillationLoss(loaded, ce_weight=1.0, kd_weight=0.9)
    wanted = criterion(student, teacher, targets, 0.5, names["alignment"])
    torch.testing.assert_close(names["loss"], wanted)
    describe(tmp_path / "policy", label_range=[2.0, 1.0])
    with pytest.raises(InputError, match="label_range must be two numbers"):
        load_policy(tmp_path / "policy")


def test_the_weights_of_its_loss_are_kept_and_stand_in_its_use(tmp_path: Path) -> None:
    weights = {"kd_weight": 0.9, "ce_weight": 1.0}
    folder = save_policy(policy_of(scale_range=(1.0, 64.0), weights=weights), tmp_path / "policy")
    assert load_policy(folder).weights == weights
    card = (folder / CARD).read_text(encoding="utf-8")
    assert "loss = 1 * labels + 0.9 * rltemp.kd_loss(student_logits, teacher_logits, temperatures).mean()" in card
    assert load_policy(save_policy(policy_of(), tmp_path / "other")).weights == {}
    for wrong in ({}, {"kd_weight": 1.0}, {"kd_weight": -1.0, "ce_weight": 1.0}, {"kd_weight": "1", "ce_weight": 1}, 3):
        describe(folder, weights=wrong)
        with pytest.raises(InputError, match="weights must be"):
            load_policy(folder)


def test_the_folder_holds_three_plain_files_and_the_same_policy_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = save_policy(policy_of(), tmp_path / "a"), save_policy(policy_of(), tmp_path / "b")
    assert {path.name for path in first.iterdir()} == {WEIGHTS, DESCRIPTION, CARD}
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()
        assert not path.is_symlink()


def test_its_files_and_their_folder_are_as_open_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        folder = save_policy(policy_of(), tmp_path / "policy")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o640}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750


def test_the_card_says_how_it_is_used(folder: Path) -> None:
    text = (folder / CARD).read_text(encoding="utf-8")
    assert "rltemp.load_policy" in text
    assert "alignment=alignment" in text
    assert all(f"`{name}`" in text for name in ALIGNED_FEATURES)


def test_the_card_of_a_schedule_says_that_it_is_one(tmp_path: Path) -> None:
    folder = save_policy(LearnedPolicy(LogitFeatures(["progress"])), tmp_path / "policy")
    assert "from how far the run is, the same for all: a schedule." in (folder / CARD).read_text(encoding="utf-8")


def test_a_policy_is_replaced_only_when_asked(folder: Path) -> None:
    with pytest.raises(InputError, match="path must be a folder that does not exist yet"):
        save_policy(policy_of(1), folder)
    save_policy(policy_of(1), folder, overwrite=True)
    assert same_weights(load_policy(folder), policy_of(1))
    assert [path.name for path in folder.parent.iterdir()] == ["policy"]


def test_what_is_no_policy_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.txt").write_text("ten years")
    with pytest.raises(InputError, match="path must be a policy's folder, or none"):
        save_policy(policy_of(), tmp_path / "work", overwrite=True)
    assert (tmp_path / "work" / "thesis.txt").read_text() == "ten years"


def test_a_link_to_a_policy_is_followed(folder: Path) -> None:
    link = folder.parent / "latest"
    link.symlink_to(folder)
    save_policy(policy_of(1), link, overwrite=True)
    assert link.is_symlink()
    assert same_weights(load_policy(folder), policy_of(1))


def test_a_place_that_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="path must lie in a folder that can be written to"):
        save_policy(policy_of(), tmp_path / "file" / "policy")


def _nan(policy: LearnedPolicy) -> None:
    next(policy.parameters())[0, 0] = torch.nan


def _unspeakable(policy: LearnedPolicy) -> None:
    policy.card["score"] = torch.tensor(1.0)


def _infinite(policy: LearnedPolicy) -> None:
    policy.card["score"] = float("inf")


def _long(policy: LearnedPolicy) -> None:
    policy.card["log"] = "x" * (1 << 21)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_nan, "weights must be finite"),
        (_unspeakable, "card must be plain JSON values"),
        (_infinite, "card must be plain JSON values"),
        (_long, "must be at most 1048576 bytes"),
    ],
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_what_could_not_be_read_back_is_not_written(
    tmp_path: Path, spoil: Callable[[LearnedPolicy], None], message: str, overwrite: bool
) -> None:
    if overwrite:
        save_policy(policy_of(), tmp_path / "policy")
    spoiled = policy_of(1)
    spoil(spoiled)
    with pytest.raises(InputError, match=message):
        save_policy(spoiled, tmp_path / "policy", overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == (["policy"] if overwrite else [])
    assert not overwrite or same_weights(load_policy(tmp_path / "policy"), policy_of())


STAGES = [
    (artifact, "render_card", 1),
    (safetensors.torch, "save", 1),
    (artifact, "atomic_write", 2),
    (artifact, "atomic_write", 3),
    (Path, "rename", 1),
]


@pytest.mark.parametrize(
    ("owner", "name", "call", "overwrite"),
    [(*stage, overwrite) for stage in STAGES for overwrite in (False, True)] + [(Path, "rename", 2, True)],
)
def test_an_interrupted_save_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, call: int, overwrite: bool
) -> None:
    if overwrite:
        save_policy(policy_of(), tmp_path / "policy")
    calls: list[int] = []
    real = getattr(owner, name)

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_policy(policy_of(1), tmp_path / "policy", overwrite=overwrite)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == (["policy"] if overwrite else [])
    assert not overwrite or same_weights(load_policy(tmp_path / "policy"), policy_of())
