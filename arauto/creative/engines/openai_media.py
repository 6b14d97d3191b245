"""Voice and pictures from any OpenAI-compatible endpoint: ``audio/speech`` and ``images/generations``."""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import Any

import msgspec
import numpy as np

from arauto.core.brief import Language
from arauto.core.errors import SettingError
from arauto.creative.engines.budget import Cost
from arauto.creative.engines.endpoint import Endpoint, Refused, unusable
from arauto.creative.engines.image import ImageAsk
from arauto.creative.sound.samples import Sound, resample, trim

_PCM_RATE = 24_000
"""Of the format ``pcm``: 16-bit mono samples, as the endpoints' documentation has it."""
_MAX_SOUND, _MAX_PICTURE = 32 << 20, 64 << 20


class OpenAIVoice:
    """Speech of ``model`` in ``voice`` (a name that the endpoint knows)."""

    name = "openai"

    def __init__(self, endpoint: Endpoint, model: str, voice: str) -> None:
        if not model:
            raise SettingError(
                "is empty", field="openai_voice_model", mend="set ARAUTO_OPENAI_VOICE_MODEL to a speech model"
            )
        self.model = f"{model}/{voice}"
        self._endpoint, self._name, self._voice = endpoint, model, voice

    async def say(self, line: str, language: Language, pace: float = 1.0) -> Sound:
        del language  # the model hears it
        body = {"model": self._name, "voice": self._voice, "input": line, "response_format": "pcm", "speed": pace}
        most = Cost(tokens_in=len(line.encode()), characters=len(line))
        samples = await _asked(self._endpoint, "audio/speech", body, most, _read_pcm, _MAX_SOUND)
        return await asyncio.to_thread(lambda: trim(resample(samples, _PCM_RATE)))

    async def close(self) -> None:
        await self._endpoint.close()


class OpenAIImage:
    """Pictures of ``model``."""

    name = "openai"

    def __init__(self, endpoint: Endpoint, model: str) -> None:
        if not model:
            raise SettingError(
                "is empty", field="openai_image_model", mend="set ARAUTO_OPENAI_IMAGE_MODEL to a picture model"
            )
        self.model = model
        self._endpoint = endpoint

    async def draw(self, ask: ImageAsk) -> bytes:
        body = {
            "model": self.model,
            "prompt": ask.prompt,
            "size": f"{ask.width}x{ask.height}",
            "n": 1,
            "response_format": "b64_json",
        }
        most = Cost(tokens_in=len(ask.prompt.encode()), pictures=1)
        picture: bytes = await _asked(self._endpoint, "images/generations", body, most, _read_picture, _MAX_PICTURE)
        return picture

    async def close(self) -> None:
        await self._endpoint.close()


async def _asked(endpoint: Endpoint, path: str, body: dict[str, Any], most: Cost, read: Any, limit: int) -> Any:
    try:
        return await endpoint.ask(path, body, most, read, limit=limit)
    except Refused as refusal:
        raise unusable(refusal.status) from None


def _read_pcm(content: bytes) -> tuple[Sound, Cost | None]:
    # An error page in place of sound is text; sound of a tenth of a second and less says nothing.
    if len(content) < _PCM_RATE // 5 or (content[:64].isascii() and content[:64].decode().isprintable()):
        raise ValueError("16-bit samples of speech")
    samples = np.frombuffer(content[: len(content) // 2 * 2], "<i2").astype(np.float32) * np.float32(1 / 32768)
    return samples[:, None], None


class _Picture(msgspec.Struct):
    b64_json: str


class _Pictures(msgspec.Struct):
    data: list[_Picture]


_SIGNS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")


def _read_picture(content: bytes) -> tuple[bytes, Cost | None]:
    try:
        picture = base64.b64decode(msgspec.json.decode(content, type=_Pictures).data[0].b64_json, validate=True)
    except (msgspec.MsgspecError, UnicodeDecodeError, IndexError, binascii.Error):
        raise ValueError("a picture") from None
    if not picture.startswith(_SIGNS):
        raise ValueError("a PNG, JPEG or WebP picture")
    return picture, None
