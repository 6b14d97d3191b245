"""ffmpeg (package ``imageio-ffmpeg``, extra ``arauto[kit]``) as a subprocess: encode, decode, and ask what a file is.

Everything runs on one thread and with bit-exact flags, so that the same samples and frames give the same bytes.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import msgspec
import numpy as np

from arauto.core.errors import EngineError
from arauto.creative.sound.samples import RATE, Sound

NEEDS_EXTRA = "install the packages of the kit: pip install 'arauto[kit]'"
BIT_EXACT = ("-threads", "1", "-map_metadata", "-1", "-fflags", "+bitexact", "-flags", "+bitexact")
_SECONDS = 300


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says of itself. Sizes in pixels, ``bitrate`` of the whole file in kbit/s; None where it has none."""

    seconds: float
    bitrate: int | None = None
    video: str | None = None
    width: int | None = None
    height: int | None = None
    frames_a_second: float | None = None
    pixels: str | None = None
    audio: str | None = None
    rate: int | None = None
    channels: int | None = None


@cache
def program() -> str:
    """The path of the program.

    Raises:
        EngineError: when it is not installed.
    """
    try:
        import imageio_ffmpeg
    except ModuleNotFoundError:
        raise EngineError("the encoder `ffmpeg` is not installed", field="video", mend=NEEDS_EXTRA) from None
    return str(imageio_ffmpeg.get_ffmpeg_exe())


def run(arguments: Sequence[str], given: bytes = b"", *, field: str = "audio") -> bytes:
    """Run it on ``arguments`` and return what it wrote to its output.

    Raises:
        EngineError: it refused or took too long; says its last line.
    """
    command = [program(), "-hide_banner", "-nostdin", "-loglevel", "error", "-y", *arguments]
    if given:
        command.remove("-nostdin")
    try:
        done = subprocess.run(command, input=given or None, capture_output=True, timeout=_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise EngineError("ffmpeg took too long", field=field, mend="give the machine some rest") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["nothing"]
        raise EngineError(f"ffmpeg failed: {said[-1][:200]}", field=field, mend="see that the disk has room")
    return done.stdout


def stream(arguments: Sequence[str], chunks: Iterable[bytes], *, field: str = "video") -> None:
    """Run it on ``arguments`` and feed it ``chunks`` as they are made.

    Raises:
        EngineError: as :func:`run`.
    """
    command = [program(), "-hide_banner", "-loglevel", "error", "-y", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # noqa: S603
        assert process.stdin is not None  # noqa: S101  (asked for above)
        assert process.stderr is not None  # noqa: S101
        try:
            for chunk in chunks:
                process.stdin.write(chunk)
            process.stdin.close()
        except BrokenPipeError:
            pass
        except BaseException:
            process.kill()
            raise
        said = process.stderr.read().decode("utf-8", "replace").strip().splitlines() or ["nothing"]
    if process.returncode:
        raise EngineError(f"ffmpeg failed: {said[-1][:200]}", field=field, mend="see that the disk has room")


def raw(sound: Sound) -> bytes:
    """``sound`` as interleaved 32-bit samples."""
    return np.ascontiguousarray(sound, "<f4").tobytes()


def raw_input(channels: int) -> tuple[str, ...]:
    """The arguments that announce :func:`raw` samples on the input."""
    return ("-f", "f32le", "-ar", str(RATE), "-ac", str(channels), "-i", "pipe:0")


def decode(path: Path) -> Sound:
    """The samples of any sound or film, stereo at :data:`~.samples.RATE`.

    Raises:
        EngineError: when there are none.
    """
    bytes_ = run(["-i", str(path), "-vn", "-f", "f32le", "-ac", "2", "-ar", str(RATE), "pipe:1"])
    return np.frombuffer(bytes_, "<f4").reshape(-1, 2)


def probe(path: Path, *, containers: str = "") -> Probe:
    """Read the headers of ``path``; with ``containers`` (names of ffmpeg's demuxers), only when it is one of these.

    Raises:
        EngineError: when it is no sound or film.
    """
    only = ["-protocol_whitelist", "file", "-format_whitelist", containers] if containers else []
    command = [program(), "-hide_banner", "-nostdin", *only, "-i", str(path)]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)  # noqa: S603
    text = done.stderr.decode("utf-8", "replace")
    length = re.search(r"Duration: (\d+):(\d+):(\d+\.\d+)", text)
    if not length:
        raise EngineError(f"{path.name} is no sound or film", field="path", mend="make the kit again")
    video = re.search(r"Video: (\w+).*?(yuv\w+|gbrp|rgb\w+).*?(\d{2,5})x(\d{2,5}).*?([\d.]+) fps", text)
    audio = re.search(r"Audio: (\w+).*?(\d+) Hz, (mono|stereo|\d+)", text)
    rate = re.search(r"bitrate: (\d+) kb/s", text)
    return Probe(
        seconds=int(length[1]) * 3600 + int(length[2]) * 60 + float(length[3]),
        bitrate=int(rate[1]) if rate else None,
        video=video[1] if video else None,
        pixels=video[2] if video else None,
        width=int(video[3]) if video else None,
        height=int(video[4]) if video else None,
        frames_a_second=float(video[5]) if video else None,
        audio=audio[1] if audio else None,
        rate=int(audio[2]) if audio else None,
        channels={"mono": 1, "stereo": 2}.get(audio[3], 0) if audio else None,
    )
