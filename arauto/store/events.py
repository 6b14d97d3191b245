"""The event log: every event stored once, its decision's exposure and the rollups updated in the same transaction."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from importlib import resources
from typing import Any
from uuid import UUID

import psycopg
from psycopg import AsyncRawCursor
from psycopg.rows import DictRow, dict_row

from arauto.core.errors import StoreError
from arauto.core.events import HELD_OUT, REPEAT, EventRow
from arauto.store.batch import JOINED, Choice, Entry, Facts, Fold, choose, encode, tie, to_entry
from arauto.store.database import RETRY_SECONDS, Database, is_outage, translated
from arauto.store.records import Appended, AppendStatus
from arauto.store.shards import Shard

_SQL = resources.files("arauto.store").joinpath("sql")
_APPEND = _SQL.joinpath("append.sql").read_bytes()
_ATTRIBUTE = _SQL.joinpath("attribute.sql").read_bytes()
_ENTER = _SQL.joinpath("enter.sql").read_bytes()
_ERASED = "AR001"  # raised by append.sql
_MAX_ROWS = 20_000  # of one statement: some 5 MB of JSON
_MAX_TURNS = 8  # of one batch against others that take the same ids


class _ClashError(Exception):
    """A batch holds an id that belongs to another event, or an event of an erased visitor."""


class _Outcome:
    """What is known so far of a batch's rows."""

    def __init__(self, size: int) -> None:
        self.status: list[AppendStatus] = ["stored"] * size
        self.problems: dict[int, str] = {}
        self.changed: set[int] = set()
        self.joined: dict[int, tuple[int, float | None]] = {}

    def refuse(self, n: int, problem: str) -> None:
        self.status[n] = "refused"
        self.problems[n] = problem

    def repeat(self, n: int, first: int) -> None:
        """Row ``n`` says what row ``first`` said."""
        if self.status[first] == "refused":
            self.refuse(n, self.problems[first])
        else:
            self.status[n] = "duplicate"


class EventLog:
    """Appends events over a connection of its own, one transaction at a time.

    Nobody is told of changed totals: a NOTIFY in every append would make all commits wait for one lock, so the caller
    tells of many appends at once (:meth:`arauto.store.Store.notify`).
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._shard = Shard(database)
        self._turn = asyncio.Lock()

    async def append(self, rows: Sequence[EventRow]) -> Appended:
        """Store ``rows`` and count them; committed when this returns.

        Repeats change nothing, also after a lost connection, when nobody knows whether the commit went through: the
        append is then tried again, for as long as the store is patient. A row that the database cannot keep is refused
        alone. More than 20,000 rows are committed in parts.

        Raises:
            StoreError: when the database stayed away. Nothing is known of the rows; append them again.
        """
        outcome = _Outcome(len(rows))
        tied: list[Entry] = []
        loose: list[Entry] = []
        for n, row in enumerate(rows):
            try:
                entry = to_entry(n, row)
            except ValueError as failure:
                outcome.refuse(n, str(failure))
                continue
            joins = entry.facts is None and entry.visitor is not None and entry.line.t in JOINED
            (loose if joins else tied).append(entry)
        async with self._turn:
            for part in _parts(tied):
                await self._write(part, outcome)
            for part in _parts(loose):
                await self._attribute(part, outcome)
        return Appended(
            status=outcome.status,
            changed=frozenset(outcome.changed),
            problems=outcome.problems,
            joined=outcome.joined,
        )

    async def close(self) -> None:
        async with self._turn:
            await self._shard.close()

    async def _attribute(self, entries: list[Entry], outcome: _Outcome) -> None:
        """Join outcomes to their visitors' last exposures, then write them."""
        lines = [entry.line for entry in entries]
        wanted = [{"n": line.n, "v": line.v, "s": line.s, "c": line.c, "o": line.o} for line in lines]
        try:
            rows = await self._run(_ATTRIBUTE, lambda: [encode(wanted)], set())
        except (psycopg.DataError, UnicodeError):
            rows = []  # a number out of range: writing finds whose it is
        found = {row.pop("n"): Facts(**row) for row in rows}
        for entry in entries:
            if (facts := found.get(entry.line.n)) is not None:
                tie(entry, facts)
                outcome.joined[entry.line.n] = facts.variant_id, facts.propensity
        await self._write(entries, outcome)

    async def _write(self, entries: list[Entry], outcome: _Outcome) -> None:
        """Write events as if they came one after the other."""
        turns = 0
        while entries:
            choice = choose(entries)
            try:
                await self._append(choice, {entry.tomb for entry in entries if entry.tomb is not None}, outcome)
            except _ClashError:
                turns += 1
                if turns > _MAX_TURNS:
                    raise StoreError("events with the same ids keep arriving", mend="append the batch again") from None
                entries = await self._without_clashes(entries, outcome)
            except (psycopg.DataError, UnicodeError) as failure:
                if len(entries) == 1:
                    outcome.refuse(entries[0].line.n, f"cannot be kept: {_told(failure)}")
                    return
                middle = len(entries) // 2
                await self._write(entries[:middle], outcome)
                entries = entries[middle:]
            else:
                for twin, first in choice.twins:
                    outcome.repeat(twin.line.n, first.line.n)
                entries = choice.later

    async def _append(self, choice: Choice, tombs: set[str], outcome: _Outcome) -> None:
        folds = sorted(choice.folds.values(), key=lambda fold: fold.d.int)
        campaigns = {fold.c for fold in folds}
        await self._enter(folds)
        told, lines = encode(folds), encode([entry.line for entry in choice.now])
        (row,) = await self._run(
            _APPEND, lambda: [told, lines, self._shard.number, list(tombs)], outcome.changed, campaigns
        )
        missed = row["missed"] or ()
        if len(missed) < len(choice.now):
            outcome.changed |= campaigns
        for n in missed:
            outcome.status[n] = "duplicate"
        for n in row["refused"] or ():
            outcome.refuse(n, "its decision has told of as many orders or items as it may")

    async def _enter(self, folds: Sequence[Fold]) -> None:
        """Where a release counts visitors, let the first decision of each be the one that counts.

        Committed by itself: should the append be lost, the same decision comes again, and is still the first.
        """
        coming = [fold for fold in folds if fold.once and fold.st > HELD_OUT and fold.tomb is not None]
        if not coming:
            return
        told = encode([{"d": fold.d, "v": fold.tomb, "st": fold.st} for fold in coming])
        repeats = {row["d"] for row in await self._run(_ENTER, lambda: [told])}
        for fold in coming:
            if fold.d in repeats:
                fold.st = REPEAT

    async def _without_clashes(self, entries: list[Entry], outcome: _Outcome) -> list[Entry]:
        """The entries whose ids the log does not have, of visitors not erased. The fate of the others is set."""
        ids = [entry.line.id for entry in entries]
        tombs = [entry.tomb for entry in entries if entry.tomb is not None]
        rows = await self._run(b"SELECT event_id FROM events WHERE event_id = ANY($1)", lambda: [ids])
        taken: set[UUID] = {row["event_id"] for row in rows}
        rows = await self._run(b"SELECT tomb FROM erasures WHERE tomb = ANY($1)", lambda: [tombs])
        erased: set[str] = {row["tomb"] for row in rows}
        left: list[Entry] = []
        for entry in entries:
            if entry.tomb in erased:
                outcome.status[entry.line.n] = "erased"
            elif entry.line.id in taken:
                outcome.status[entry.line.n] = "duplicate"
            else:
                left.append(entry)
        return left

    async def _run(
        self,
        query: bytes,
        params: Callable[[], list[Any]],
        unsure: set[int] | None = None,
        campaigns: Iterable[int] = (),
    ) -> list[DictRow]:
        """Run one statement of the writer, again and again while the server is away.

        A lost try may have been committed, and what it changed is then told by nobody else: so its ``campaigns`` are
        added to ``unsure``.
        """
        deadline = time.monotonic() + self._database.patience
        while True:
            try:
                connection = await self._shard.connection()
                cursor = AsyncRawCursor(connection, row_factory=dict_row)
                await cursor.execute(query, params(), prepare=True)
                return await cursor.fetchall()
            except psycopg.Error as failure:
                if isinstance(failure, psycopg.errors.UniqueViolation) or failure.sqlstate == _ERASED:
                    raise _ClashError from None
                if isinstance(failure, psycopg.DataError):
                    raise
                if not is_outage(failure) or time.monotonic() > deadline:
                    raise translated(failure) from failure
                if unsure is not None:
                    unsure.update(campaigns)
                await asyncio.sleep(RETRY_SECONDS)
            except asyncio.CancelledError:
                await self._shard.close()
                raise


def _parts(entries: list[Entry]) -> list[list[Entry]]:
    return [entries[start : start + _MAX_ROWS] for start in range(0, len(entries), _MAX_ROWS)]


def _told(failure: Exception) -> str:
    return (failure.diag.message_primary if isinstance(failure, psycopg.Error) else None) or str(failure)
