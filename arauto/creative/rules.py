"""The rules of ``data/rules.toml``: one dated row each, and the findings that they make."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib import resources
from typing import Literal

import msgspec

from arauto.core.door import from_data
from arauto.creative.types import Finding, Severity

TEXT_FIELDS = ("title", "description", "image_suggestion")

Backing = Literal["", "brief", "evidence", "price", "discount", "deadline"]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One rule. ``source`` says who set it and ``date`` (ISO 8601) when that was read; the rest: see the file."""

    id: str
    severity: Severity
    problem: str
    mend: str
    source: str
    date: str
    limit: int = 0
    unless: Backing = ""
    context: bool = False
    fields: tuple[str, ...] = TEXT_FIELDS
    patterns: tuple[str, ...] = ()
    families: tuple[str, ...] = ()

    def finding(self, field: str, **values: object) -> Finding:
        """What this rule says of ``field``, its sentence filled with ``values``."""
        return Finding(
            rule=self.id,
            severity=self.severity,
            field=field,
            problem=self.problem.format(limit=self.limit, **values),
            mend=self.mend,
        )


@cache
def rules() -> dict[str, Rule]:
    """Every rule, by its id."""
    text = resources.files("arauto.creative").joinpath("data", "rules.toml").read_text("utf-8")
    rows = from_data(tomllib.loads(text)["rules"], list[Rule])
    return {rule.id: rule for rule in rows}


@cache
def expressions(rule_id: str) -> tuple[re.Pattern[str], ...]:
    """What a rule looks for, in folded text: its ``patterns``, then its ``families``.

    Within a family any word backs any other ("entrega" in the brief backs "entregue" in the copy); a pattern's match
    backs only itself.
    """
    rule = rules()[rule_id]
    return tuple(re.compile(rf"(?<!\w)(?:{source})(?!\w)") for source in (*rule.patterns, *rule.families))


@cache
def screen(rule_id: str) -> re.Pattern[str] | None:
    """One expression that matches whenever any of :func:`expressions` does; None for a rule that looks for no words."""
    rule = rules()[rule_id]
    sources = [f"(?:{source})" for source in (*rule.patterns, *rule.families)]
    return re.compile(rf"(?<!\w)(?:{'|'.join(sources)})(?!\w)") if sources else None
