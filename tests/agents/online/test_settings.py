"""Phases fit runs of any length, and wrong settings are refused by name."""

import dataclasses

import pytest

from rltemp.agents import AGENTS, Online, make_online
from rltemp.errors import InputError

FLAWS = {
    "reward": "before-action",
    "calibration": "discarded",
    "density": "temperature",
    "uncertainty": "second-smallest",
    "labels": "one",
}


def test_the_published_length_has_the_published_phases() -> None:
    roles = Online().roles(240)
    assert roles[:20] == ("waits",) * 20
    assert [epoch for epoch, role in enumerate(roles) if role == "learns"] == list(range(20, 240, 20))
    assert set(roles[20:]) == {"learns", "acts"}


def test_short_runs_have_the_same_phases() -> None:
    assert Online().roles(5) == ("waits", *("learns",) * 4)
    assert Online().roles(24) == ("waits", "waits", *("learns", "acts") * 11)
    assert Online(warmup=0.0, every=0.5).roles(4) == ("learns", "acts", "learns", "acts")


def test_a_run_without_an_epoch_for_the_agent_is_refused() -> None:
    with pytest.raises(InputError, match=r"optimization\.epochs must be > 1, the agent's warm-up, got 1"):
        Online().roles(1)


def test_the_released_form_has_every_flaw_and_the_other_none() -> None:
    assert list(AGENTS) == ["rlkd", "rlkd-as-released"]
    own, released = (dataclasses.asdict(settings) for settings in AGENTS.values())
    assert {name: released[name] for name in FLAWS} == FLAWS
    assert [name for name in FLAWS if own[name] == released[name]] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 2}, r"^every must lie in \[0, 1\], got 2$"),
        ({"reward": "more"}, "^reward must be one of improvement, before-action, shuffled, got 'more'$"),
        ({"low": 20.0}, "^high must be > low = 20, got 10$"),
        ({"temperature": 11}, r"^temperature must lie in \[1, 10\], got 11$"),
        ({"students": 4}, "^unknown key 'students', want one of warmup, every"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_online("rlkd", **options)


def test_an_unknown_agent_is_refused() -> None:
    with pytest.raises(InputError, match=r"^agent must be one of rlkd, rlkd-as-released, got 'sac'$"):
        make_online("sac")
