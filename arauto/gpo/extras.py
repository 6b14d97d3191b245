"""What the extra ``arauto[train]`` brings: imported when first needed, or an error with the mend."""

from __future__ import annotations

import importlib
from types import ModuleType

from arauto.core.errors import InputError


def need(name: str) -> ModuleType:
    """The module ``name``.

    Raises:
        InputError: it is not installed.
    """
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError:
        raise InputError(f"{name} is not installed", field="train", mend="pip install 'arauto[train]'") from None
    if name == "transformers":
        # Its bars would run into ours.
        module.utils.logging.disable_progress_bar()
    return module
