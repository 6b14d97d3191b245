"""Samples, loudness by the standard (an independent reader agrees), the composer, the mix."""

import re
import subprocess

import numpy as np
import pytest

from arauto.core.errors import EngineError
from arauto.creative.audio.mix import mix
from arauto.creative.audio.render import encode, wav
from arauto.creative.audio.standards import profile, profiles
from arauto.creative.sound import ffmpeg
from arauto.creative.sound.compose import MOODS, compose, play
from arauto.creative.sound.loudness import SILENT, limit, loudness, reach, true_peak
from arauto.creative.sound.samples import RATE, fade, place, resample, silence, stereo, trim


def tone(seconds, hertz=997.0, level=0.1, rate=RATE):
    times = np.arange(round(seconds * rate)) / rate
    return np.repeat((level * np.sin(2 * np.pi * hertz * times))[:, None], 2, axis=1).astype(np.float32)


def by_ffmpeg(path):
    """Loudness and true peak as another program measures them."""
    command = [
        ffmpeg.program(),
        "-hide_banner",
        "-nostats",
        "-i",
        str(path),
        "-filter_complex",
        "ebur128=peak=true",
        "-f",
        "null",
        "-",
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return float(re.findall(r"I:\s+(-?[\d.]+) LUFS", said)[-1]), float(re.findall(r"Peak:\s+(-?[\d.]+) dBFS", said)[-1])


@pytest.fixture(scope="module")
def bed():
    return play("warm", 3.0, 2)


def test_a_tone_of_the_standard():
    # BS.1770-4, section 2.1: a sine of 997 Hz at full scale in one channel reads -3.01; in two, 3.01 more.
    assert loudness(tone(5, level=10 ** (-20 / 20))) == pytest.approx(-20.0, abs=0.1)
    assert loudness(silence(3)) == SILENT
    assert loudness(tone(0.1)) < 0  # shorter than a block


def test_the_gate_leaves_pauses_out():
    loud = tone(4, level=0.1)
    assert loudness(np.concatenate([loud, silence(8)])) == pytest.approx(loudness(loud), abs=0.3)


def test_the_peak_between_the_samples():
    # A quarter of the rate, sampled beside its crests: samples at 0.707, the waveform at 1.
    times = np.arange(RATE)
    wave = np.sin(2 * np.pi * times / 4 + np.pi / 4)[:, None].astype(np.float32)
    assert np.abs(wave).max() == pytest.approx(0.7071, abs=1e-3)
    assert true_peak(fade(wave, 0.1, 0.1)) == pytest.approx(0.0, abs=0.1)
    assert true_peak(silence(0)) == -np.inf


def test_the_limiter_holds_and_leaves_the_rest_alone():
    sound = tone(3, level=0.2)
    sound[RATE : RATE + 300] *= 5
    held = limit(sound, -6.0)
    assert true_peak(held) <= -5.9
    assert np.array_equal(held[: RATE // 2], sound[: RATE // 2])
    assert limit(sound, 3.0) is sound


def test_resampling_keeps_tone_and_length():
    sound = resample(tone(1, rate=24_000), 24_000)
    assert len(sound) == RATE
    assert np.abs(sound[2000:-2000] - tone(1)[2000:-2000]).max() < 2e-3
    assert resample(sound, RATE) is sound
    assert len(resample(tone(1, rate=48_000), 48_000)) == RATE


def test_small_tools():
    mono = tone(1)[:, :1]
    assert stereo(mono).shape == (RATE, 2)
    padded = np.concatenate([silence(0.5), tone(0.5), silence(0.5)])
    assert len(trim(padded)) == pytest.approx(0.56 * RATE, abs=20)
    assert len(trim(silence(1))) == 0
    canvas = silence(1)
    place(canvas, tone(1), 0.5)
    assert not canvas[: RATE // 2].any()
    assert canvas[RATE // 2 :].any()


@pytest.mark.parametrize("mood", MOODS)
def test_music_fills_its_time_repeats_and_is_balanced(mood):
    piece = play(mood, 3.0, 5)
    assert piece.shape == (3 * RATE, 2)
    if mood == "calm":
        assert np.array_equal(piece, play(mood, 3.0, 5))
        assert not np.array_equal(piece, play(mood, 3.0, 6))
    power = np.abs(np.fft.rfft(piece.mean(axis=1))) ** 2
    pitch = np.fft.rfftfreq(len(piece), 1 / RATE)
    parts = [
        power[(pitch >= low) & (pitch < high)].sum() / power.sum()
        for low, high in ((20, 120), (120, 2000), (2000, 20000))
    ]
    assert parts[0] < 0.6
    assert parts[1] > 0.3
    assert parts[2] > 0.002
    assert np.abs(piece[-200:]).max() < 0.02, "it rings out"


def test_whole_bars_then_the_last_chord():
    notes, tempo = compose("bright", 15.0, 1)
    last = max(note.at for note in notes)
    assert 90 < tempo < 140
    assert last * 60 / tempo < 15
    assert {note.instrument for note in notes} >= {"pad", "bass", "kick", "mallet"}


@pytest.mark.parametrize("name", ["adcp", "spotify", "ebu", "atsc"])
def test_a_mix_reaches_its_profile_and_ffmpeg_agrees(name, bed, tmp_path):
    target = profile(name)
    speech = tone(2, hertz=300, level=0.3)[:, :1] * (0.6 + 0.4 * np.sin(np.arange(2 * RATE) / 3000))[:, None].astype(
        np.float32
    )
    sound = mix(bed, [(0.5, speech)], target.lufs, target.peak - 0.8)
    assert loudness(sound) == pytest.approx(target.lufs, abs=0.4)
    assert true_peak(sound) <= target.peak
    path = tmp_path / "mix.wav"
    path.write_bytes(wav(sound))
    level, peak = by_ffmpeg(path)
    assert level == pytest.approx(target.lufs, abs=target.tolerance)
    assert peak <= target.peak + 0.1


def test_the_music_goes_down_under_the_voice():
    music = tone(8, hertz=2500, level=0.1)
    speech = tone(2, hertz=200, level=0.2)[:, :1]
    sound = mix(music, [(3.0, speech)], -20.0, -1.0)

    def level(start, end):
        part = sound[round(start * RATE) : round(end * RATE), 0]
        pitch = np.fft.rfftfreq(len(part), 1 / RATE)
        return 10 * np.log10((np.abs(np.fft.rfft(part))[(pitch > 2400) & (pitch < 2600)] ** 2).mean())

    assert level(0.5, 2) - level(3.6, 4.8) > 9
    assert reach(silence(1), -16, -2).any() == np.False_


@pytest.mark.parametrize(
    ("kind", "codec", "rate"), [("wav", "pcm_s16le", 44100), ("mp3", "mp3", 44100), ("opus", "opus", 48000)]
)
def test_files_repeat_and_probe_as_they_should(kind, codec, rate, tmp_path):
    sound = fade(tone(1.5), 0.1, 0.1)
    data = encode(sound, kind)
    assert data == encode(sound, kind)
    path = tmp_path / f"sound.{kind}"
    path.write_bytes(data)
    found = ffmpeg.probe(path)
    assert (found.audio, found.rate, found.channels, found.video) == (codec, rate, 2, None)
    assert found.seconds == pytest.approx(1.5, abs=0.1)
    assert loudness(ffmpeg.decode(path)) == pytest.approx(loudness(sound), abs=0.3)


def test_what_is_no_sound(tmp_path):
    path = tmp_path / "text.mp3"
    path.write_text("no sound at all")
    with pytest.raises(EngineError, match="no sound or film"):
        ffmpeg.probe(path)
    with pytest.raises(EngineError, match="ffmpeg failed"):
        ffmpeg.decode(path)
    with pytest.raises(EngineError, match="ffmpeg failed"):
        ffmpeg.stream(
            ["-f", "rawvideo", "-video_size", "2x2", "-i", "pipe:0", "-c:v", "nothing", "x.mp4"], [bytes(12)] * 3
        )


def test_profiles_are_dated_rows():
    assert set(profiles()) == {"adcp", "spotify", "ebu", "atsc"}
    assert all(row.source and row.date for row in profiles().values())
