import time

import numpy as np
import pytest
import torch

from rltemp.experiments.bench.phases import OTHER, PhaseTimer
from rltemp.experiments.bench.timing import MINIMUM_ROUNDS, Quartiles, interleave, one_thread, rounds


def _spin(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


class _Work:
    def outer(self) -> str:
        _spin(0.02)
        self.inner()
        _spin(0.02)
        return "done"

    def inner(self) -> None:
        _spin(0.06)

    def fail(self) -> None:
        raise RuntimeError


def test_quartiles_of_a_known_sample() -> None:
    assert Quartiles.of(np.array([5.0, 1.0, 4.0, 2.0, 3.0])) == Quartiles(3.0, 2.0, 4.0)


def test_calls_take_turns_and_their_times_are_those_they_take() -> None:
    order: list[str] = []

    def call(name: str, seconds: float) -> None:
        order.append(name)
        _spin(seconds)

    times = interleave({"a": lambda: call("a", 0.006), "b": lambda: call("b", 0.018)}, 0.0)
    assert [len(values) for values in times.values()] == [MINIMUM_ROUNDS] * 2
    assert order[-4:] == ["a", "b", "a", "b"]
    assert np.median(times["b"] / times["a"]) == pytest.approx(3.0, rel=0.2)


def test_a_fast_call_is_repeated_within_a_sample() -> None:
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1
        _spin(1e-4)

    times = interleave({"fast": count}, 0.0)["fast"]
    assert calls > 5 * MINIMUM_ROUNDS
    assert float(np.median(times)) == pytest.approx(1e-4, rel=0.5)


def test_rounds_go_on_until_the_time_is_up() -> None:
    start = time.monotonic()
    numbers = []
    for number in rounds(0.1):
        numbers.append(number)
        time.sleep(0.01)
    assert time.monotonic() - start >= 0.1
    assert numbers == list(range(max(MINIMUM_ROUNDS, len(numbers))))


def test_one_thread_is_for_the_block_alone() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_time_goes_to_the_innermost_phase_and_adds_up() -> None:
    work = _Work()
    start = time.process_time()
    with PhaseTimer() as timer:
        timer.watch(_Work, "inner", "inner")
        timer.watch(work, "outer", "outer")
        assert work.outer() == "done"
        _spin(0.02)
    whole = time.process_time() - start
    assert timer.seconds["inner"] == pytest.approx(0.06, rel=0.2)
    assert timer.seconds["outer"] == pytest.approx(0.04, rel=0.2)
    assert sum(timer.seconds.values()) == pytest.approx(whole, rel=0.05)
    assert set(timer.shares) == {"inner", "outer", OTHER}
    assert sum(timer.shares.values()) == pytest.approx(1)


def test_watched_functions_may_fail_and_are_put_back() -> None:
    functions = _Work.inner, _Work.fail
    work = _Work()
    with PhaseTimer() as timer:
        timer.watch(_Work, "inner", "inner")
        timer.watch(_Work, "fail", "fail")
        timer.watch(work, "outer", "outer")
        assert _Work.inner is not functions[0]
        with pytest.raises(RuntimeError):
            work.fail()
        with pytest.raises(RuntimeError):
            _Work.fail(work)
    assert (_Work.inner, _Work.fail) == functions
    assert "outer" not in vars(work)
    assert set(timer.seconds) == {"fail", OTHER}
