"""The rules of a kit: the rows of ``data/kit.toml``, and waivers of what they find."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib import resources
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from arauto.core.door import from_data
from arauto.core.kit import Finding, Severity


class KitRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One rule. ``source`` says who set it and ``date`` (ISO 8601) when that was read."""

    id: str
    severity: Severity
    problem: str
    mend: str
    source: str
    date: str
    limit: int = 0

    def finding(self, field: str, *, place: str = "", source: str = "", **values: object) -> Finding:
        """What this rule says of ``field`` of the asset ``place``, its sentences filled with ``values``."""
        filled = {"limit": self.limit, **values}
        return Finding(
            rule=self.id,
            severity=self.severity,
            field=field,
            problem=self.problem.format(**filled),
            mend=self.mend.format(**filled),
            place=place,
            source=source or f"{self.source}; {self.date}",
        )


class Policy(KitRule, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A rule of words: see ``data/kit.toml``."""

    when: str = ""
    requires: str = ""
    forbids: str = ""


class Waiver(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Somebody's word that a finding may stand: whose, and why. ``place`` empty waives the rule for the whole kit."""

    rule: Annotated[str, Meta(min_length=1, max_length=40)]
    name: Annotated[str, Meta(min_length=1, max_length=80)]
    reason: Annotated[str, Meta(min_length=8, max_length=500)]
    place: Annotated[str, Meta(max_length=120)] = ""


def waive(findings: Iterable[Finding], waivers: Iterable[Waiver]) -> list[Finding]:
    """The findings, those that a waiver covers marked with its name and reason."""
    given = list(waivers)
    out = []
    for finding in findings:
        cover = next((one for one in given if one.rule == finding.rule and one.place in ("", finding.place)), None)
        if cover is not None:
            finding = msgspec.structs.replace(finding, waived_by=cover.name, reason=cover.reason)
        out.append(finding)
    return out


@cache
def kit_rules() -> dict[str, KitRule]:
    """Every rule that code looks for, by id."""
    return {rule.id: rule for rule in from_data(_table()["rules"], list[KitRule])}


@cache
def policies() -> dict[str, Policy]:
    """Every rule of words, by id."""
    return {rule.id: rule for rule in from_data(_table()["policy"], list[Policy])}


@cache
def expression(source: str) -> re.Pattern[str]:
    """A rule's expression over folded text; ``@name`` stands for a list of the file."""
    if source.startswith("@"):
        source = _table()["lists"][source[1:]]
    return re.compile(rf"(?<!\w)(?:{source})(?!\w)")


@cache
def _table() -> dict[str, Any]:
    text = resources.files("arauto.creative").joinpath("data", "kit.toml").read_text("utf-8")
    return tomllib.loads(text)
