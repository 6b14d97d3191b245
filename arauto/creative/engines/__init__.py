"""The text engines: what writes one draft. Each sits behind :class:`~arauto.creative.types.TextEngine`."""

from arauto.creative.engines.choose import choose_engine
from arauto.creative.engines.local import LocalEngine
from arauto.creative.engines.openai import OpenAIEngine
from arauto.creative.engines.scripted import ScriptedEngine

__all__ = ["LocalEngine", "OpenAIEngine", "ScriptedEngine", "choose_engine"]
