"""Federated rounds as rows: a task's budget, its models, the messages of its rounds.

What belongs together is one transaction: a message and the phase it was taken in; a phase and the budget it costs; a
round's end, its receipt and the model it made.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import LiteralString

import msgspec

from arauto.core.clock import Clock
from arauto.core.errors import ConflictError, NotFoundError
from arauto.store.database import Connection, Database

_ROUND: LiteralString = (
    "SELECT id, task, offer, secret, rho, charged, phase, deadline_ms, patience_ms, reason, receipt"
    " FROM federated_rounds"
)
OPEN = ("join", "shares", "masked", "unmask")


class TaskRow(msgspec.Struct, frozen=True):
    """A task: what one device may give to it in all (ε at δ), and ρ paid so far."""

    name: str
    epsilon: float
    delta: float
    rho: float


class RoundRow(msgspec.Struct, frozen=True):
    """A round as it stands."""

    id: str
    task: str
    offer: bytes
    secret: bytes
    rho: float
    charged: bool
    phase: str
    deadline_ms: int
    patience_ms: int
    reason: str
    receipt: bytes | None

    def __repr__(self) -> str:
        return f"RoundRow({self.id}, {self.task}, {self.phase})"


class RoundTally(msgspec.Struct, frozen=True, kw_only=True):
    """A round for the eye. ``messages``: how many of each phase were taken; ``rho`` counts once it is ``charged``."""

    id: str
    task: str
    phase: str
    deadline_ms: int
    rho: float
    charged: bool
    reason: str
    messages: dict[str, int]


class FederatedModel(msgspec.Struct, frozen=True):
    """A model of a task. ``weights``: float32, little-endian; ``round`` None: the first."""

    task: str
    version: int
    sha256: str
    weights: bytes
    state: bytes
    round: str | None


class FederatedRounds:
    """Tasks, rounds, messages and models."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def new_task(self, name: str, epsilon: float, delta: float, weights: bytes, sha256: str) -> None:
        """Raises :class:`ConflictError` when there is one of that name."""
        async with self._database.transaction() as connection:
            made = await connection.execute(
                "INSERT INTO federated_tasks (name, epsilon, delta, created_ms) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                [name, epsilon, delta, self._clock.now_ms()],
            )
            if made.rowcount == 0:
                raise ConflictError(f"there is a task {name!r} already", field="task", mend="choose another name")
            await self._model(connection, FederatedModel(name, 1, sha256, weights, b"", None))

    async def task(self, name: str) -> TaskRow:
        """Raises :class:`NotFoundError`."""
        row = await self._database.fetch_one(
            "SELECT name, epsilon, delta, rho FROM federated_tasks WHERE name = %s", [name]
        )
        if row is None:
            raise NotFoundError(f"there is no task {name!r}", field="task", mend="make it first")
        return TaskRow(**row)

    async def tasks(self) -> list[TaskRow]:
        """All tasks, by name."""
        rows = await self._database.fetch("SELECT name, epsilon, delta, rho FROM federated_tasks ORDER BY name")
        return [TaskRow(**row) for row in rows]

    async def tally(self, limit: int = 50) -> list[RoundTally]:
        """The last rounds, the latest first, with how many messages each phase took."""
        rows = await self._database.fetch(
            "SELECT r.id, r.task, r.phase, r.deadline_ms, r.rho, r.charged, r.reason, coalesce((SELECT"
            " jsonb_object_agg(phase, n) FROM (SELECT phase, count(*) AS n FROM federated_messages m"
            " WHERE m.round = r.id GROUP BY 1) AS counted), '{}') AS messages"
            " FROM federated_rounds r ORDER BY r.deadline_ms DESC, r.id LIMIT %s",
            [limit],
        )
        return [RoundTally(**row) for row in rows]

    async def versions(self, task: str, limit: int = 20) -> list[FederatedModel]:
        """The last models of a task, the oldest of them first."""
        rows = await self._database.fetch(
            "SELECT task, version, sha256, weights, state, round FROM federated_models WHERE task = %s"
            " ORDER BY version DESC LIMIT %s",
            [task, limit],
        )
        return [FederatedModel(**row) for row in reversed(rows)]

    async def model(self, task: str, version: int | None = None) -> FederatedModel:
        """The last model of a task, or that version. Raises :class:`NotFoundError`."""
        row = await self._database.fetch_one(
            "SELECT task, version, sha256, weights, state, round FROM federated_models"
            " WHERE task = %s AND (%s::integer IS NULL OR version = %s) ORDER BY version DESC LIMIT 1",
            [task, version, version],
        )
        if row is None:
            raise NotFoundError(f"task {task!r} has no such model", field="task", mend="make the task first")
        return FederatedModel(**row)

    async def open_round(self, row: RoundRow) -> None:
        """Raises :class:`ConflictError` while another round of the task is open."""
        async with self._database.transaction() as connection:
            made = await connection.execute(
                "INSERT INTO federated_rounds (id, task, offer, secret, rho, phase, deadline_ms, patience_ms)"
                " VALUES (%s, %s, %s, %s, %s, 'join', %s, %s) ON CONFLICT DO NOTHING",
                [row.id, row.task, row.offer, row.secret, row.rho, row.deadline_ms, row.patience_ms],
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

    async def put(self, round_id: str, phase: str, sender: str, frame: bytes) -> bool:
        """Keep a message that was taken in ``phase``. False when the round has moved on, or the sender has one there
        with other bytes; the same bytes again are welcome."""
        async with self._database.transaction() as connection:
            # Shared with other messages, exclusive with a move: what is kept here, the move sees.
            found = await connection.execute("SELECT phase FROM federated_rounds WHERE id = %s FOR SHARE", [round_id])
            row = await found.fetchone()
            if row is None or row["phase"] != phase:
                return False
            await connection.execute(
                "INSERT INTO federated_messages (round, phase, sender, frame) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                [round_id, phase, sender, frame],
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

    @staticmethod
    async def _model(connection: Connection, model: FederatedModel, now_ms: int = 0) -> None:
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

    async def to(self, phase: str, *, reason: str = "", receipt: bytes | None = None) -> None:
        """Write the next phase and its deadline."""
        await self._connection.execute(
            "UPDATE federated_rounds SET phase = %s, reason = %s, receipt = %s, deadline_ms = %s WHERE id = %s",
            [phase, reason, receipt, self._clock.now_ms() + self.row.patience_ms, self.row.id],
        )

    async def charge(self) -> TaskRow:
        """Put the round's ρ on its task, once; gives the task as it then is."""
        await self._connection.execute("UPDATE federated_rounds SET charged = true WHERE id = %s", [self.row.id])
        found = await self._connection.execute(
            "UPDATE federated_tasks SET rho = rho + %s WHERE name = %s RETURNING name, epsilon, delta, rho",
            [0.0 if self.row.charged else self.row.rho, self.row.task],
        )
        row = await found.fetchone()
        if row is None:
            raise NotFoundError(f"there is no task {self.row.task!r}", field="task")
        return TaskRow(**row)

    async def model(self, model: FederatedModel) -> None:
        """The model that the round made."""
        await FederatedRounds._model(self._connection, model, self._clock.now_ms())
