"""What the machine itself costs in punctuality: a process that does nothing, and is due every millisecond.

``python bench/pauses.py SECONDS`` prints by how much it was late, in milliseconds, and the share of time stolen.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

STEP = 0.001


def lateness(seconds: float) -> list[float]:
    """By how many milliseconds each waking was late. One that is missed is not made up for."""
    late: list[float] = []
    clock = time.perf_counter
    end = clock() + seconds
    due = clock() + STEP
    while due < end:
        time.sleep(max(0.0, due - clock()))
        now = clock()
        late.append((now - due) * 1000)
        # Each step that passed meanwhile was late as well: an event due then would have waited.
        while due + STEP < now:
            due += STEP
            late.append((now - due) * 1000)
        due += STEP
    return late


def quantiles(late: list[float]) -> dict[str, float]:
    """The median, p99, p99.9 and the worst."""
    ordered = sorted(late)
    places = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999, "worst_ms": 1.0}
    return {name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] for name, share in places.items()}


def beside(seconds: float) -> subprocess.Popen[str]:
    """The idle process, begun beside the one that asks."""
    return subprocess.Popen([sys.executable, "-P", Path(__file__), str(seconds)], stdout=subprocess.PIPE, text=True)


def told(idle: subprocess.Popen[str]) -> dict[str, Any]:
    """What it saw, once it has ended."""
    said, _ = idle.communicate(timeout=120)
    found: dict[str, Any] = json.loads(said)
    return found


if __name__ == "__main__":
    print(json.dumps(quantiles(lateness(float(sys.argv[1])))))
