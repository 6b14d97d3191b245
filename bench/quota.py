"""Processes held to a share of a core, so that one machine stands for several small ones, or for a small one alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

PERIOD_US = 20_000
CGROUP = Path("/sys/fs/cgroup/cpu")


@contextmanager
def limited(families: Sequence[Sequence[psutil.Process]], share: float) -> Iterator[bool]:
    """Let each family of processes use ``share`` of a core, where the system lets us say so (cgroup v1; needs root);
    whether it does. What they start from now on belongs to them."""
    folders = [CGROUP / f"arauto-bench-{place}" for place in range(len(families))]
    try:
        for folder, family in zip(folders, families, strict=True):
            folder.mkdir(exist_ok=True)
            (folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (folder / "cpu.cfs_quota_us").write_text(str(int(share * PERIOD_US)))
            for process in family:
                (folder / "cgroup.procs").write_text(str(process.pid))
        yield True
    except OSError:
        yield False
    finally:
        for folder in folders:
            with suppress(OSError):
                for pid in (folder / "cgroup.procs").read_text("ascii").split():
                    with suppress(OSError):
                        (CGROUP / "cgroup.procs").write_text(pid)
            with suppress(OSError):
                folder.rmdir()
