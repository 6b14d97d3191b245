"""Federated rounds as rows: a task's budget, its models, the messages of its rounds.

What belongs together is one transaction: a message and the phase it was taken in; a phase and the budget it costs; a
round's end, its receipt and the model it made.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import LiteralString

import msgspec
from psycopg.rows import DictRow

from arauto.core.clock import Clock
from arauto.core.errors import ConflictError, InputError, NotFoundError
from arauto.store.database import Connection, Database

_ROUND: LiteralString = (
    "SELECT id, task, offer, rho, charged, phase, deadline_ms, patience_ms, reason, receipt, opened_ms, ended_ms,"
    " joined, shared, delivered, unmasked, update_norm FROM federated_rounds"
)
_TASK: LiteralString = "SELECT name, epsilon, delta, rho, free FROM federated_tasks"
_MODEL: LiteralString = (
    "SELECT task, version, sha256, weights, state, round, created_ms, ARRAY(SELECT rollout_id FROM federated_releases r"
    " WHERE r.task = m.task AND r.version = m.version ORDER BY 1) AS rollouts FROM federated_models m"
)
_SITE: LiteralString = "SELECT name, quota, created_ms, revoked_ms FROM federated_sites"


class TaskRow(msgspec.Struct, frozen=True):
    """A task: what one device may give to it in all (ε at δ), ρ paid so far, and whether anyone may join (``free``)."""

    name: str
    epsilon: float
    delta: float
    rho: float
    free: bool = False


class RoundRow(msgspec.Struct, frozen=True):
    """A round as it stands. ``joined`` … ``unmasked``: messages taken in each phase that has ended; ``update_norm``: of
    the mean update, L2."""

    id: str
    task: str
    offer: bytes
    rho: float
    patience_ms: int
    deadline_ms: int
    charged: bool = False
    phase: str = "join"
    reason: str = ""
    receipt: bytes | None = None
    opened_ms: int = 0
    ended_ms: int | None = None
    joined: int | None = None
    shared: int | None = None
    delivered: int | None = None
    unmasked: int | None = None
    update_norm: float | None = None


class FederatedModel(msgspec.Struct, frozen=True):
    """A model of a task. ``weights``: float32, little-endian; ``round`` None: the first, or one that was given;
    ``rollouts``: its releases."""

    task: str
    version: int
    sha256: str
    weights: bytes
    state: bytes
    round: str | None
    rollouts: tuple[int, ...] = ()
    created_ms: int = 0


class SiteRow(msgspec.Struct, frozen=True):
    """Who may let ``quota`` clients a round in."""

    name: str
    quota: int
    created_ms: int
    revoked_ms: int | None = None


class FederatedRounds:
    """Tasks, rounds, messages and models."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def new_task(
        self, name: str, epsilon: float, delta: float, weights: bytes, sha256: str, *, free: bool = False
    ) -> None:
        """Raises :class:`ConflictError` when there is one of that name."""
        async with self._database.transaction() as connection:
            made = await connection.execute(
                "INSERT INTO federated_tasks (name, epsilon, delta, free, created_ms) VALUES (%s, %s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                [name, epsilon, delta, free, self._clock.now_ms()],
            )
            if made.rowcount == 0:
                raise ConflictError(f"there is a task {name!r} already", field="task", mend="choose another name")
            await self._insert(connection, FederatedModel(name, 1, sha256, weights, b"", None))

    async def task(self, name: str) -> TaskRow:
        """Raises :class:`NotFoundError`."""
        row = await self._database.fetch_one(_TASK + " WHERE name = %s", [name])
        if row is None:
            raise NotFoundError(f"there is no task {name!r}", field="task", mend="make it first")
        return TaskRow(**row)

    async def tasks(self) -> list[TaskRow]:
        """All tasks, by name."""
        return [TaskRow(**row) for row in await self._database.fetch(_TASK + " ORDER BY name")]

    async def model(self, task: str, version: int | None = None) -> FederatedModel:
        """The last model of a task, or that version. Raises :class:`NotFoundError`."""
        row = await self._database.fetch_one(
            _MODEL + " WHERE task = %s AND (%s::integer IS NULL OR version = %s) ORDER BY version DESC LIMIT 1",
            [task, version, version],
        )
        if row is None:
            raise NotFoundError(f"task {task!r} has no such model", field="task", mend="make the task first")
        return _model(row)

    async def give(self, task: str, weights: bytes, sha256: str) -> FederatedModel:
        """Make weights from elsewhere the task's next model.

        Raises:
            ConflictError: a round of the task is open.
            InputError: its models have another length.
            NotFoundError: there is no such task.
        """
        async with self._database.transaction() as connection:
            # Locks the task, as a round's charge does: of two who give at once, the second sees the first.
            await connection.execute("SELECT 1 FROM federated_tasks WHERE name = %s FOR UPDATE", [task])
            last = await self.model(task)
            if len(last.weights) != len(weights):
                raise InputError(
                    f"has {len(last.weights) // 4:,} numbers, {len(weights) // 4:,} were given",
                    field="task",
                    mend="give as many, or make another task",
                )
            row = await self.last_round(task)
            if row is not None and row.phase not in ("done", "failed"):
                raise ConflictError(f"a round of {task!r} is open", field="task", mend="wait until it has ended")
            # After every round before it, whatever the clocks of two machines say (see `open_round`).
            now = max(self._clock.now_ms(), row.opened_ms + 1 if row else 0)
            given = FederatedModel(task, last.version + 1, sha256, weights, b"", None, created_ms=now)
            await self._insert(connection, given, now)
            return given

    async def given(self, task: str) -> bool:
        """Whether the task's last model was given, and no round was opened for it since."""
        last, row = await self.model(task), await self.last_round(task)
        fresh = row is None or row.opened_ms < last.created_ms
        return last.round is None and last.version > 1 and fresh

    async def last_round(self, task: str) -> RoundRow | None:
        """The round of the task that was opened last."""
        row = await self._database.fetch_one(
            _ROUND + " WHERE task = %s ORDER BY opened_ms DESC, deadline_ms DESC LIMIT 1", [task]
        )
        return RoundRow(**row) if row else None

    async def models(self, task: str) -> list[FederatedModel]:
        """The registry of a task, oldest first."""
        rows = await self._database.fetch(_MODEL + " WHERE task = %s ORDER BY version", [task])
        return [_model(row) for row in rows]

    async def released(self, task: str, version: int, rollout_id: int) -> None:
        """Write down that a release of the model was begun."""
        async with self._database.transaction() as connection:
            await connection.execute(
                "INSERT INTO federated_releases (task, version, rollout_id) VALUES (%s, %s, %s)",
                [task, version, rollout_id],
            )

    async def open_round(self, row: RoundRow) -> None:
        """Raises :class:`ConflictError` while another round of the task is open."""
        async with self._database.transaction() as connection:
            made = await connection.execute(
                "INSERT INTO federated_rounds (id, task, offer, rho, phase, deadline_ms, patience_ms, opened_ms)"
                " VALUES (%s, %s, %s, %s, 'join', %s, %s, GREATEST(%s, (SELECT max(created_ms) FROM federated_models"
                " WHERE task = %s))) ON CONFLICT DO NOTHING",
                [
                    row.id,
                    row.task,
                    row.offer,
                    row.rho,
                    row.deadline_ms,
                    row.patience_ms,
                    self._clock.now_ms(),
                    row.task,
                ],
            )
            if made.rowcount == 0:
                raise ConflictError(f"a round of {row.task!r} is open", field="task", mend="wait until it has ended")

    async def round(self, id: str) -> RoundRow:  # noqa: A002
        """Raises :class:`NotFoundError`."""
        row = await self._database.fetch_one(_ROUND + " WHERE id = %s", [id])
        if row is None:
            raise NotFoundError(f"there is no round {id}", field="round", mend="ask for the offers")
        return RoundRow(**row)

    async def rounds(self, *, open_only: bool = False) -> list[RoundRow]:
        """All rounds, or those that have not ended."""
        where: LiteralString = " WHERE phase NOT IN ('done', 'failed')" if open_only else ""
        return [RoundRow(**row) for row in await self._database.fetch(_ROUND + where + " ORDER BY deadline_ms, id")]

    async def put(self, round_id: str, phase: str, sender: str, frame: bytes, ticket: str | None = None) -> bool:
        """Keep a message that was taken in ``phase``. False when the round has moved on, the sender has one there
        with other bytes, or another sender used its ``ticket``; the same bytes again are welcome."""
        async with self._database.transaction() as connection:
            # Shared with other messages, exclusive with a move: what is kept here, the move sees.
            found = await connection.execute("SELECT phase FROM federated_rounds WHERE id = %s FOR SHARE", [round_id])
            row = await found.fetchone()
            if row is None or row["phase"] != phase:
                return False
            await connection.execute(
                "INSERT INTO federated_messages (round, phase, sender, frame, ticket) VALUES (%s, %s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                [round_id, phase, sender, frame, ticket],
            )
            found = await connection.execute(
                "SELECT frame = %s AS same FROM federated_messages WHERE round = %s AND phase = %s AND sender = %s",
                [frame, round_id, phase, sender],
            )
            kept = await found.fetchone()
            return kept is not None and bool(kept["same"])

    async def messages(self, round_id: str) -> list[tuple[str, bytes]]:
        """Phase and frame of everything taken, in order."""
        rows = await self._database.fetch(
            "SELECT phase, frame FROM federated_messages WHERE round = %s ORDER BY n", [round_id]
        )
        return [(row["phase"], row["frame"]) for row in rows]

    @asynccontextmanager
    async def moving(self, round_id: str) -> AsyncIterator[Move]:
        """Hold a round still, to move it; what the move does is committed as a whole, or not at all."""
        async with self._database.transaction() as connection:
            found = await connection.execute(_ROUND + " WHERE id = %s FOR UPDATE", [round_id])
            row = await found.fetchone()
            if row is None:
                raise NotFoundError(f"there is no round {round_id}", field="round", mend="ask for the offers")
            taken = await connection.execute(
                "SELECT phase, frame FROM federated_messages WHERE round = %s ORDER BY n", [round_id]
            )
            yield Move(
                connection,
                RoundRow(**row),
                [(one["phase"], one["frame"]) for one in await taken.fetchall()],
                self._clock,
            )

    async def forget(self, before_ms: int) -> int:
        """Drop the messages of rounds that ended before; gives how many rounds. Figures, receipts and models stay."""
        async with self._database.transaction() as connection:
            gone = await connection.execute(
                "WITH old AS (SELECT id FROM federated_rounds WHERE ended_ms < %s), dropped AS (DELETE FROM"
                " federated_messages m USING old WHERE m.round = old.id RETURNING m.round)"
                " SELECT count(DISTINCT round) AS rounds FROM dropped",
                [before_ms],
            )
            row = await gone.fetchone()
            return int(row["rounds"]) if row else 0

    async def counts(self) -> dict[tuple[str, str], int]:
        """Messages kept by round and phase, of rounds that are open."""
        rows = await self._database.fetch(
            "SELECT m.round, m.phase, count(*) AS many FROM federated_messages m"
            " JOIN federated_rounds r ON r.id = m.round WHERE r.phase NOT IN ('done', 'failed') GROUP BY 1, 2"
        )
        return {(row["round"], row["phase"]): int(row["many"]) for row in rows}

    async def new_site(self, name: str, sha256: bytes, quota: int) -> None:
        """Let a site in, or give it another key and quota."""
        async with self._database.transaction() as connection:
            await connection.execute(
                "INSERT INTO federated_sites (name, sha256, quota, created_ms) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT (name) DO UPDATE SET sha256 = excluded.sha256, quota = excluded.quota, revoked_ms = NULL",
                [name, sha256, quota, self._clock.now_ms()],
            )

    async def revoke_site(self, name: str) -> None:
        """Its key and its tokens count no more. Raises :class:`NotFoundError`."""
        async with self._database.transaction() as connection:
            done = await connection.execute(
                "UPDATE federated_sites SET revoked_ms = %s WHERE name = %s", [self._clock.now_ms(), name]
            )
            if done.rowcount == 0:
                raise NotFoundError(
                    f"there is no site {name!r}", field="site", mend="arauto federated site NAME lets one in"
                )

    async def sites(self) -> list[SiteRow]:
        """All sites, revoked ones too, by name."""
        rows = await self._database.fetch(_SITE + " ORDER BY name")
        return [SiteRow(**row) for row in rows]

    async def site(self, *, name: str | None = None, sha256: bytes | None = None) -> SiteRow | None:
        """The site of that name, or of that key, if it may let clients in."""
        row = await self._database.fetch_one(
            _SITE + " WHERE (name = %s OR sha256 = %s) AND revoked_ms IS NULL", [name, sha256]
        )
        return SiteRow(**row) if row else None

    @staticmethod
    async def _insert(connection: Connection, model: FederatedModel, now_ms: int = 0) -> None:
        await connection.execute(
            "INSERT INTO federated_models (task, version, sha256, weights, state, round, created_ms)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            [model.task, model.version, model.sha256, model.weights, model.state, model.round, now_ms],
        )


class Move:
    """A round held still by :meth:`FederatedRounds.moving`."""

    def __init__(self, connection: Connection, row: RoundRow, taken: list[tuple[str, bytes]], clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self.row = row
        self.taken = taken

    async def to(
        self, phase: str, *, reason: str = "", receipt: bytes | None = None, norm: float | None = None
    ) -> None:
        """Write the next phase and its deadline, and how many messages the one that ends took."""
        now = self._clock.now_ms()
        taken = sum(one == self.row.phase for one, _ in self.taken)
        await self._connection.execute(
            "UPDATE federated_rounds SET reason = %s, receipt = %s, deadline_ms = %s, ended_ms = %s, update_norm = %s,"
            " joined = CASE phase WHEN 'join' THEN %s ELSE joined END,"
            " shared = CASE phase WHEN 'shares' THEN %s ELSE shared END,"
            " delivered = CASE phase WHEN 'masked' THEN %s ELSE delivered END,"
            " unmasked = CASE phase WHEN 'unmask' THEN %s ELSE unmasked END, phase = %s WHERE id = %s",
            [
                reason,
                receipt,
                now + self.row.patience_ms,
                now if phase in ("done", "failed") else None,
                norm,
                *(taken,) * 4,
                phase,
                self.row.id,
            ],
        )

    async def charge(self) -> TaskRow:
        """Put the round's ρ on its task, once; gives the task as it then is."""
        await self._connection.execute("UPDATE federated_rounds SET charged = true WHERE id = %s", [self.row.id])
        found = await self._connection.execute(
            "UPDATE federated_tasks SET rho = rho + %s WHERE name = %s RETURNING name, epsilon, delta, rho, free",
            [0.0 if self.row.charged else self.row.rho, self.row.task],
        )
        row = await found.fetchone()
        if row is None:
            raise NotFoundError(f"there is no task {self.row.task!r}", field="task")
        return TaskRow(**row)

    async def model(self, model: FederatedModel) -> None:
        """The model that the round made."""
        await FederatedRounds._insert(self._connection, model, self._clock.now_ms())


def _model(row: DictRow) -> FederatedModel:
    return FederatedModel(**{**row, "rollouts": tuple(row["rollouts"])})
