"""A recipe from a stranger is read in bounded time, and means what it looks like, or is refused."""

import contextlib
import math
import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rltemp.errors import InputError
from rltemp.experiments.cli import main
from rltemp.recipes import Recipe, load_recipe
from rltemp.recipes.plain_yaml import load_plain

_BOMB = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 40))

HOSTILE = {
    "aliases that multiply": _BOMB,
    "an alias": "data: {train: &a 3}\nteacher: {train: *a}",
    "a value in itself": "student: {options: &a {x: *a}}",
    "a tag": "data: {flip: !!bool x}",
    "a tag of Python": "data: !!python/object/apply:os.mkdir [fuse]",
    "a custom tag": "data: !x {}",
    "a sexagesimal number": "optimization: {epochs: 1:30}",
    "an octal number": "optimization: {epochs: 010}",
    "an infinite number": "optimization: {lr: 1.0e+999}",
    "an infinite number without a point": "optimization: {lr: 1e999}",
    "infinity": "optimization: {lr: .inf}",
    "an integer of many digits": f"data: {{train: {'9' * 5000}}}",
    "a hexadecimal of many digits": f"data: {{train: 0x{'f' * 5000}}}",
    "a key that stands twice": "data: {train: 100, train: 200}",
    "a section that stands twice": "data: {train: 100}\ndata: {validation: 200}",
    "a merge": "data: {<<: {train: 100}}",
    "a key that is no text": "data: {1: 2}",
    "a key that is a list": "? [a]\n: 1",
    "a date": "data: {train: 2020-01-01}",
    "a date as an option": "student: {options: {hidden: 2020-01-01}}\ndata: 3",
    "two documents": "--- {}\n--- {}",
    "brackets": "[" * 100_000,
    "braces": "{a: " * 60_000,
    "dashes": "- " * 100_000,
    "too many values": "data: [" + "0, " * 20_000 + "]",
    "too many variations": "agent: {variations: [" + "{}, " * 3000 + "]}",
    "many bytes": "#" * (1 << 19),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("odd.yaml").write_text(text)
    start = time.perf_counter()
    with pytest.raises(InputError, match=r"^recipe (file )?odd\.yaml") as refusal:
        load_recipe("odd.yaml")
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 300
    assert os.listdir() == ["odd.yaml"]
    assert time.perf_counter() - start < 10


def test_only_plain_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    (tmp_path / "link.yaml").symlink_to(tmp_path / "real.yaml")
    (tmp_path / "real.yaml").write_text("agent: {seed: 5}")
    for name in ("pipe.yaml", "zero.yaml"):
        with pytest.raises(InputError, match=f"recipe file .*{name} cannot be read: .* is no regular file"):
            load_recipe(tmp_path / name)
    assert load_recipe(tmp_path / "link.yaml").agent.seed == 5


def test_chains_of_recipes_end(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number}.yaml").write_text(f"extends: {number + 1}.yaml")
    (tmp_path / "12.yaml").write_text("agent: {seed: 5}")
    assert load_recipe(tmp_path / "3.yaml").agent.seed == 5
    with pytest.raises(InputError, match="at most 10 recipes may extend one another"):
        load_recipe(tmp_path / "0.yaml")
    (tmp_path / "loop.yaml").write_text(f"extends: ../{tmp_path.name}/loop.yaml")
    with pytest.raises(InputError, match="at most 10 recipes may extend one another"):
        load_recipe(tmp_path / "loop.yaml")


@given(st.binary(max_size=300) | st.text("{}[]:,-&*!?|>'\"<#%@` \n\tab019.~yx", max_size=300).map(str.encode))
def test_any_bytes_are_a_recipe_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_bytes(content)
    with contextlib.suppress(InputError):
        assert isinstance(load_recipe(file), Recipe)


_NUMBERS = st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
_PLAIN = st.recursive(
    st.none() | st.booleans() | _NUMBERS | st.text(),
    lambda part: st.lists(part, max_size=4) | st.dictionaries(st.text(), part, max_size=4),
    max_leaves=20,
)


@given(_PLAIN)
def test_what_pyyaml_writes_is_read_as_it_was(value: Any) -> None:
    assert load_plain(yaml.safe_dump(value), "value") == value


@given(st.text("0123456789+-._:eExob~nulyestrfa", max_size=12))
def test_a_word_means_what_yaml_1_1_says_or_itself_or_is_refused(word: str) -> None:
    try:
        want = yaml.safe_load(word)
    except (ValueError, yaml.YAMLError):
        want = word
    try:
        got = load_plain(word, "word")
    except InputError:
        return
    assert got == word or (type(got), got) == (type(want), want)
    assert not isinstance(got, float) or math.isfinite(got)


@pytest.mark.parametrize("value", ["!!bool x", "&a [*a]", "1:30", "0x10", "{a: 1, a: 2}", "[" * 1000])
def test_values_of_the_command_line_are_read_alike(
    value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "digits-short", "--student.options.hidden", value, "--runs", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("rltemp: error: --student.options.hidden must be plain YAML: ")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_name_of_many_parts_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "digits-short", "--student.options" + ".a" * 50_000, "3"]) == 2
    assert "at most 16 dots, got 50001" in capsys.readouterr().err
