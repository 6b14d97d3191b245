"""The table that rewards are learned from: what was shown, how often, and how often it was clicked.

A row is an arm of a test: one text beside one image. Only arms of the same test (and, where images differ, of the same
image) were shown to the same kind of people at the same time, so only they are ever compared.

Columns, by our name or the one of the Upworthy Research Archive:

=========== ======================= ==================================================================
ours        Upworthy                meaning
=========== ======================= ==================================================================
test_id     clickability_test_id    which test: arms of one test were assigned at random
text        headline                what was shown
impressions impressions             how often, a whole number ≥ 0
clicks      clicks                  how often it was clicked, 0 to ``impressions``
image_id    eyecatcher_id           optional: the picture beside the text
context     lede                    optional: what the text is about; the prompt of a generator
segment                             optional: to whom; reports are split by it
language                            optional: ``en``, ``pt-BR``; reports are split by it
visitor_id                          optional: one row per visitor and arm; see :data:`VISITOR_CLICKS`
=========== ======================= ==================================================================
"""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from arauto.core.door import has_control
from arauto.core.errors import InputError, NotFoundError, TooLargeError

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ALIASES = {
    "test_id": "clickability_test_id",
    "text": "headline",
    "impressions": "impressions",
    "clicks": "clicks",
    "image_id": "eyecatcher_id",
    "context": "lede",
    "segment": "segment",
    "language": "language",
    "visitor_id": "visitor_id",
}
"""Our column names, and the archive's."""
REQUIRED = ("test_id", "text", "impressions", "clicks")
VISITOR_CLICKS = 3
"""A visitor's clicks count up to so many in the whole table; one who clicked more is weighted down to that."""
_MOST_BYTES = 2 << 30
_MOST_TEXT = 2000
_TAG = re.compile(r"<[^>]{0,1000}>")


@dataclass(frozen=True)
class Table:
    """n arms, sorted by test. ``test`` and ``group`` are numbers; a group is a test's arms with the same image.

    ``test_ids`` are the names behind ``test``. ``impressions`` and ``clicks`` are floats, for visitors may be weighted.
    """

    test: Ints
    group: Ints
    text: tuple[str, ...]
    impressions: Floats
    clicks: Floats
    context: tuple[str, ...]
    segment: tuple[str, ...]
    language: tuple[str, ...]
    test_ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.text)

    @property
    def rate(self) -> Floats:
        """Clicks per impression; 0 where nothing was shown."""
        rate: Floats = self.clicks / np.maximum(self.impressions, 1.0)
        return rate

    def rows(self, keep: NDArray[np.bool_]) -> Table:
        """The arms where ``keep`` holds; tests and groups are numbered anew."""
        names, test = np.unique(self.test[keep], return_inverse=True)
        return Table(
            test=test.astype(np.int64),
            group=np.unique(self.group[keep], return_inverse=True)[1].astype(np.int64),
            text=_pick(self.text, keep),
            impressions=self.impressions[keep],
            clicks=self.clicks[keep],
            context=_pick(self.context, keep),
            segment=_pick(self.segment, keep),
            language=_pick(self.language, keep),
            test_ids=tuple(self.test_ids[i] for i in names),
        )

    def split(self, share: float, seed: int) -> tuple[Table, Table]:
        """Two tables with about ``share`` and ``1 - share`` of the tests; a text never stands in both.

        Tests that share a text stay together; ``seed`` decides which side.
        """
        parent = list(range(len(self.test_ids)))

        def root(i: int) -> int:
            while parent[i] != i:
                parent[i] = parent[parent[i]]
                i = parent[i]
            return i

        first: dict[str, int] = {}
        for test, text in zip(self.test.tolist(), self.text, strict=True):
            parent[root(test)] = root(first.setdefault(text, test))
        roots = np.array([root(i) for i in range(len(parent))])
        chosen = np.random.default_rng(seed).random(len(parent)) < share
        left = chosen[roots][self.test]
        return self.rows(left), self.rows(~left)

    def digest(self) -> str:
        """SHA-256 of the table's content: which data a model saw."""
        words = "\x1e".join(
            "\x1f".join((self.test_ids[t], str(g), x, repr(n), repr(c)))
            for t, g, x, n, c in zip(
                self.test.tolist(),
                self.group.tolist(),
                self.text,
                self.impressions.tolist(),
                self.clicks.tolist(),
                strict=True,
            )
        )
        return hashlib.sha256(words.encode()).hexdigest()


def read_table(path: Path) -> Table:
    """Read a Parquet, CSV or JSONL file.

    Raises:
        InputError: names the column, the row, what was wrong and the mend.
        NotFoundError, TooLargeError: the file is not there, or holds more than 2 GiB.
    """
    if not path.is_file():
        raise NotFoundError(f"there is no file {path}", field="data", mend="give a .parquet, .csv or .jsonl file")
    if path.stat().st_size > _MOST_BYTES:
        raise TooLargeError(f"{path.name} is larger than 2 GiB", field="data", mend="split it, or sample tests")
    return table_of(_frame(path))


def table_of(frame: pl.DataFrame) -> Table:
    """Check a frame with the columns above; see :func:`read_table` for the errors."""
    pl = _polars()
    frame = _named(frame)
    columns = [name for name in ALIASES if name in frame.columns]
    for name in ("impressions", "clicks"):
        if not frame[name].dtype.is_numeric():
            raise InputError("is not a column of numbers", field=name, mend="give whole numbers")
    _refuse(frame["test_id"].is_null(), "test_id", "is missing", "name the test of every row")
    counts = frame.select("impressions", "clicks").cast(pl.Float64).to_numpy()
    _refuse(~np.isfinite(counts).all(axis=1), "clicks", "or impressions are missing", "give two numbers a row")
    _refuse(counts[:, 0] < 0, "impressions", "is negative", "give a number ≥ 0")
    _refuse((counts[:, 1] < 0) | (counts[:, 1] > counts[:, 0]), "clicks", "is not in 0 … impressions", "mend the row")
    text = frame["text"].cast(pl.String)
    _refuse(text.is_null() | (text.str.strip_chars() == ""), "text", "is empty", "remove the row")
    _refuse(text.str.len_chars() > _MOST_TEXT, "text", f"is longer than {_MOST_TEXT} characters", "cut it")
    _refuse(np.array([has_control(t) for t in text]), "text", "holds a control character", "remove it")
    if "visitor_id" in columns:
        frame = _capped(frame.with_columns(pl.col("impressions", "clicks").cast(pl.Float64)))
    if not len(frame):
        raise InputError("holds no rows", field="data", mend="give a table with arms of at least one test")
    return _assemble(frame)


def _frame(path: Path) -> pl.DataFrame:
    pl = _polars()
    readers = {".parquet": pl.read_parquet, ".csv": pl.read_csv, ".jsonl": pl.read_ndjson, ".ndjson": pl.read_ndjson}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(
            f"{path.suffix or 'no ending'} is not known", field="data", mend="use .parquet, .csv or .jsonl"
        )
    try:
        return reader(path)
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as failure:
        reason = str(failure).strip().splitlines()[0]
        raise InputError(f"{path.name} cannot be read: {reason}", field="data", mend="write the file anew") from None


def _named(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame under our names, optional columns filled."""
    taken = {ours: ours if ours in frame.columns else theirs for ours, theirs in ALIASES.items()}
    for name in REQUIRED:
        if taken[name] not in frame.columns:
            raise InputError("is not a column", field=name, mend=f"name a column `{name}` or `{ALIASES[name]}`")
    pl = _polars()
    columns = []
    for name, source in taken.items():
        if source in frame.columns:
            column = pl.col(source).alias(name)
            columns.append(column if name in ("impressions", "clicks") else column.cast(pl.String))
        elif name != "visitor_id":
            columns.append(pl.lit("").alias(name))
    optional = [name for name in ("image_id", "context", "segment", "language") if name in taken]
    return frame.select(columns).with_columns(pl.col(optional).fill_null(""))


def _capped(frame: pl.DataFrame) -> pl.DataFrame:
    """Few visitors cannot move the counts far: one click an arm, :data:`VISITOR_CLICKS` in all."""
    pl = _polars()
    keys = [name for name in frame.columns if name not in ("impressions", "clicks")]
    once = frame.group_by(keys, maintain_order=True).agg(
        pl.col("impressions").sum().clip(0.0, 1.0), pl.col("clicks").sum().clip(0.0, 1.0)
    )
    total = pl.col("clicks").sum().over("visitor_id")
    weight = pl.when(total > VISITOR_CLICKS).then(VISITOR_CLICKS / total).otherwise(1.0)
    return once.with_columns(pl.col("impressions") * weight, pl.col("clicks") * weight)


def _assemble(frame: pl.DataFrame) -> Table:
    """One row per test, image and text: the same arm shown twice is one arm."""
    pl = _polars()
    merged = (
        frame.with_columns(pl.col("text").str.strip_chars())
        .group_by("test_id", "image_id", "text", "segment", "language", maintain_order=True)
        .agg(pl.col("impressions", "clicks").cast(pl.Float64).sum(), pl.col("context").first())
        .sort("test_id", maintain_order=True)
    )
    names, test = np.unique(merged["test_id"].to_numpy(), return_inverse=True)
    sides = merged.select(pl.struct("test_id", "image_id", "segment").rank("dense")).to_series().to_numpy()
    return Table(
        test=test.astype(np.int64),
        group=sides.astype(np.int64) - 1,
        text=tuple(merged["text"]),
        impressions=merged["impressions"].to_numpy(),
        clicks=merged["clicks"].to_numpy(),
        context=tuple(plain(context) for context in merged["context"]),
        segment=tuple(merged["segment"]),
        language=tuple(merged["language"]),
        test_ids=tuple(str(name) for name in names),
    )


def plain(markup: str) -> str:
    """A passage of HTML as one line of text."""
    return " ".join(html.unescape(_TAG.sub(" ", markup)).split())[:_MOST_TEXT]


def _refuse(bad: Any, field: str, problem: str, mend: str) -> None:
    rows = np.flatnonzero(np.asarray(bad))
    if rows.size:
        more = f", and of {rows.size - 1} more rows" if rows.size > 1 else ""
        raise InputError(f"of row {int(rows[0]) + 1}{more} {problem}", field=field, mend=mend)


def _pick(values: Sequence[str], keep: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(value for value, kept in zip(values, keep.tolist(), strict=True) if kept)


def _polars() -> Any:
    from arauto.gpo.extras import need

    return need("polars")
