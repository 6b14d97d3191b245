"""eSpeak NG in a process of its own, for one line: its state outlives a line, and the same line must sound the same.

:mod:`arauto.creative.engines.voice` runs it as a script; it imports nothing of ours. Arguments: the library, its data,
the voice, words a minute. Input: the line, UTF-8. Output: the sample rate on a line, then 16-bit mono samples.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any


def main(library_path: str, data: str, voice: str, words_a_minute: str) -> None:
    """Say what comes in."""
    library = ctypes.CDLL(library_path)
    pieces: list[bytes] = []

    def collect(samples: Any, count: int, events: Any) -> int:
        del events
        if samples and count > 0:
            pieces.append(ctypes.string_at(samples, count * 2))
        return 0

    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(collect)
    # AUDIO_OUTPUT_SYNCHRONOUS: samples go to the callback, and Synth returns when all are made.
    rate = library.espeak_Initialize(2, 0, data.encode(), 0)
    library.espeak_SetSynthCallback(callback)
    if rate <= 0 or library.espeak_SetVoiceByName(voice.encode()):
        sys.exit("its data cannot be read")
    library.espeak_SetParameter(1, int(words_a_minute), 0)
    library.espeak_ng_SetRandSeed(ctypes.c_long(1))
    text = sys.stdin.buffer.read()
    # Flags: UTF-8.
    library.espeak_Synth(text + b"\0", len(text) + 1, 0, 0, 0, 1, None, None)
    library.espeak_Synchronize()
    sys.stdout.buffer.write(f"{rate}\n".encode() + b"".join(pieces))


if __name__ == "__main__":
    main(*sys.argv[1:])
