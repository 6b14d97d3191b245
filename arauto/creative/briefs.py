"""Briefs from outside: a file in YAML, JSON or plain words; plain data of a request; the words themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import yaml

from arauto.core.brief import Brief, Language, check_brief
from arauto.core.door import from_data
from arauto.core.errors import BriefError
from arauto.core.i18n import LANGUAGES
from arauto.creative.understand import find_fields, language_of, understand

MAX_BYTES = 64 * 1024
_FILE_ENDS = (".yaml", ".yml", ".json", ".txt", ".md")


class _Loader(yaml.SafeLoader):
    """Plain data only, and no aliases: a few of them can stand for gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


def load_brief(source: str | Path) -> Brief:
    """The brief in a file (a path, or a text that ends like one: .yaml .yml .json .txt .md), or in ``source`` itself.

    A text that is a YAML or JSON mapping is read as fields; any other text is understood as free words.

    Raises:
        BriefError: names the field or the file, what was wrong and the mend.
    """
    if isinstance(source, Path) or ("\n" not in source and source.strip().lower().endswith(_FILE_ENDS)):
        text = _read(Path(source.strip() if isinstance(source, str) else source).expanduser())
    else:
        text = source
    if len(text.encode()) > MAX_BYTES:
        raise BriefError(f"is larger than {MAX_BYTES} bytes", field="brief", mend="shorten it")
    data = _mapping(text)
    return understand(text) if data is None else read_brief(data)


def read_brief(data: Mapping[str, Any]) -> Brief:
    """The brief that plain data holds. What is missing is looked for in ``prompt``; the other fields win over it.

    Raises:
        BriefError: names the field, what was wrong and the mend.
    """
    fields = dict(data)
    prompt = fields.get("prompt")
    if isinstance(prompt, str) and prompt.strip():
        given: Language = fields["language"] if fields.get("language") in LANGUAGES else language_of(prompt)
        fields = {**find_fields(prompt, given), **fields}
    if not fields.get("product"):
        raise BriefError("is missing", field="product", mend="add `product:`, the name of what is being advertised")
    return check_brief(from_data(_plain(fields), Brief, error=BriefError, strict=False))


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BriefError(f"is larger than {MAX_BYTES} bytes", field=str(path), mend="shorten it")
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        raise BriefError("is not UTF-8 text", field=str(path), mend="save it as UTF-8") from None
    except OSError as failure:
        why = failure.strerror or "cannot be read"
        raise BriefError(
            why[:1].lower() + why[1:], field=str(path), mend="give the path of a brief, or its words"
        ) from None


def _mapping(text: str) -> dict[str, Any] | None:
    """The mapping that ``text`` is, or None when it is words."""
    stripped = text.lstrip("\ufeff \t\r\n")
    first = stripped.split("\n", 1)[0]
    key = first.split(":", 1)[0].strip().strip("\"'")
    known = key in Brief.__struct_fields__ or key.startswith(("#", "---"))
    if not (stripped.startswith("{") or (":" in first and known) or first.startswith(("#", "---"))):
        return None
    try:
        data = json.loads(stripped) if stripped.startswith("{") else yaml.load(stripped, _Loader)  # noqa: S506
    except (ValueError, yaml.YAMLError, RecursionError) as failure:
        problem = getattr(failure, "problem", None) or str(failure).splitlines()[0]
        mark = getattr(failure, "problem_mark", None)
        place = f" in line {mark.line + 1}" if mark else ""
        raise BriefError(
            f"cannot be read{place}: {problem}", field="brief", mend="mend that line of the file"
        ) from None
    if not isinstance(data, dict):
        raise BriefError(
            "is not a mapping of fields", field="brief", mend="begin with a line such as `product: smartwatch`"
        )
    return data


def _plain(value: Any) -> Any:
    """YAML reads dates as ``date`` and keys as anything; a brief has dates of days, and names."""
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | date) or value is None else str(value)
