"""Voices: what says a line. Each sits behind :class:`VoiceEngine`; nothing outside knows which it has.

The local one is Kokoro (82 M parameters, int8, ONNX; Apache-2.0) with phonemes from eSpeak NG, both in the extra
``arauto[voice]``; its weights come through the model store. Where they are missing, eSpeak NG speaks by itself: plain,
clear and robotic, and said so in the kit. Where the extra is missing nobody speaks, and that is said too.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from arauto.core.brief import Language
from arauto.core.errors import EngineError, ModelFileError
from arauto.creative.sound.samples import RATE, Sound, resample, trim

NEEDS_EXTRA = "install a voice: pip install 'arauto[voice]'"
MODEL = "kokoro-v1.0-int8"
VOICES: dict[Language, str] = {"pt-BR": "kokoro-voice-pf-dora", "en": "kokoro-voice-af-heart"}
"""The model store's name of the voice that speaks a language."""
_SPEECH_RATE = 24_000
_LONGEST_LINE = 600
_LINES_KEPT = 24


class VoiceEngine(Protocol):
    """What says one line.

    ``say`` takes words ready to be said (:func:`~arauto.creative.audio.saying.said`) and returns mono samples without
    silence around them; ``pace`` is 1 for the voice's own, more for faster. It raises
    :class:`~arauto.core.errors.EngineError` when it cannot.
    """

    @property
    def name(self) -> str: ...
    @property
    def model(self) -> str: ...
    async def say(self, line: str, language: Language, pace: float = 1.0) -> Sound: ...
    async def close(self) -> None: ...


class KokoroVoice:
    """Kokoro on ``threads`` threads. ``model`` and ``voices`` are files of the model store.

    About 1.4 CPU-seconds a second of speech on one thread; the same line gives the same samples.
    """

    name = "kokoro"
    model = MODEL

    def __init__(self, model: Path, voices: dict[Language, Path], *, threads: int = 1) -> None:
        self._model, self._voices, self._threads = model, voices, threads
        self._loaded: Any = None
        self._turn = threading.Lock()
        # A spot and its films say the same lines.
        self._known = lru_cache(maxsize=_LINES_KEPT)(self._say)

    async def say(self, line: str, language: Language, pace: float = 1.0) -> Sound:
        return await asyncio.to_thread(self._known, line[:_LONGEST_LINE], language, pace)

    async def close(self) -> None:
        self._loaded = None
        self._known.cache_clear()

    def _say(self, line: str, language: Language, pace: float) -> Sound:
        with self._turn:
            if self._loaded is None:
                self._loaded = self._load()
            try:
                samples, rate = self._loaded.create(
                    line, language, pace, {"pt-BR": "pt-br", "en": "en-us"}[language], sentence_pause=0.22
                )
            except ValueError:
                raise EngineError(f"nothing in {line[:40]!r} can be said", field="voice", mend="use words") from None
        return trim(resample(np.asarray(samples, np.float32)[:, None], rate))

    def _load(self) -> Any:
        """The runtime's session, on few threads, and the styles in the container that the package reads."""
        import onnxruntime
        from kokoro_onnx import Kokoro

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        # The runtime's errors have no common class of their own below RuntimeError.
        try:
            session = onnxruntime.InferenceSession(str(self._model), options, providers=["CPUExecutionProvider"])
        except Exception:
            raise ModelFileError(
                f"{self._model} cannot be loaded", field="voice", mend="run `arauto models verify kokoro-v1.0-int8`"
            ) from None
        styles = {language: np.fromfile(path, "<f4").reshape(510, 1, 256) for language, path in self._voices.items()}
        with tempfile.NamedTemporaryFile(suffix=".npz") as file:
            np.savez(file, **cast("dict[str, Any]", styles))
            file.flush()
            return Kokoro.from_session(session, file.name)


class EspeakVoice:
    """eSpeak NG's own formant voice, out of the wheel ``espeakng-loader``: instant, robotic, always there."""

    name = "espeak-ng"
    model = "formant"

    def __init__(self) -> None:
        if importlib.util.find_spec("espeakng_loader") is None:
            raise EngineError("no voice is installed", field="voice", mend=NEEDS_EXTRA)

    async def say(self, line: str, language: Language, pace: float = 1.0) -> Sound:
        return await asyncio.to_thread(_speak, line[:_LONGEST_LINE], language, pace)

    async def close(self) -> None:
        """Nothing to close."""


class ScriptedVoice:
    """The voice of tests: a hum as long as ``seconds_of`` says of a line. ``lines`` holds what it was asked."""

    name = "scripted"
    model = "hum"

    def __init__(self, seconds_of: Callable[[str], float] | None = None, fail_on: Iterable[str] = ()) -> None:
        self.lines: list[str] = []
        self._seconds_of = seconds_of or (lambda line: 0.25 + 0.3 * len(line.split()))
        self._fail_on = set(fail_on)

    async def say(self, line: str, language: Language, pace: float = 1.0) -> Sound:
        del language
        self.lines.append(line)
        if line in self._fail_on:
            raise EngineError("the script says so", field="voice", mend="none")
        times = np.arange(round(self._seconds_of(line) / pace * RATE)) / RATE
        pitch = 110 + int.from_bytes(hashlib.sha256(line.encode()).digest()[:1]) / 4
        words = 0.6 + 0.4 * np.sin(2 * np.pi * 2.6 * times)
        hum = sum(np.sin(2 * np.pi * pitch * n * times) / n for n in (1, 2, 3, 4, 5, 6))
        return np.asarray((0.2 * hum * words)[:, None], np.float32)

    async def close(self) -> None:
        """Nothing to close."""


def local_voice(path_of: Callable[[str], Path], *, threads: int = 1) -> VoiceEngine | None:
    """The best voice of this machine: Kokoro, else eSpeak NG, else None.

    ``path_of`` is :meth:`~arauto.creative.models.ModelStore.path`.
    """
    if importlib.util.find_spec("espeakng_loader") is None:
        return None
    voices = {language: path_of(name) for language, name in VOICES.items() if path_of(name).exists()}
    if importlib.util.find_spec("kokoro_onnx") is None or not path_of(MODEL).exists() or len(voices) < len(VOICES):
        return EspeakVoice()
    return KokoroVoice(path_of(MODEL), voices, threads=threads)


_SCRIPT = Path(__file__).with_name("espeak.py")
_LIBRARY_VOICES = {"pt-BR": "pt-br", "en": "en-us"}
_WORDS_A_MINUTE = 172
_ESPEAK_SECONDS = 30


def _speak(line: str, language: Language, pace: float) -> Sound:
    """One line by a process of its own: see :mod:`arauto.creative.engines.espeak`."""
    import espeakng_loader

    command = [sys.executable, "-P", str(_SCRIPT), str(espeakng_loader.get_library_path())]
    command += [str(espeakng_loader.get_data_path()), _LIBRARY_VOICES[language], str(round(_WORDS_A_MINUTE * pace))]
    try:
        done = subprocess.run(command, input=line.encode(), capture_output=True, timeout=_ESPEAK_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise EngineError("eSpeak NG took too long", field="voice", mend="give the machine some rest") from None
    rate, _, data = done.stdout.partition(b"\n")
    if done.returncode or not rate.isdigit():
        raise ModelFileError("eSpeak NG does not run here", field="voice", mend=NEEDS_EXTRA)
    samples = np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.float32) * np.float32(1 / 32768)
    sound = trim(resample(samples[:, None], int(rate)))
    if not len(sound):
        raise EngineError(f"nothing in {line[:40]!r} can be said", field="voice", mend="use words")
    return sound
