"""Pairs of arms that may be compared: same test, same image, different text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arauto.gpo.table import Floats, Ints, Table

SIGNIFICANT = 1.96


@dataclass(frozen=True)
class Pairs:
    """m pairs of rows of a table. ``z`` is the pooled two-proportion statistic, positive where ``first`` did better.

    ``cluster`` is the test of each pair: pairs of one test stand or fall together in a bootstrap.
    """

    first: Ints
    second: Ints
    z: Floats
    cluster: Ints

    @property
    def significant(self) -> NDArray[np.bool_]:
        """Where the counts tell the two apart at 5 %."""
        return np.abs(self.z) > SIGNIFICANT


def pairs_of(table: Table) -> Pairs:
    """Every pair within a test and image; pairs whose counts tie or whose rows were never shown are left out."""
    order = np.argsort(table.group, kind="stable")
    starts = np.flatnonzero(np.diff(table.group[order], prepend=-1))
    first: list[Ints] = []
    second: list[Ints] = []
    for rows in np.split(order, starts[1:]):
        shown = rows[table.impressions[rows] > 0.0]
        a, b = np.triu_indices(shown.size, k=1)
        first.append(shown[a])
        second.append(shown[b])
    i, j = np.concatenate(first), np.concatenate(second)
    z = z_of(table.clicks[i], table.impressions[i], table.clicks[j], table.impressions[j])
    texts = np.unique(np.array(table.text, dtype=object), return_inverse=True)[1]
    keep = (z != 0.0) & (texts[i] != texts[j])
    return Pairs(i[keep], j[keep], z[keep], table.test[i[keep]])


def z_of(clicks_a: Floats, shown_a: Floats, clicks_b: Floats, shown_b: Floats) -> Floats:
    """The pooled two-proportion z of each pair; 0 where nothing can be told."""
    pooled = (clicks_a + clicks_b) / (shown_a + shown_b)
    spread = np.sqrt(np.maximum(pooled * (1.0 - pooled) * (1.0 / shown_a + 1.0 / shown_b), 1e-300))
    z: Floats = np.where(pooled > 0.0, (clicks_a / shown_a - clicks_b / shown_b) / spread, 0.0)
    return z
