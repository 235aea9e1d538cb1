import dataclasses
import io
import math
from collections.abc import Callable
from functools import partial
from unittest import mock

import pytest
import torch
from rich.console import Console

from rltemp.distillation import Task
from rltemp.distillation.run import DistillationRun
from rltemp.distillation.teacher import Ensemble
from rltemp.errors import InputError
from rltemp.experiments.bench import agent_and_loss, bench, environment, imagenet, population, reuse, rules, tokens
from rltemp.experiments.bench.memory import peak_bytes
from rltemp.experiments.bench.section import AtLeast, AtMost, Peak, Row, Section, tables
from rltemp.experiments.bench.timing import Quartiles
from rltemp.recipes import Recipe

SMALL: dict[str, Callable[[float], Section]] = {
    "agent_and_loss": partial(agent_and_loss.measure, batch=4, classes=5),
    "rules": partial(rules.measure, batch=4, classes=5),
    "reuse": partial(reuse.measure, teacher="resnet8", student="resnet8", batch=2, probe=2, shape=(3, 8, 8)),
    "imagenet": partial(imagenet.measure, side=32, batch=2),
    "tokens": partial(tokens.measure, tokens=6, vocabulary=5, width=4),
}


@pytest.fixture(scope="module")
def two_students(tiny_recipe: Recipe) -> Recipe:
    agent = dataclasses.replace(tiny_recipe.agent, students=2, hidden=(4,), n_epochs=1, minibatches=2)
    return dataclasses.replace(tiny_recipe, agent=agent)


def _check(section: Section) -> None:
    assert section.rows
    for row in section.rows:
        assert math.isfinite(row.milliseconds)
        assert row.milliseconds > 0
        assert 0 < row.ratio.low <= row.ratio.median <= row.ratio.high < math.inf


@pytest.mark.parametrize("name", SMALL)
def test_ratios_are_finite_and_positive(name: str) -> None:
    _check(SMALL[name](0.0))


def test_the_environment_costs_more_than_its_bare_step_and_its_phases_are_the_whole(two_students: Recipe) -> None:
    section = environment.measure(0.0, two_students)
    _check(section)
    bare, plainest, *others = section.rows
    assert bare.ratio == Quartiles(1.0, 1.0, 1.0)
    assert others[-1].ratio.median > 1
    assert plainest.bar == AtMost(1.15)
    assert all(row.bar is None for row in others)
    assert len(others) == 3
    assert {phase.name for phase in section.phases} == {
        *("data", "teacher", "student", "reward", "credit", "alignment", "features"),
        *("policy", "PPO update", "host copies, other"),
    }
    assert all(phase.share > 0 for phase in section.phases)
    assert sum(phase.share for phase in section.phases) == pytest.approx(1)
    whole = sum(phase.milliseconds for phase in section.phases)
    assert all(phase.milliseconds == pytest.approx(phase.share * whole) for phase in section.phases)


def test_a_population_is_timed_with_and_without_its_teacher(two_students: Recipe) -> None:
    section = population.measure(0.0, two_students, paired=3)
    _check(section)
    assert [row.bar for row in section.rows] == [None, None, AtLeast(20.0)]
    assert "3 paired students" in section.rows[-1].name


def test_paired_students_read_the_logits_of_their_own_images(tiny_task: Task) -> None:
    answers, run = population._recorded(tiny_task, [5]), DistillationRun(tiny_task, [5])
    minibatch = run.observe().minibatch
    with mock.patch.object(Ensemble, "forward", side_effect=AssertionError("the teacher was asked again")):
        logits = answers.answer(0, minibatch)
    torch.testing.assert_close(logits, tiny_task.teacher.ask(minibatch.images), rtol=0, atol=0)


def test_the_memory_of_tokens_is_that_of_a_chunk() -> None:
    plain, *chunked = tokens.measure(0.0, tokens=256, vocabulary=1000, width=4, chunk=16).peaks
    assert plain.size > 4 * 4 * 256 * 1000
    assert plain.ratio == 1.0
    for peak in chunked:
        assert 4 * 16 * 1000 < peak.size < plain.size / 4
        assert peak.ratio == peak.size / plain.size


def test_a_tensor_counts_for_as_long_as_it_lives() -> None:
    def call() -> None:
        for size in (100, 300, 200):
            torch.zeros(size, dtype=torch.uint8)

    before = torch.zeros(1000)
    assert peak_bytes(call) == 300
    assert len(before) == 1000


def test_bars_judge_the_median() -> None:
    assert AtMost(1.3).met(1.3)
    assert not AtMost(1.3).met(1.31)
    assert AtLeast(30).met(30)
    assert not AtLeast(30).met(29.9)


def test_the_tables_say_what_was_measured() -> None:
    rows = (
        Row("quick", 0.5, Quartiles(0.912, 0.9, 1.1), AtMost(1.3)),
        Row("slow", 120.4, Quartiles(2.0, 1.9, 2.1), AtMost(1.3)),
        Row("plain", 1.0, Quartiles(1.0, 1.0, 1.0)),
    )
    text = io.StringIO()
    peaks = (Peak("all at once", 3 << 20, 1.0), Peak("in chunks", 1 << 20, 1 / 3, AtMost(0.25)))
    Console(file=text, width=100).print(*tables(Section("rules", "of plain", rows, peaks=peaks)), sep="\n")
    lines = text.getvalue().splitlines()
    quick, slow, plain = (next(line for line in lines if name in line) for name in ("quick", "slow", "plain │"))
    assert "0.912" in quick
    assert "met" in quick
    assert "120" in slow
    assert "missed" in slow
    whole, part = (next(line for line in lines if name in line) for name in ("all at once", "in chunks"))
    assert "3" in whole
    assert "0.333" in part
    assert "missed" in part
    assert "met" not in plain
    assert "missed" not in plain


def test_every_section_is_measured_and_printed_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, float, int]] = []

    def fake(name: str, seconds: float) -> Section:
        asked.append((name, seconds, torch.get_num_threads()))
        return Section(f"title of {name}", "ratio", (Row("row", 1.0, Quartiles(1.0, 1.0, 1.0)),))

    monkeypatch.setattr(bench, "SECTIONS", {name: partial(fake, name) for name in bench.SECTIONS})
    text = io.StringIO()
    assert len(bench.bench(Console(file=text, width=100))) == len(bench.SECTIONS)
    bench.bench(Console(file=text, width=100), only="rules", quick=True)
    assert [name for name, _, _ in asked] == [*bench.SECTIONS, "rules"]
    assert asked[-1][1] < asked[0][1]
    assert {threads for *_, threads in asked} == {1}
    assert all(f"title of {name}" in text.getvalue() for name in bench.SECTIONS)
    assert f"torch {torch.__version__.split('+')[0]}" in text.getvalue()


def test_an_unknown_section_is_refused_before_any_work() -> None:
    text = io.StringIO()
    with pytest.raises(InputError, match=r"rules.*got 'speed'"):
        bench.bench(Console(file=text), only="speed")
    assert not text.getvalue()


def test_tokens_are_measured_at_the_sizes_that_are_asked_for() -> None:
    text = io.StringIO()
    bench.bench(Console(file=text, width=100), only="tokens", quick=True, sizes=(3, 4, 2))
    assert "tokens: 3 of width 2, vocabulary 4, float32" in text.getvalue()
    with pytest.raises(InputError, match="--tokens must be three numbers >= 1, got 3 0 2"):
        bench.bench(Console(file=text), only="tokens", sizes=(3, 0, 2))
