"""Texts become windows of ids, end to end, and every character is the target of one window at most."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rltemp.data import ALPHABET, cut_text, decode, encode, shakespeare_sample
from rltemp.data.characters import windows
from rltemp.errors import InputError


@given(st.text(alphabet=ALPHABET, max_size=40))
def test_what_is_in_the_alphabet_comes_back(text: str) -> None:
    assert decode(encode(text)) == text


def test_what_is_not_has_the_nearest_there_is() -> None:
    typed = "\N{LEFT DOUBLE QUOTATION MARK}caf\N{LATIN SMALL LETTER E WITH ACUTE}\N{EM DASH}\N{SNOWMAN}\r\na\tb"
    assert decode(encode(typed)) == '"cafe-?\na b'


def test_windows_stand_end_to_end_and_each_character_follows_its_own() -> None:
    ids = encode("".join(ALPHABET[i % 7 + 5] for i in range(23)))
    cut = windows(ids, 5)
    assert cut.images.shape == cut.targets.shape == (4, 5)
    assert cut.positions == 5
    assert torch.equal(cut.images.flatten(), ids[:20])
    assert torch.equal(cut.labels, ids[1:21])
    with pytest.raises(InputError, match=r"at least 24 characters for data\.context 23, got 23"):
        windows(ids, 23)


def test_the_last_tenth_is_for_test_or_another_text() -> None:
    train, test = cut_text("a" * 90 + "b" * 10, 3)
    assert set(decode(train.labels)) == {"a"}
    assert set(decode(test.labels)) == {"b"}
    train, test = cut_text("a" * 20, 3, test="c" * 8)
    assert (len(train), set(decode(test.images.flatten()))) == (6, {"c"})


def test_the_play_that_comes_with_the_package_needs_no_replacement() -> None:
    play = shakespeare_sample()
    assert len(play) > 100_000
    assert decode(encode(play)) == play
