"""Labelled texts from a file: Parquet, CSV or JSON lines with ``text``, ``label`` and, if wanted, ``corpus``."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from arauto.core.errors import InputError, NotFoundError
from arauto.edge.generate import Example

MAX_TEXTS = 2_000_000
_MAX_CHARS = 20_000
_COLUMNS = ("text", "label", "corpus")


def read_examples(path: Path) -> list[Example]:
    """The labelled texts in a file whose name ends in ``.parquet``, ``.csv`` or ``.jsonl``. Labels are whole numbers.

    Raises:
        NotFoundError: there is no such file.
        InputError: it is of another kind, lacks a column, or a row cannot be used (its number is named).
    """
    if not path.is_file():
        raise NotFoundError("is not a file", field=str(path), mend="name a .parquet, .csv or .jsonl file")
    readers = {".parquet": _parquet, ".csv": _csv, ".jsonl": _jsonl}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError("is no .parquet, .csv or .jsonl file", field=str(path), mend="write it as one of these")
    try:
        return list(_checked(reader(path), path))
    except (UnicodeDecodeError, csv.Error) as failure:
        raise InputError(f"cannot be read: {failure}", field=str(path), mend="encode it as UTF-8") from None


def _checked(rows: Iterable[Any], path: Path) -> Iterator[Example]:
    for number, row in enumerate(rows, 1):
        if number > MAX_TEXTS:
            raise InputError(f"has more than {MAX_TEXTS} texts", field=str(path), mend="split it")
        where = f"{path.name}, row {number}"
        if not isinstance(row, dict):
            raise InputError("is not an object", field=where, mend='write {"text": …, "label": …} on each line')
        text, label = row.get("text"), row.get("label")
        if not isinstance(text, str):
            raise InputError("has no text", field=where, mend="give every row the columns text and label")
        try:
            number_of = float(label)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number_of = 0.5
        if number_of % 1 or not -1000 <= number_of <= 1000:
            raise InputError("has a label that is no whole number", field=where, mend="use −1, 0 or 1")
        yield Example(text=text[:_MAX_CHARS], label=int(number_of), corpus=str(row.get("corpus") or ""))


def _parquet(path: Path) -> Iterable[Any]:
    try:
        import polars
    except ImportError:
        raise InputError(
            "needs a reader of Parquet", field=str(path), mend="pip install 'arauto[edge]', or give CSV or JSON lines"
        ) from None
    try:
        frame = polars.read_parquet(path)
    except (polars.exceptions.PolarsError, OSError) as failure:
        raise InputError(f"is not Parquet: {str(failure)[:200]}", field=str(path), mend="write it again") from None
    known = [name for name in _COLUMNS if name in frame.columns]
    rows: Iterable[Any] = frame.select(known).iter_rows(named=True)
    return rows


def _csv(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file)


def _jsonl(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                try:
                    yield json.loads(line)
                except (ValueError, RecursionError):
                    yield None
