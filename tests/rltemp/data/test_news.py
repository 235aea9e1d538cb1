import zlib
from pathlib import Path

import pytest
import torch

from rltemp.data import load_news
from rltemp.data.news import hash_words
from rltemp.errors import InputError


def _write(folder: Path, train: str, test: str = "b c\tWorld\n") -> Path:
    (folder / "train.tsv").write_text(train, encoding="utf-8")
    (folder / "test.tsv").write_text(test, encoding="utf-8")
    return folder


def test_words_are_hashed_by_the_published_checksum_and_filled_up() -> None:
    ids = hash_words("Oil PRICES, oil #36;10!")
    assert (ids.dtype, ids.shape) == (torch.int64, (64,))
    # CRC-32 of "123456789" is in every description of it: 0xCBF43926.
    assert int(hash_words("123456789")[0]) == 1 + 0xCBF43926 % 8191
    expected = [1 + zlib.crc32(word) % 8191 for word in (b"oil", b"prices", b"oil", b"36", b"10")]
    assert ids.tolist() == expected + [0] * 59
    assert torch.equal(hash_words("a " * 80), hash_words("a " * 64))


def test_labels_are_numbered_in_alphabetical_order(tmp_path: Path) -> None:
    train, test = load_news(_write(tmp_path, "a b\tWorld\r\nsays \ttabbed\tBusiness\nlast\tSports"))
    assert (train.targets.tolist(), test.targets.tolist(), train.classes, test.classes) == ([2, 0, 1], [2], 3, 3)
    assert torch.equal(train.images[1], hash_words("says tabbed"))
    assert train.images.shape == (3, 64)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ("a\tx\nno label\nb\ty", "a\tx", r"line 2 of .*train\.tsv must be a text, a tab and a label, got 'no label'"),
        ("a\tx\n\tx", "a\tx", r"line 2 of .*train\.tsv must be a text"),
        ("a\tx", "a\tx", r"train\.tsv of .* must have 2 to 1000 different labels, got 1"),
        ("a\tx\nb\ty", "a\tz", r"test\.tsv of .* must have the labels of train\.tsv, got 'z'"),
        ("a\tx\nb\ty", "\n", r"test\.tsv must hold at least one text, got none"),
    ],
)
def test_what_is_no_table_of_texts_is_refused(tmp_path: Path, train: str, test: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_news(_write(tmp_path, train, test))


def test_missing_and_foreign_files_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train\.tsv, which does not exist"):
        load_news(tmp_path)
    _write(tmp_path, "a\tx\nb\ty")
    (tmp_path / "test.tsv").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"test\.tsv must be a UTF-8 file"):
        load_news(tmp_path)
