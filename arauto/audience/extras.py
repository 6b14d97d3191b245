"""What the extra ``arauto[audience]`` brings: imported when first needed, or an error with the mend."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from arauto.core.errors import InputError


def need(name: str) -> ModuleType:
    """The module ``name``.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise InputError(f"{name} is not installed", field="audience", mend="pip install 'arauto[audience]'") from None


def has(name: str) -> bool:
    """Whether the module can be imported."""
    return importlib.util.find_spec(name) is not None
