"""Which engine the settings ask for."""

from __future__ import annotations

import importlib.util

from arauto.core.errors import EngineError, ModelFileError, SettingError
from arauto.core.settings import Settings
from arauto.creative.engines.local import LocalEngine
from arauto.creative.engines.openai import OpenAIEngine
from arauto.creative.models import ModelStore
from arauto.creative.slots import SlotEngine
from arauto.creative.types import TextEngine

ENGINES = ("auto", "slot", "local", "openai")


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
        return OpenAIEngine(settings.openai_url, settings.openai_key, settings.openai_model)
    if wanted == "slot":
        return SlotEngine()
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
