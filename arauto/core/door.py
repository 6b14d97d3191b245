"""The one door: untyped data comes in, a checked type goes on, or an error that names the field and the mend."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from arauto.core.errors import InputError

T = TypeVar("T")

# msgspec ends its messages with "- at `$.offer.price`" when the fault lies below the root.
_PLACE = re.compile(r"^(?P<problem>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>[^`]*)`")
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]*)`")
# C0 and C1 controls but tab and newline; bidirectional overrides and isolates, which can make a text read as another.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def from_data(
    data: Any,
    kind: type[T],
    *,
    error: type[InputError] = InputError,
    strict: bool = True,
    hook: Callable[[type, Any], Any] | None = None,
) -> T:
    """Check plain data (dicts, lists, scalars) against ``kind``. With ``strict=False`` strings may become numbers.

    ``hook(type, value)`` reads the types that msgspec does not know.
    """
    try:
        return msgspec.convert(data, kind, strict=strict, dec_hook=hook)
    except msgspec.ValidationError as failure:
        raise explain(failure, kind, error) from None


def from_json(body: bytes, kind: type[T], *, error: type[InputError] = InputError) -> T:
    """Check a JSON document against ``kind``."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as failure:
        raise explain(failure, kind, error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as failure:
        raise error(
            f"the body is not JSON: {failure}", field="$", mend="send one JSON document, encoded as UTF-8"
        ) from None


def explain(failure: msgspec.ValidationError, kind: Any, error: type[InputError] = InputError) -> InputError:
    """Turn a validation error of msgspec into ours: the path of the field, what was wrong, the mend."""
    match = _PLACE.match(str(failure))
    problem, path = (match["problem"], match["path"] or "$") if match else (str(failure), "$")
    if missing := _MISSING.search(problem):
        name = missing["name"]
        return error("is missing", field=_join(path, name), mend=f"add `{name}`")
    if unknown := _UNKNOWN.search(problem):
        name = unknown["name"]
        known = ", ".join(_fields(kind)) if path == "$" else ""
        mend = f"remove it, or use one of: {known}" if known else "remove it, or check its spelling"
        return error("is not a known field", field=_join(path, name), mend=mend)
    return error(problem[:1].lower() + problem[1:], field=_bare(path), mend="send a value of that type and range")


def clean_text(text: str, field: str, *, error: type[InputError] = InputError) -> str:
    """``text`` stripped of outer blanks, refused when it holds control or bidirectional-override characters."""
    if found := _CONTROL.search(text):
        raise error(
            f"holds the control character U+{ord(found[0]):04X} at position {found.start()}",
            field=field,
            mend="remove that character",
        )
    return text.strip()


def has_control(text: str) -> bool:
    """Whether ``text`` holds a character that :func:`clean_text` refuses."""
    return _CONTROL.search(text) is not None


def _bare(path: str) -> str:
    return path[2:] if path.startswith("$.") else path


def _join(path: str, name: str) -> str:
    return name if path == "$" else f"{_bare(path)}.{name}"


def _fields(kind: Any) -> tuple[str, ...]:
    return tuple(getattr(kind, "__struct_encode_fields__", ()))
