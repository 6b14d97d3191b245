"""A user's own log as columns: CSV, JSON Lines or Parquet."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from arauto.core.errors import InputError

MOST_BYTES = 2 * 2**30
"""The largest file that is read; it is held in memory as a whole."""

Columns = dict[str, NDArray[Any]]


def read_columns(path: Path) -> Columns:
    """The columns of a file, by its ending: ``.csv``, ``.jsonl`` (or ``.ndjson``), ``.parquet``.

    Raises:
        InputError: it cannot be read, has no rows or a row with other fields, or needs what is not installed.
    """
    if not path.is_file() or path.stat().st_size > MOST_BYTES:
        raise InputError(f"{path} is no file of at most 2 GiB", field="data", mend="name a CSV, JSONL or Parquet file")
    readers = {".csv": _csv, ".jsonl": _jsonl, ".ndjson": _jsonl, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"ends in {path.suffix!r}", field="data", mend=f"use one of {', '.join(readers)}")
    columns = reader(path)
    if not columns or not next(iter(columns.values())).size:
        raise InputError("has no rows", field="data", mend="give a header and at least one row")
    return columns


def _csv(path: Path) -> Columns:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
    except (UnicodeDecodeError, csv.Error) as failure:
        raise InputError(f"is not CSV in UTF-8: {failure}", field="data", mend="save it as CSV in UTF-8") from None
    header, body = (rows[0], rows[1:]) if rows else ([], [])
    for line, row in enumerate(body, 2):
        if len(row) != len(header):
            raise InputError(
                f"has {len(row)} fields in line {line}, and {len(header)} in its header",
                field="data",
                mend="give each row as many fields as the header",
            )
    return {name: _narrow(np.array([row[place] for row in body])) for place, name in enumerate(header)}


def _jsonl(path: Path) -> Columns:
    try:
        rows = msgspec.json.Decoder(dict[str, Any]).decode_lines(path.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError) as failure:
        raise InputError(f"is not JSON Lines: {failure}", field="data", mend="write one JSON object a line") from None
    names = list(rows[0]) if rows else []
    for line, row in enumerate(rows, 1):
        if row.keys() != rows[0].keys():
            raise InputError(
                f"has other fields in line {line}", field="data", mend="give each line the fields of the first"
            )
    return {name: np.array([row[name] for row in rows]) for name in names}


def _parquet(path: Path) -> Columns:
    try:
        import polars
    except ImportError:
        raise InputError(
            "needs a reader of Parquet, which is not installed",
            field="data",
            mend="pip install 'arauto[data]', or save it as CSV",
        ) from None
    try:
        frame = polars.read_parquet(path)
    except (polars.exceptions.PolarsError, OSError) as failure:
        raise InputError(f"is not Parquet: {failure}", field="data", mend="write it again") from None
    return {name: frame[name].to_numpy() for name in frame.columns}


def _narrow(texts: NDArray[Any]) -> NDArray[Any]:
    """Numbers where all are; true and false as 1 and 0."""
    if not texts.size:
        return texts
    lowered = np.char.lower(texts)
    if np.isin(lowered, ["true", "false"]).all():
        return np.asarray(lowered == "true", dtype=np.float64)
    try:
        return texts.astype(np.float64)
    except ValueError:
        return texts


def numeric(values: NDArray[Any]) -> bool:
    """Whether a column holds numbers (or true and false)."""
    return bool(np.issubdtype(values.dtype, np.number) or values.dtype == np.bool_)
