import math
import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from rltemp.data import load_spoken_digits
from rltemp.data.speech import log_mel
from rltemp.errors import InputError


def write_tone(path: Path, hertz: float, seconds: float = 0.8, rate: int = 8000, channels: int = 1) -> Path:
    times = np.arange(int(seconds * rate)) / rate
    samples = np.repeat((8000 * np.sin(2 * math.pi * hertz * times)).astype("<i2"), channels)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return path


@pytest.mark.parametrize("hertz", [300.0, 1000.0, 3000.0])
def test_a_tone_is_loudest_in_the_band_around_it(tmp_path: Path, hertz: float) -> None:
    image = log_mel(str(write_tone(tmp_path / "tone.wav", hertz)))
    assert (image.shape, image.dtype, int(image.max())) == ((1, 40, 40), torch.uint8, 255)
    spacing = 2595 * math.log10(1 + 4000 / 700) / 41
    expected = 2595 * math.log10(1 + hertz / 700) / spacing - 1
    assert abs(float(image[0, :, 20].argmax()) - expected) <= 0.75


def test_short_recordings_are_padded_on_both_sides_and_long_ones_cut(tmp_path: Path) -> None:
    short = log_mel(str(write_tone(tmp_path / "short.wav", 1000, 0.2)))[0]
    heard = short.amax(0) > 0
    # 0.2 s of 0.8, and a window around it.
    assert 10 <= int(heard.sum()) <= 13
    assert not heard[:13].any()
    assert not heard[27:].any()
    long, middle = (log_mel(str(write_tone(tmp_path / "long.wav", 1000, length)))[0] for length in (2.0, 0.8))
    assert (long[:, 5:35].int() - middle[:, 5:35].int()).abs().max() <= 2


def test_the_last_two_speakers_are_held_out(tmp_path: Path) -> None:
    for number, speaker in enumerate(("dora", "ada", "carl", "bob")):
        for digit in (0, 7):
            write_tone(tmp_path / f"{digit}_{speaker}_{number}.wav", 400 + 1000 * (digit > 0) + 50 * number, 0.5)
    (tmp_path / "notes.txt").write_text("other names are left out")
    train, test = load_spoken_digits(tmp_path, cache=tmp_path / "cache")
    assert train.targets.tolist() == test.targets.tolist() == [0, 7, 0, 7]
    assert torch.equal(train.images[3], log_mel(str(tmp_path / "7_bob_3.wav")))
    assert torch.equal(test.images[2], log_mel(str(tmp_path / "0_dora_0.wav")))
    kept = sorted(path.name for path in (tmp_path / "cache").iterdir())
    assert len(kept) == 2
    assert all(name.startswith("log-mel-") for name in kept)
    again = load_spoken_digits(tmp_path, cache=tmp_path / "cache")
    assert torch.equal(again[0].images, train.images)
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == kept


def test_what_is_no_such_recording_is_refused_by_name(tmp_path: Path) -> None:
    for speaker in "ab":
        write_tone(tmp_path / f"1_{speaker}_0.wav", 500)
    with pytest.raises(InputError, match=r"at least 3 speakers, .* has those of 2$"):
        load_spoken_digits(tmp_path)
    odd = tmp_path / "1_c_0.wav"
    for write, message in (
        (lambda: odd.write_bytes(b"RIFF"), r"path must be a WAV file, .*1_c_0\.wav is not"),
        (lambda: write_tone(odd, 500, rate=16000), r"16 bits at 8000 Hz, .*1_c_0\.wav has \(1, 2, 16000\)"),
        (lambda: write_tone(odd, 500, channels=2), r"16 bits at 8000 Hz, .*1_c_0\.wav has \(2, 2, 8000\)"),
        (lambda: write_tone(odd, 500, seconds=0), r"whole recording, .*1_c_0\.wav is cut short"),
        (lambda: odd.write_bytes(write_tone(odd, 500).read_bytes()[:-100]), r"1_c_0\.wav is (cut short|not)"),
    ):
        write()
        with pytest.raises(InputError, match=message):
            load_spoken_digits(tmp_path)
