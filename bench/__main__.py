"""``python -m bench``: every benchmark, or those named. Exits with 1 when a promise was not kept."""

import importlib
import sys
from typing import Any

from bench.machine import write_result

NAMES = (
    "audience_crash",
    "audience_freshness",
    "audience_index",
    "audience_offers",
    "audience_quality",
    "audience_segments",
    "http",
    "events",
    "dashboard",
    "dashboard_first",
    "store",
    "fuzz",
    "replay",
    "crash",
    "faults",
    "ray_workers",
    "scale",
    "capacity",
    "soak",
    "engines",
    "kit",
    "edge",
    "edge_peers",
    "edge_times",
    "federated_bids",
    "federated_browser",
    "federated_ctr",
    "federated_dropouts",
    "federated_language",
    "federated_mixed",
    "federated_movielens",
    "federated_scale",
    "federated_secagg",
    "experiments_sequences",
    "experiments_bandits",
    "experiments_offpolicy",
    "experiments_release",
    "experiments_uplift",
    "gpo_action",
    "gpo_control",
    "gpo_hacking",
    "gpo_ranking",
    "gpo_reward",
    "gpo_rllib",
    "gpo_turn",
    "gpo_curves",
)


def run(name: str) -> bool:
    """Run one and keep its result. Whether it kept its promises."""
    print(f"── {name}", flush=True)
    result: Any = importlib.import_module(f"bench.{name}").main()
    if isinstance(result, dict):
        write_result(name, result)
        return bool(result.get("passed", True))
    # One that writes its own result answers with an exit code.
    return bool(result == 0)


def main(names: list[str]) -> int:
    """Run them one after the other."""
    if unknown := [name for name in names if name not in NAMES]:
        print(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    kept = [run(name) for name in names or NAMES]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
