"""Where a training stands: parameters, Adam's moments and the step, as one safetensors file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arauto.core.errors import ModelFileError
from arauto.core.files import write_whole
from arauto.gpo.extras import need

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def save_state(
    path: Path, step: int, parameters: Mapping[str, Any], optimiser: Any, notes: Mapping[str, str] | None = None
) -> None:
    """Write ``parameters`` (by name) and what ``optimiser`` (Adam or AdamW) remembers of them, after ``step`` steps."""
    safetensors = need("safetensors.torch")
    tensors: dict[str, Any] = {}
    for name, parameter in parameters.items():
        tensors[f"value.{name}"] = parameter.detach().contiguous()
        for moment in _MOMENTS:
            if moment in optimiser.state.get(parameter, {}):
                tensors[f"{moment}.{name}"] = optimiser.state[parameter][moment].contiguous()
    write_whole(path, safetensors.save(tensors, {"step": str(step), **(notes or {})}))


def load_state(path: Path, parameters: Mapping[str, Any], optimiser: Any) -> int:
    """Put the state back; the step it was written at, or 0 when there is none.

    Raises:
        ModelFileError: the file is of another model.
    """
    if not path.exists():
        return 0
    torch, safe_open = need("torch"), need("safetensors").safe_open
    try:
        with safe_open(path, framework="pt") as file, torch.no_grad():
            step = int(file.metadata()["step"])
            names = set(file.keys())
            for name, parameter in parameters.items():
                parameter.copy_(file.get_tensor(f"value.{name}"))
                moments = {m: file.get_tensor(f"{m}.{name}") for m in _MOMENTS if f"{m}.{name}" in names}
                if moments:
                    optimiser.state[parameter] = moments
    except Exception as failure:
        raise ModelFileError(
            f"{path} is not a checkpoint of this job: {failure}", field="work", mend="remove it"
        ) from None
    return step


def read_notes(path: Path) -> dict[str, str]:
    """The notes that :func:`save_state` was given, and ``step``."""
    with need("safetensors").safe_open(path, framework="np") as file:
        return dict(file.metadata() or {})
