"""The engines: what writes, speaks, plays and draws. Each kind sits behind one seam, and nothing outside knows which.

Text: :class:`~arauto.creative.types.TextEngine`. The others: ``VoiceEngine``, ``MusicEngine``, ``ImageEngine``.
"""

from arauto.creative.engines.budget import Budget, Cost, Prices
from arauto.creative.engines.cache import Cache
from arauto.creative.engines.choose import choose_engine, choose_image, choose_voice
from arauto.creative.engines.endpoint import Endpoint
from arauto.creative.engines.image import DiffusersImage, ImageAsk, ImageEngine, ScriptedImage
from arauto.creative.engines.local import LocalEngine
from arauto.creative.engines.music import Composer, MusicAsk, MusicEngine, Recording, ScriptedMusic
from arauto.creative.engines.openai import OpenAIEngine
from arauto.creative.engines.openai_media import OpenAIImage, OpenAIVoice
from arauto.creative.engines.scripted import ScriptedEngine
from arauto.creative.engines.voice import EspeakVoice, KokoroVoice, ScriptedVoice, VoiceEngine, local_voice
from arauto.creative.engines.wire import HttpxWire

__all__ = [
    "Budget",
    "Cache",
    "Composer",
    "Cost",
    "DiffusersImage",
    "Endpoint",
    "EspeakVoice",
    "HttpxWire",
    "ImageAsk",
    "ImageEngine",
    "KokoroVoice",
    "LocalEngine",
    "MusicAsk",
    "MusicEngine",
    "OpenAIEngine",
    "OpenAIImage",
    "OpenAIVoice",
    "Prices",
    "Recording",
    "ScriptedEngine",
    "ScriptedImage",
    "ScriptedMusic",
    "ScriptedVoice",
    "VoiceEngine",
    "choose_engine",
    "choose_image",
    "choose_voice",
    "local_voice",
]
