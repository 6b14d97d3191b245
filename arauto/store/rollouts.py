"""The release of a change, kept for good: an immutable start and an append-only list of moves.

There is no cell that holds the state: it is the fold of the moves, so it cannot disagree with them. A move names the
version that it makes; whoever writes a version first has made it (compare and swap), and what it means for the variants
and the plan, its entry in the audit log and the news to other processes are of the same transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

import msgspec
from psycopg.rows import DictRow

from arauto.core.clock import Clock
from arauto.core.errors import ConflictError, InputError, NotFoundError
from arauto.store.database import Connection, Database
from arauto.store.notices import send
from arauto.store.records import Rollout, RolloutMove

_ROLLOUT: LiteralString = (
    "SELECT r.id, campaign_id, candidates, change, plan, r.actor, created_ms,"
    " (SELECT json_agg(json_build_object('id', m.id, 'version', version, 'at_ms', at_ms, 'actor', m.actor,"
    " 'action', action, 'status', status, 'share', share, 'detail', detail) ORDER BY version)"
    " FROM rollout_moves m WHERE rollout_id = r.id) AS moves FROM rollouts r"
)
OVER = ("rolled_back", "done")


class Rollouts:
    """Releases and their moves. What a plan or a move says is the caller's: here it is JSON."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def start(
        self,
        campaign_id: int,
        candidates: Sequence[int],
        change: Mapping[str, Any],
        plan: Mapping[str, Any],
        first: Mapping[str, Any],
        share: float,
        actor: str,
    ) -> Rollout:
        """Begin a release: ``candidates`` are staged, and from the ``first`` move on get ``share`` of the traffic.

        Raises:
            NotFoundError: there is no such campaign.
            ConflictError: it has ended, or a release of it is on its way; a candidate is live, or not the campaign's;
                or nothing live is left to compare with.
        """
        async with self._database.transaction() as connection:
            await self._check(connection, campaign_id, candidates)
            row = await _one(
                connection,
                "INSERT INTO rollouts (campaign_id, candidates, change, plan, actor, created_ms)"
                " VALUES (%s, %s, %s, %s, %s, %s) RETURNING id",
                [campaign_id, list(candidates), _json(change), _json(plan), actor, self._clock.now_ms()],
            )
            await connection.execute(
                "UPDATE variants SET state = 'staged' WHERE id = ANY (%s::integer[])", [list(candidates)]
            )
            await self._write(connection, row["id"], campaign_id, 0, "start", "running", share, first, {}, actor)
        return await self.get(row["id"])

    async def get(self, rollout_id: int) -> Rollout:
        """Raises :class:`NotFoundError`."""
        row = await self._database.fetch_one(_ROLLOUT + " WHERE r.id = %s", [rollout_id])
        if row is None:
            raise NotFoundError(f"there is no release {rollout_id}", field="release", mend="arauto release show")
        return _rollout(row)

    async def latest(self, campaign_id: int) -> Rollout | None:
        """The campaign's last release, over or not."""
        row = await self._database.fetch_one(
            _ROLLOUT + " WHERE campaign_id = %s ORDER BY r.id DESC LIMIT 1", [campaign_id]
        )
        return None if row is None else _rollout(row)

    async def of_campaign(self, campaign_id: int) -> list[Rollout]:
        """All releases of a campaign, oldest first."""
        rows = await self._database.fetch(_ROLLOUT + " WHERE campaign_id = %s ORDER BY r.id", [campaign_id])
        return [_rollout(row) for row in rows]

    async def move(
        self,
        rollout: Rollout,
        version: int,
        action: str,
        status: str,
        share: float,
        detail: Mapping[str, Any],
        actor: str,
    ) -> bool:
        """Make the move to ``version``, unless another process made one meanwhile: then nothing happens, and False.

        ``done`` makes the candidates live, retires what they replace and takes the change into the plan;
        ``rolled_back`` after ``done`` puts all that back.
        """
        async with self._database.transaction() as connection:
            # The campaign's row stands for its variants, its plan and its releases.
            await connection.execute("SELECT FROM campaigns WHERE id = %s FOR UPDATE", [rollout.campaign_id])
            last = await _one(
                connection,
                "SELECT version, status, undo FROM rollout_moves WHERE rollout_id = %s ORDER BY version DESC LIMIT 1",
                [rollout.id],
            )
            if last["version"] != version - 1:
                return False
            undo: dict[str, Any] = {}
            if status == "done":
                undo = await self._promote(connection, rollout)
            elif status == "rolled_back" and last["status"] == "done":
                await self._check_latest(connection, rollout)
                await self._restore(connection, rollout, last["undo"])
            await self._write(
                connection, rollout.id, rollout.campaign_id, version, action, status, share, detail, undo, actor
            )
        return True

    async def _check(self, connection: Connection, campaign_id: int, candidates: Sequence[int]) -> None:
        found = await connection.execute("SELECT state FROM campaigns WHERE id = %s FOR UPDATE", [campaign_id])
        campaign = await found.fetchone()
        if campaign is None:
            raise NotFoundError(f"there is no campaign {campaign_id}", field="campaign_id", mend="list the campaigns")
        if campaign["state"] == "ended":
            raise ConflictError("the campaign has ended", field="campaign", mend="release into one that is shown")
        found = await connection.execute(
            "SELECT status FROM rollout_moves m JOIN rollouts r ON r.id = m.rollout_id WHERE campaign_id = %s"
            " ORDER BY rollout_id DESC, version DESC LIMIT 1",
            [campaign_id],
        )
        last = await found.fetchone()
        if last is not None and last["status"] not in OVER:
            raise ConflictError(
                f"a release of this campaign is {last['status']}", field="campaign", mend="finish it or roll it back"
            )
        found = await connection.execute("SELECT id, name, state FROM variants WHERE campaign_id = %s", [campaign_id])
        variants = {row["id"]: row for row in await found.fetchall()}
        for candidate in candidates:
            if candidate not in variants:
                raise InputError("is not of this campaign", field="variants", mend="name variants of the campaign")
            if variants[candidate]["state"] == "live":
                raise ConflictError(
                    f"variant {variants[candidate]['name']} is shown already",
                    field="variants",
                    mend="release staged or retired variants",
                )
        if not any(row["state"] == "live" for row in variants.values()):
            raise ConflictError(
                "the campaign has no live variant to compare with", field="campaign", mend="make one of them live"
            )

    async def _check_latest(self, connection: Connection, rollout: Rollout) -> None:
        """What a later release was built upon is not taken away from under it."""
        row = await _one(
            connection, "SELECT max(id) AS last FROM rollouts WHERE campaign_id = %s", [rollout.campaign_id]
        )
        if row["last"] != rollout.id:
            raise ConflictError("a later release was begun", field="release", mend="roll that one back first")

    async def _promote(self, connection: Connection, rollout: Rollout) -> dict[str, Any]:
        """Everyone gets the change. Returns what would undo it."""
        undo: dict[str, Any] = {}
        if rollout.candidates:
            ids = list(rollout.candidates)
            found = await connection.execute(
                "UPDATE variants SET state = 'retired' WHERE campaign_id = %s AND state = 'live'"
                " AND NOT id = ANY (%s::integer[]) RETURNING id",
                [rollout.campaign_id, ids],
            )
            undo["live"] = sorted(row["id"] for row in await found.fetchall())
            await connection.execute(
                "UPDATE variants SET state = 'live' WHERE state = 'staged' AND id = ANY (%s::integer[])", [ids]
            )
        if rollout.change:
            row = await _one(
                connection,
                "UPDATE campaigns SET plan = plan || %s::jsonb WHERE id = %s RETURNING old.plan AS before",
                [_json(rollout.change), rollout.campaign_id],
            )
            undo["plan"] = row["before"]
        return undo

    async def _restore(self, connection: Connection, rollout: Rollout, undo: Mapping[str, Any]) -> None:
        if "live" in undo:
            await connection.execute(
                "UPDATE variants SET state = 'staged' WHERE state = 'live' AND id = ANY (%s::integer[])",
                [list(rollout.candidates)],
            )
            await connection.execute(
                "UPDATE variants SET state = 'live' WHERE state = 'retired' AND id = ANY (%s::integer[])",
                [undo["live"]],
            )
        if "plan" in undo:
            await connection.execute(
                "UPDATE campaigns SET plan = %s::jsonb WHERE id = %s", [_json(undo["plan"]), rollout.campaign_id]
            )

    async def _write(
        self,
        connection: Connection,
        rollout_id: int,
        campaign_id: int,
        version: int,
        action: str,
        status: str,
        share: float,
        detail: Mapping[str, Any],
        undo: Mapping[str, Any],
        actor: str,
    ) -> None:
        now = self._clock.now_ms()
        await connection.execute(
            "INSERT INTO rollout_moves (rollout_id, version, at_ms, actor, action, status, share, detail, undo)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [rollout_id, version, now, actor, action, status, share, _json(detail), _json(undo)],
        )
        told = {"campaign": campaign_id, **detail}
        await connection.execute(
            "INSERT INTO audit_log (at_ms, actor, action, target, detail) VALUES (%s, %s, %s, %s, %s)",
            [now, actor, f"release.{action}", f"release:{rollout_id}", _json(told)],
        )
        await send(connection, "campaign", campaign_id)


def _rollout(row: DictRow) -> Rollout:
    moves = tuple(RolloutMove(**move) for move in row.pop("moves"))
    return Rollout(**{**row, "candidates": tuple(row["candidates"])}, moves=moves)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


async def _one(connection: Connection, query: LiteralString, params: Sequence[Any]) -> DictRow:
    """The row of a statement that always gives one."""
    rows = await (await connection.execute(query, params)).fetchall()
    return rows[0]
