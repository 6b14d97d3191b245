"""The index's vectors in PostgreSQL, searched by pgvector's HNSW: when they do not fit into one machine's memory.

The table is the index's own and can be made again from the visitors' states; it is not logged ahead, which halves the
cost of a replacement, and PostgreSQL empties it after a crash.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal, LiteralString, Self

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from arauto.core.errors import InputError, StoreError

Floats = NDArray[np.float32]
Keys = NDArray[np.int64]
MOST_INDEXED = 2000
"""Dimensions that pgvector's HNSW takes; longer vectors are searched exactly."""
_SEEN = 100
"""Candidates that a search keeps (``hnsw.ef_search``)."""


class PgVectors:
    """An :class:`~arauto.audience.index.Engine` over a table of ``dsn``'s database. Every call is a round trip of
    about a millisecond; use it from one thread, or behind a :class:`~arauto.audience.VisitorIndex`, which locks.

    Raises:
        StoreError: the server is not there, or lacks pgvector.
        InputError: the table holds vectors of another length.
    """

    def __init__(
        self,
        dsn: str,
        dimensions: int,
        *,
        metric: Literal["cosine", "l2"] = "cosine",
        table: str = "visitor_vectors",
        exact: bool = False,
    ) -> None:
        self._table, self._dimensions, self._metric = sql.Identifier(table), dimensions, metric
        # Vectors have unit length when they come: the inner product is their cosine.
        self._near = sql.SQL("<#>" if metric == "cosine" else "<->")
        try:
            self._connection = psycopg.connect(dsn, autocommit=True, application_name="arauto-index")
        except psycopg.Error as failure:
            raise _told(failure) from None
        try:
            self._prepare(table, exact=exact)
        except BaseException:
            self._connection.close()
            raise

    def _run(self, query: LiteralString | sql.Composed, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            cursor = self._connection.execute(query, params)
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as failure:
            raise _told(failure) from None

    def _prepare(self, table: str, *, exact: bool) -> None:
        run = self._run
        run("CREATE EXTENSION IF NOT EXISTS vector")
        run(
            sql.SQL(
                "CREATE UNLOGGED TABLE IF NOT EXISTS {} (key bigint PRIMARY KEY, vector vector({}) NOT NULL)"
            ).format(self._table, sql.Literal(self._dimensions))
        )
        found = run(
            "SELECT atttypmod FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = 'vector'",
            [self._table.as_string(self._connection)],
        )
        if found != [(self._dimensions,)]:
            raise InputError("holds vectors of another length", field="table", mend="drop it, or name another")
        if not exact and self._dimensions <= MOST_INDEXED:
            kind = sql.SQL("vector_ip_ops" if self._metric == "cosine" else "vector_l2_ops")
            run(
                sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} USING hnsw (vector {})").format(
                    sql.Identifier(f"{table}_near"), self._table, kind
                )
            )
        run(sql.SQL("SET hnsw.ef_search = {}").format(sql.Literal(_SEEN)))
        run("SET hnsw.iterative_scan = strict_order")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the server. The table stays."""
        self._connection.close()

    def clear(self) -> None:
        """Remove everything."""
        self._run(sql.SQL("TRUNCATE {}").format(self._table))

    def keys(self) -> Keys:
        """All keys, ascending."""
        rows = self._run(sql.SQL("SELECT key FROM {} ORDER BY key").format(self._table))
        return np.array([row[0] for row in rows], dtype=np.int64)

    def __len__(self) -> int:
        return int(self._run(sql.SQL("SELECT count(*) FROM {}").format(self._table))[0][0])

    def put(self, keys: Keys, vectors: Floats, known: NDArray[np.bool_]) -> None:  # noqa: ARG002
        self._run(
            sql.SQL(
                "INSERT INTO {} (key, vector) SELECT * FROM unnest(%s::bigint[], %s::text[]::vector[])"
                " ON CONFLICT (key) DO UPDATE SET vector = EXCLUDED.vector"
            ).format(self._table),
            [keys.tolist(), [_text(row) for row in vectors]],
        )

    def remove(self, key: int) -> None:
        self._run(sql.SQL("DELETE FROM {} WHERE key = %s").format(self._table), [key])

    def vectors(self, keys: Keys) -> Floats:
        rows = self._run(
            sql.SQL("SELECT key, vector::real[] FROM {} WHERE key = ANY(%s)").format(self._table), [keys.tolist()]
        )
        found: dict[int, list[float]] = dict(rows)
        if not found.keys() >= set(keys.tolist()):
            raise StoreError("lost vectors in a crash", field="database_url", mend="clear the table and fill it again")
        held = [found[key] for key in keys.tolist()]
        return np.array(held, dtype=np.float32).reshape(len(keys), self._dimensions)

    def nearest(self, queries: Floats, k: int, allowed: NDArray[np.bool_] | None) -> tuple[Keys, Floats]:
        where = sql.SQL("" if allowed is None else "WHERE key = ANY(%s)")
        more: list[Any] = [] if allowed is None else [np.flatnonzero(allowed).tolist()]
        question = sql.SQL("SELECT key, vector {} %s::vector FROM {} {} ORDER BY vector {} %s::vector LIMIT %s").format(
            self._near, self._table, where, self._near
        )
        answers: list[list[tuple[Any, ...]]] = []
        for query in queries:
            text = _text(query)
            answers.append(self._run(question, [text, *more, text, k]))
        width = max((len(rows) for rows in answers), default=0)
        found = np.full((len(queries), width), -1, dtype=np.int64)
        near = np.full((len(queries), width), -np.inf, dtype=np.float32)
        for place, rows in enumerate(answers):
            found[place, : len(rows)] = [key for key, _ in rows]
            # The operators give minus the product, and the distance.
            near[place, : len(rows)] = [-far if self._metric == "cosine" else -far * far for _, far in rows]
        return found, near


def _told(failure: psycopg.Error) -> StoreError:
    reason = str(failure).splitlines()[0][:200] if str(failure) else "of an unknown kind"
    return StoreError(
        f"does not hold vectors: {reason}", field="database_url", mend="name a PostgreSQL with pgvector 0.8 or later"
    )


def _text(row: Floats) -> str:
    return "[" + ",".join(map(repr, row.tolist())) + "]"
