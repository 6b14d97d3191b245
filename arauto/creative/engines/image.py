"""Pictures: what draws one from words. Each engine sits behind :class:`ImageEngine`.

No weights of a picture model can be had offline, so that the default is no engine at all: the kit
(:mod:`arauto.creative.kit.pictures`) then uses the marketer's pictures or our own drawings.
"""

from __future__ import annotations

import asyncio
import importlib.util
import io
from collections.abc import Iterable
from typing import Any, Protocol

import msgspec

from arauto.core.errors import EngineError


class ImageAsk(msgspec.Struct, frozen=True, kw_only=True):
    """A picture to draw: ``prompt`` in plain words, the size in pixels. The same ask gives the same picture where
    the engine knows seeds.
    """

    prompt: str
    width: int = 1024
    height: int = 1024
    seed: int = 0


class ImageEngine(Protocol):
    """What draws a picture: the bytes of a PNG, JPEG or WebP file, which the caller decodes and writes anew."""

    @property
    def name(self) -> str: ...
    @property
    def model(self) -> str: ...
    async def draw(self, ask: ImageAsk) -> bytes: ...
    async def close(self) -> None: ...


class DiffusersImage:
    """A model of the library ``diffusers``, by name or folder; loaded at the first picture."""

    name = "diffusers"

    def __init__(self, model: str, *, steps: int = 20) -> None:
        if importlib.util.find_spec("diffusers") is None:
            raise EngineError(
                "the library `diffusers` is not installed", field="image", mend="pip install diffusers torch"
            )
        self.model, self._steps, self._pipeline = model, steps, None
        self._turn = asyncio.Lock()

    async def draw(self, ask: ImageAsk) -> bytes:
        async with self._turn:
            return await asyncio.to_thread(self._draw, ask)

    async def close(self) -> None:
        self._pipeline = None

    def _draw(self, ask: ImageAsk) -> bytes:
        import torch
        from diffusers import AutoPipelineForText2Image

        pipeline: Any = self._pipeline
        if pipeline is None:
            try:
                pipeline = self._pipeline = AutoPipelineForText2Image.from_pretrained(self.model, use_safetensors=True)
            except (OSError, ValueError):
                raise EngineError(
                    f"{self.model!r} cannot be loaded", field="image", mend="give the folder of a diffusers model"
                ) from None
        drawn = pipeline(
            prompt=ask.prompt,
            width=ask.width // 8 * 8,
            height=ask.height // 8 * 8,
            num_inference_steps=self._steps,
            generator=torch.Generator().manual_seed(ask.seed),
        )
        buffer = io.BytesIO()
        drawn.images[0].save(buffer, "PNG")
        return buffer.getvalue()


class ScriptedImage:
    """The engine of tests: it gives the items of ``script`` in order, bytes or an exception to raise."""

    name = "scripted"
    model = "script"

    def __init__(self, script: Iterable[bytes | Exception]) -> None:
        self.asks: list[ImageAsk] = []
        self._script = iter(script)

    async def draw(self, ask: ImageAsk) -> bytes:
        self.asks.append(ask)
        for item in self._script:
            if isinstance(item, Exception):
                raise item
            return item
        raise EngineError("the script is at its end", field="engine", mend="give it more pictures")

    async def close(self) -> None:
        """Nothing to close."""
