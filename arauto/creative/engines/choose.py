"""Which engines the settings ask for."""

from __future__ import annotations

import importlib.util
from functools import lru_cache

from arauto.core.errors import EngineError, ModelFileError, SettingError
from arauto.core.settings import Settings
from arauto.creative.engines.budget import Budget, Prices
from arauto.creative.engines.cache import Cache
from arauto.creative.engines.endpoint import Endpoint
from arauto.creative.engines.hf import TransformersEngine
from arauto.creative.engines.image import DiffusersImage, ImageEngine
from arauto.creative.engines.local import LocalEngine
from arauto.creative.engines.openai import OpenAIEngine
from arauto.creative.engines.openai_media import OpenAIImage, OpenAIVoice
from arauto.creative.engines.voice import NEEDS_EXTRA, VoiceEngine, local_voice
from arauto.creative.models import ModelStore
from arauto.creative.slots import SlotEngine
from arauto.creative.types import TextEngine

ENGINES = ("auto", "slot", "local", "openai", "hf")
VOICES = ("auto", "local", "openai", "none")


def choose_engine(settings: Settings, models: ModelStore) -> TextEngine:
    """The engine of ``settings.text_engine``; nothing is loaded yet.

    ``auto``: openai when its URL is set, else local when its model and runtime are here, else the slot writer.

    Raises:
        SettingError: the setting names no engine, or one whose own settings are missing.
        EngineError: the local engine's runtime is not installed.
        ModelFileError: the local engine's model is not here.
    """
    wanted = settings.text_engine
    if wanted not in ENGINES:
        raise SettingError(
            f"{wanted!r} is not an engine", field="text_engine", mend=f"use one of: {', '.join(ENGINES)}"
        )
    if wanted == "openai" or (wanted == "auto" and settings.openai_url):
        return OpenAIEngine("", settings.openai_key, settings.openai_model, endpoint=endpoint_of(settings))
    if wanted == "slot":
        return SlotEngine()
    if wanted == "hf":
        if not settings.hf_model:
            raise SettingError("is empty", field="hf_model", mend="set ARAUTO_HF_MODEL to a model's name or folder")
        return TransformersEngine(settings.hf_model, threads=settings.model_threads)
    path = models.path(settings.local_model)
    runtime = importlib.util.find_spec("xllamacpp") is not None
    if wanted == "auto" and not (runtime and path.exists()):
        return SlotEngine()
    if not runtime:
        raise EngineError(
            "the runtime of local models is not installed",
            field="text_engine",
            mend="pip install 'arauto[local]', or set text_engine to slot",
        )
    if not path.exists():
        raise ModelFileError(
            f"{path} is missing", field="local_model", mend=f"run `arauto models pull {settings.local_model}`"
        )
    return LocalEngine(path, threads=settings.model_threads)


def choose_voice(settings: Settings, models: ModelStore) -> VoiceEngine | None:
    """The voice of ``settings.voice_engine``; None when nobody speaks. Nothing is loaded yet.

    ``auto``: openai when its URL and voice model are set, else the best of this machine, else None.

    Raises:
        SettingError: the setting names no voice, or one whose own settings are missing.
        EngineError: ``local`` was asked for and the extra is not installed.
    """
    wanted = settings.voice_engine
    if wanted not in VOICES:
        raise SettingError(f"{wanted!r} is not a voice", field="voice_engine", mend=f"use one of: {', '.join(VOICES)}")
    if wanted == "none":
        return None
    if wanted == "openai" or (wanted == "auto" and settings.openai_url and settings.openai_voice_model):
        return OpenAIVoice(endpoint_of(settings), settings.openai_voice_model, settings.openai_voice)
    voice = local_voice(models.path, threads=settings.model_threads)
    if voice is None and wanted == "local":
        raise EngineError("no voice is installed", field="voice_engine", mend=NEEDS_EXTRA)
    return voice


def choose_image(settings: Settings) -> ImageEngine | None:
    """The picture engine: the endpoint's when its URL and ``openai_image_model`` are set, else the one of
    ``local_image_model``, else None.

    Raises:
        EngineError: a local model is named and the library is not installed.
    """
    if settings.openai_url and settings.openai_image_model:
        return OpenAIImage(endpoint_of(settings), settings.openai_image_model)
    return DiffusersImage(settings.local_image_model) if settings.local_image_model else None


@lru_cache(maxsize=4)
def endpoint_of(settings: Settings) -> Endpoint:
    """The one endpoint of these settings: text, voice and pictures share its connections, budget and cache."""
    prices = Prices(
        tokens_in=settings.openai_price_input,
        tokens_out=settings.openai_price_output,
        characters=settings.openai_price_speech,
        picture=settings.openai_price_image,
    )
    budget = Budget(money=settings.openai_max_spend, tokens=settings.openai_max_tokens, prices=prices)
    cache = Cache(settings.home / "cache") if settings.openai_cache else None
    return Endpoint(settings.openai_url, settings.openai_key, budget=budget, cache=cache)
