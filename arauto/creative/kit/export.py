"""Bundles for ad platforms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from arauto.core.kit import Kit

BUNDLES: tuple[str, ...] = ("google-ads", "meta", "html5", "adcp")


def export_kit(kit: Kit, folder: Path, out: Path, kinds: Sequence[str]) -> list[Path]:
    """Placeholder."""
    return []
