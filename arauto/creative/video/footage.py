"""The marketer's own clips: read by ffmpeg frame by frame while a film is drawn, never held whole."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import IO, cast

from arauto.core.errors import BriefError, EngineError
from arauto.creative.sound.ffmpeg import NEEDS_EXTRA, probe, program

_CONTAINERS = "mov,matroska,avi"
"""What a clip may be in (MP4, MOV, WebM, MKV, AVI): a playlist could name other files."""
_MOST_PIXELS = 3840 * 2160
_SHORTEST = 0.5


def check_clip(path: Path, field: str) -> Path:
    """``path``, when it is a clip that can be shown.

    Raises:
        BriefError: it is no film, too short or too large.
        EngineError: ffmpeg is not installed.
    """
    mend = "save it as MP4 (H.264), up to 3840 × 2160, of half a second at least"
    try:
        found = probe(path, containers=_CONTAINERS)
    except EngineError as failure:
        if failure.mend == NEEDS_EXTRA:
            raise
        raise BriefError(f"{path.name!r} is not a clip that can be read", field=field, mend=mend) from None
    if found.width is None or found.height is None or found.seconds < _SHORTEST:
        raise BriefError(f"{path.name!r} shows nothing", field=field, mend=mend)
    if found.width * found.height > _MOST_PIXELS:
        raise BriefError(f"{path.name!r} is {found.width}×{found.height}", field=field, mend=mend)
    return path


class Clip:
    """A clip cut to a square of ``side`` pixels, from its second ``start`` on, again and again when it ends."""

    def __init__(self, path: Path, side: int, frames_a_second: int, start: float = 0.0) -> None:
        self.side = side
        square = f"scale={side}:{side}:force_original_aspect_ratio=increase,crop={side}:{side}"
        self._command = [
            program(), "-hide_banner", "-nostdin", "-loglevel", "error", "-protocol_whitelist", "file,pipe",
            "-format_whitelist", _CONTAINERS, "-stream_loop", "-1", "-ss", f"{start:.3f}",
            "-threads", "1", "-i", str(path), "-an", "-sn",
            "-vf", f"fps={frames_a_second},{square},format=rgba", "-filter_threads", "1", "-f", "rawvideo", "pipe:1",
        ]  # fmt: skip
        self._name = path.name
        self._process: subprocess.Popen[bytes] | None = None
        self._at, self._frame = -1, b""

    def frame(self, number: int) -> bytes:
        """The RGBA pixels of the picture ``number`` (from 0), or the last ones when it has gone by.

        Raises:
            EngineError: the clip cannot be read any further.
        """
        if self._process is None:
            self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # noqa: S603
        size = self.side * self.side * 4
        while self._at < number:
            data = cast("IO[bytes]", self._process.stdout).read(size)
            if len(data) < size:
                raise EngineError(f"{self._name!r} breaks off", field="footage", mend="save the clip anew")
            self._at, self._frame = self._at + 1, data
        return self._frame

    def close(self) -> None:
        """End the process that reads."""
        if self._process is not None:
            cast("IO[bytes]", self._process.stdout).close()
            self._process.kill()
            self._process.wait()
