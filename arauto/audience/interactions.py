"""A log of who met what, when: checked columns, in order, and its split by time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arauto.core.errors import InputError

Codes = NDArray[np.int64]
COLUMNS = ("user_id", "item_id", "timestamp")
MOST_ITEMS = 20_000
"""Items that are modelled, the most met ones first: the closed form holds their square in memory."""


@dataclass(frozen=True, slots=True)
class Interactions:
    """Who met which item, each pair once, sorted by user and within a user by time.

    ``users`` and ``items`` are codes into ``user_names`` and ``item_names``; user ``u`` owns the rows from
    ``starts[u]`` to ``starts[u + 1]``. ``times`` is in the unit of the source.
    """

    users: Codes
    items: Codes
    times: NDArray[np.float64]
    user_names: NDArray[Any]
    item_names: NDArray[Any]
    starts: Codes

    @property
    def place(self) -> Codes:
        """Of each row, how many of its user's come before it."""
        return np.arange(len(self.users)) - self.starts[self.users]

    @property
    def left(self) -> Codes:
        """Of each row, how many of its user's come after it."""
        return self.starts[self.users + 1] - 1 - np.arange(len(self.users))

    def keep(self, rows: NDArray[np.bool_]) -> Interactions:
        """The same users and items with some of the rows."""
        users = self.users[rows]
        counts = np.bincount(users, minlength=len(self.user_names))
        return Interactions(
            users,
            self.items[rows],
            self.times[rows],
            self.user_names,
            self.item_names,
            np.concatenate([[0], np.cumsum(counts)]),
        )

    def parts(self, rows: int) -> Iterator[Interactions]:
        """The log in parts of whole users: each as many as have ``rows`` rows, or one who has more."""
        first, users = 0, len(self.user_names)
        while first < users:
            last = max(first + 1, int(np.searchsorted(self.starts, self.starts[first] + rows, side="right")) - 1)
            cut = slice(self.starts[first], self.starts[last])
            yield Interactions(
                self.users[cut] - first,
                self.items[cut],
                self.times[cut],
                self.user_names[first:last],
                self.item_names,
                self.starts[first : last + 1] - self.starts[first],
            )
            first = last


def interactions_of(columns: Mapping[str, NDArray[Any]]) -> Interactions:
    """Check and sort the columns ``user_id``, ``item_id`` and ``timestamp``. Equal times keep the order of the file.

    A user's later meetings with the same item are left out: a recommendation is of something new.

    Raises:
        InputError: a column is missing, a time is no number, or there are more items than are modelled.
    """
    for name in COLUMNS:
        if name not in columns:
            raise InputError("is missing", field=name, mend=f"give the columns {', '.join(COLUMNS)}")
    try:
        times = _times(columns["timestamp"])
    except (TypeError, ValueError):
        raise InputError("is no number or date", field="timestamp", mend="give seconds, or a date column") from None
    if not np.isfinite(times).all():
        raise InputError("holds no time in some row", field="timestamp", mend="leave those rows out")
    user_names, users = np.unique(columns["user_id"], return_inverse=True)
    item_names, items = np.unique(columns["item_id"], return_inverse=True)
    if len(item_names) > MOST_ITEMS:
        raise InputError(
            f"holds {len(item_names):,} items, more than {MOST_ITEMS:,}",
            field="item_id",
            mend="leave out the rarest, or group them",
        )
    order = np.lexsort((np.arange(len(times)), times, users))
    pair = users[order] * len(item_names) + items[order]
    first = np.zeros(len(pair), dtype=bool)
    first[np.unique(pair, return_index=True)[1]] = True
    order = order[first]
    counts = np.bincount(users[order], minlength=len(user_names))
    return Interactions(
        users[order].astype(np.int64),
        items[order].astype(np.int64),
        times[order],
        user_names,
        item_names,
        np.concatenate([[0], np.cumsum(counts)]),
    )


def _times(column: NDArray[Any]) -> NDArray[np.float64]:
    if np.issubdtype(column.dtype, np.datetime64):
        column = column.astype("datetime64[ms]").astype(np.int64)
    return column.astype(np.float64)


@dataclass(frozen=True, slots=True)
class Split:
    """Leave-last-out by time. ``fit`` has no event of the two that are held back of each user who has at least three:
    ``valid`` and ``test``, items by user in ``users``. ``known`` is ``fit`` with the validation items."""

    fit: Interactions
    known: Interactions
    users: Codes
    valid: Codes
    test: Codes


def leave_last_out(log: Interactions) -> Split:
    """Hold back each user's last item to test, and the one before it to tune.

    Raises:
        InputError: nobody has three items.
    """
    counts = np.diff(log.starts)
    users = np.flatnonzero(counts >= 3)
    if not len(users):
        raise InputError("has no user with three items", field="data", mend="give a longer log")
    long_enough = counts[log.users] >= 3
    ends = log.starts[users + 1]
    return Split(
        log.keep(~long_enough | (log.left >= 2)),
        log.keep(~long_enough | (log.left >= 1)),
        users,
        log.items[ends - 2],
        log.items[ends - 1],
    )
