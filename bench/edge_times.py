"""Edge: times in Chromium, and page-load cost. Run it on a calm machine: under three minutes.

Needs ``ARAUTO_DATA_DIR`` and a Chromium. The peers: ``python -m bench edge_peers``.
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
