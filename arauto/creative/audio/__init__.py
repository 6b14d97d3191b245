"""Sound: script, voice over music, mixed to a named loudness; WAV, MP3, Opus; captions; checks."""

from arauto.creative.audio.checks import check_audio
from arauto.creative.audio.render import render_audio
from arauto.creative.audio.saying import said
from arauto.creative.audio.standards import Profile, media_rules, profiles
from arauto.creative.sound.loudness import loudness, true_peak

__all__ = ["Profile", "check_audio", "loudness", "media_rules", "profiles", "render_audio", "said", "true_peak"]
