"""What the benchmarks of the room `experiments` share: where results, data and peers are.

Peers run in virtual environments of their own, so that none becomes a dependency of ours::

    python -m venv .venv-peers && .venv-peers/bin/pip install -r bench/peers.txt
    python -m venv .venv-peers-obp && .venv-peers-obp/bin/pip install -r bench/peers-obp.txt
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from arauto.core.settings import load_settings

HERE = Path(__file__).parent


def data_path(*parts: str) -> Path | None:
    """A file of the data folder (``ARAUTO_DATA_DIR``), or None when it is not there."""
    folder = load_settings().data_dir
    path = folder.joinpath(*parts) if folder else None
    return path if path and path.exists() else None


def peer(script: str, venv: str, given: dict[str, Any], arrays: dict[str, np.ndarray] | None = None) -> dict[str, Any]:
    """Run ``bench/<script>`` in a peers' environment; its answer, or ``{"missing": why}``.

    ``BENCH_PEERS`` may name the folder that holds the environments; the current one by default.
    """
    python = Path(os.environ.get("BENCH_PEERS", ".")) / venv / "bin" / "python"
    if not python.exists():
        return {"missing": f"{python} is not there: see bench/experiments_common.py"}
    with tempfile.TemporaryDirectory() as folder:
        question, answer = Path(folder) / "in.npz", Path(folder) / "out.json"
        packed: dict[str, Any] = {"given": np.array(json.dumps(given)), **(arrays or {})}
        np.savez(question, **packed)
        done = subprocess.run(
            [python.absolute(), "-P", HERE / script, question, answer], check=False, capture_output=True, text=True
        )
        if done.returncode:
            print(done.stderr, file=sys.stderr)
            return {"missing": f"{script} failed: {(done.stderr.strip() or str(done.returncode)).splitlines()[-1]}"}
        found: dict[str, Any] = json.loads(answer.read_text("utf-8"))
        return found


def upper(k: int, n: int) -> float:
    """The upper end of Wilson's 95 % interval."""
    from arauto.experiments import wilson_interval

    return round(wilson_interval(k, n).high, 4)


def finish(figures: dict[str, Any], started: float, *, passed: bool) -> dict[str, Any]:
    """The result as plain JSON, with the CPU seconds it took; ``passed``: every promise was kept."""
    plain: dict[str, Any] = _plain({"passed": passed, **figures, "cpu_seconds": time.process_time() - started})
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return round(value, 5) if math.isfinite(value) else None
    return value
