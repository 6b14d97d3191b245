"""Edge: times in Chromium, ours and the peers', page-load cost. Run it on a calm machine, under three minutes.

Needs ``ARAUTO_DATA_DIR`` and a Chromium; ``ARAUTO_EDGE_PEERS`` for the peers (bench/edge_peers.py).
"""

from __future__ import annotations

import asyncio
from typing import Any

from bench.edge import texts
from bench.edge_browser import times


def main() -> dict[str, Any]:
    """Measure."""
    found = asyncio.run(times(texts()))
    return {"passed": all(found["promises"].values()), **found}
