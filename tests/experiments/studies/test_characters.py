"""The study of characters on a text of its own: what a model sees, what is scored, and that a run goes on."""

import math
import random
from pathlib import Path

import pytest
import torch

from rltemp import InputError
from rltemp.experiments.studies import characters
from rltemp.experiments.studies.characters import CONTEXT, Row, Texts, arms, run, scores, table
from rltemp.networks import make_network
from rltemp.seeding import make_generator


def text(size: int = 3000) -> str:
    return "".join(random.Random(0).choices("abcde ", k=size))


def test_parts_of_a_text_share_no_character() -> None:
    texts = Texts.of(text())
    assert (len(texts.training), len(texts.validation), len(texts.test), texts.vocabulary) == (2700, 150, 150, 6)
    whole = torch.cat((texts.training, texts.validation, texts.test)).tolist()
    assert "".join(sorted(set(text()))[i] for i in whole) == text()
    with pytest.raises(InputError, match="--text must have at least"):
        Texts.of("short")


def test_a_model_that_knows_nothing_needs_the_logarithm_of_the_vocabulary() -> None:
    texts, model = Texts.of(text()), make_network("gpt", 6, (CONTEXT,), make_generator(0), width=8, layers=1)
    torch.nn.init.zeros_(model.classifier.weight)
    torch.nn.init.zeros_(model.classifier.bias)
    bits, agreement = scores(model, model, texts.test)
    assert bits == pytest.approx(math.log2(6))
    assert agreement == 1.0


def test_a_run_goes_on_and_finished_seeds_are_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(characters, "TEACHER", {"width": 8, "layers": 1})
    monkeypatch.setattr(characters, "STUDENT", {"width": 4, "layers": 1})
    monkeypatch.setattr(characters, "SENTENCES", 2)
    some = ["labels alone", "forward, T = 1", "reverse, adakd", "AKL, T = 1"]
    monkeypatch.setattr(characters, "arms", lambda: {name: arms()[name] for name in some})
    first = run(text(), tmp_path, 1, 2, 3)
    assert [row.arm for row in first] == some
    files = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    both = run(text(), tmp_path, 2, 2, 3)
    assert both[: len(first)] == first
    assert all((tmp_path / name).stat().st_mtime_ns == at for name, at in files.items())
    assert {row.seed for row in both} == {0, 1}
    assert len({row.test_bits for row in both}) == len(both)
    assert len(table(both).splitlines()) == 2 + len(some)


def test_differences_are_paired_and_against_what_validation_prefers() -> None:
    rows = [Row("forward, T = 1", seed, 2.0, 2.5 + seed, 0.5) for seed in range(3)]
    rows += [Row("forward, T = 2", seed, 1.9, 2.4 + seed, 0.5) for seed in range(3)]
    rows += [Row("forward, adakd", seed, 1.0, 2.3 + seed + 0.01 * (seed - 1), 0.25) for seed in range(3)]
    lines = table(rows).splitlines()
    assert "beyond forward, T = 2" in lines[0]
    assert lines[2].startswith("| forward, adakd | 3.300 | -0.100 (-0.125 to -0.075) | 25.0 % |")
    assert lines[3].startswith("| forward, T = 2 | 3.400 |  |")
