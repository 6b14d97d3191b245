"""What a figure was measured on, and where it is written down."""

from __future__ import annotations

import json
import os
import platform
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("granian", "uvloop", "msgspec", "numpy", "psycopg", "starlette", "fastapi", "uvicorn", "pydantic")


def describe() -> dict[str, Any]:
    """The machine, and how busy it was with other things when asked."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "system": f"{platform.system()} {platform.machine()}",
        "python": sys.version.split()[0],
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
    }


def write_result(name: str, result: dict[str, Any]) -> None:
    """Keep ``result`` as ``bench/results/NAME.json``, with the machine and the time, and print it."""
    whole = {"bench": name, "at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": describe(), **result}
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(whole, indent=2, ensure_ascii=False)
    (RESULTS / f"{name}.json").write_text(text + "\n", "utf-8")
    print(text)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
