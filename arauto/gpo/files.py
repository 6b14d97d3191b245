"""Files of a job: tensors as safetensors, never pickle; each appears whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arauto.core.errors import ModelFileError
from arauto.core.files import write_whole
from arauto.gpo.extras import need


def save_tensors(path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None) -> None:
    """NumPy arrays as one safetensors file."""
    safetensors = need("safetensors.numpy")
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    write_whole(path, safetensors.save(contiguous, dict(metadata) if metadata else None))


def load_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """What :func:`save_tensors` wrote.

    Raises:
        ModelFileError: the file is missing, cut short, or no safetensors.
    """
    safetensors = need("safetensors.numpy")
    try:
        loaded: dict[str, NDArray[Any]] = safetensors.load(path.read_bytes())
    except FileNotFoundError:
        raise ModelFileError(f"{path} is not there", field="file", mend="run the job again") from None
    except Exception as failure:
        raise ModelFileError(
            f"{path} is no safetensors file: {failure}", field="file", mend="run the job again"
        ) from None
    return loaded
