"""The Free Spoken Digit Dataset (Jackson et al.): spectrograms of digits, with speakers of their own to test."""

from __future__ import annotations

import functools
import os
import re
import wave
from pathlib import Path

import torch
from torch import Tensor

from rltemp.data.dataset import Dataset
from rltemp.data.folder import ImageFiles, decode_files
from rltemp.errors import InputError, first_line
from rltemp.reading import require_file

__all__ = ["load_spoken_digits", "log_mel"]

_NAME = re.compile(r"(\d)_(\w+)_(\d+)\.wav")
_HELD_OUT = 2
_RATE = 8000
_WINDOW, _HOP = 256, 160
_BANDS, _FRAMES = 40, 40
_DECIBELS = 80.0
_MOST_BYTES = 1 << 24


def load_spoken_digits(root: str | Path, *, cache: str | Path | None = None) -> tuple[Dataset, Dataset]:
    """Training and test spectrograms uint8 [N, 1, 40, 40] of ten digits, as `log_mel` makes them.

    The test part are the last two speakers in alphabetical order, of whom none is heard in training.

    Args:
        root: a folder of `<digit>_<speaker>_<take>.wav`; other names are left out.
        cache: as in `load_image_folder`.

    Raises:
        InputError: for a folder with fewer than three speakers, or a file that is no such recording.
    """
    found = sorted((match[2], int(match[1]), match[0]) for match in map(_NAME.fullmatch, os.listdir(root)) if match)
    speakers = sorted({speaker for speaker, _, _ in found})
    if len(speakers) <= _HELD_OUT:
        raise InputError(
            f"root must hold <digit>_<speaker>_<take>.wav of at least {_HELD_OUT + 1} speakers, {root} has those of "
            f"{len(speakers)}"
        )

    def spectrograms(heard: list[str]) -> Dataset:
        names = [(os.path.join(root, name), digit) for speaker, digit, name in found if speaker in heard]
        paths, digits = zip(*names, strict=True)
        return decode_files(ImageFiles(paths, torch.tensor(digits), 10), log_mel, "log-mel", cache, channels=1)

    return spectrograms(speakers[:-_HELD_OUT]), spectrograms(speakers[-_HELD_OUT:])


def log_mel(path: str) -> Tensor:
    """The log-mel spectrogram of a recording, uint8 [1, 40, 40]: bands from low to high, then time.

    Its 0.8 s in the middle, padded by silence, in steps of 20 ms (Hann windows of 32 ms), 40 triangular bands of equal
    width in mel (O'Shaughnessy, 1987), in decibels below the loudest: 255 is the loudest, 0 is 80 dB below it.

    Raises:
        InputError: for anything but a whole mono recording of 16 bits at 8 kHz in a WAV file.
    """
    signal = _center(_read(path))
    window = torch.hann_window(_WINDOW)
    spectrum = torch.stft(signal, _WINDOW, _HOP, window=window, pad_mode="constant", return_complex=True)
    power = _mel_bands() @ spectrum[:, :_FRAMES].abs().square()
    decibels = 10 * torch.log10(power.clamp(min=1e-10))
    relative = 1 + (decibels - decibels.max()) / _DECIBELS
    return (255 * relative.clamp(min=0)).round().to(torch.uint8).unsqueeze(0)


def _read(path: str) -> Tensor:
    """Samples [N] in [-1, 1)."""
    require_file(path, "a WAV file", _MOST_BYTES)
    try:
        with wave.open(path) as file:
            kind = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            count, content = file.getnframes(), file.readframes(file.getnframes())
    except Exception as error:  # whatever a damaged header leads the module to
        raise InputError(f"path must be a WAV file, {path} is not: {first_line(error)}") from error
    if kind != (1, 2, _RATE):
        raise InputError(f"path must be a mono recording of 16 bits at {_RATE} Hz, {path} has {kind}")
    if not count or len(content) != 2 * count:
        raise InputError(f"path must be a whole recording, {path} is cut short")
    return torch.frombuffer(bytearray(content), dtype=torch.int16).float() / 32768


def _center(signal: Tensor) -> Tensor:
    """The samples in the middle that make the frames, zeros around what is shorter."""
    missing = _FRAMES * _HOP - len(signal)
    # Cuts where the padding is negative.
    return torch.nn.functional.pad(signal, (missing // 2, missing - missing // 2))


@functools.cache
def _mel_bands() -> Tensor:
    """Weights [bands, frequencies] of triangles between points that are equally far apart in mel."""
    frequencies = torch.linspace(0, _RATE / 2, _WINDOW // 2 + 1)
    highest = 2595 * torch.log10(torch.tensor(1 + _RATE / 2 / 700))
    points = 700 * (10 ** (torch.linspace(0, 1, _BANDS + 2) * highest / 2595) - 1)
    rising = (frequencies - points[:-2, None]) / (points[1:-1] - points[:-2])[:, None]
    falling = (points[2:, None] - frequencies) / (points[2:] - points[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0)
