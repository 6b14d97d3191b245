"""An unexpected error for the log: its type and where it was raised, never its message (personal data)."""

from __future__ import annotations

import traceback
from pathlib import Path


def where(error: BaseException) -> str:
    """``ValueError at decide.py:120 in take < runtime.py:88 in reload``: the innermost frame first."""
    frames = reversed(traceback.extract_tb(error.__traceback__)[-6:])
    places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}" for frame in frames)
    return f"{type(error).__name__} at {places or 'an unknown place'}"
