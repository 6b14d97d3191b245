"""A brief as a form: its fields, what is typed into them, and every fault beside its field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from arauto.core.brief import Brief, check_brief
from arauto.core.door import from_data
from arauto.core.errors import BriefError

Kind = Literal["line", "text", "lines", "claims", "amount", "date", "age", "choice"]
_INDEX = re.compile(r"\[\d+\].*$")
_THOUSANDS = re.compile(r"^\d{1,3}(\.\d{3})+(,\d+)?$")
_ENGLISH = re.compile(r"^\d{1,3}(,\d{3})+(\.\d+)?$")


class Field(NamedTuple):
    """A field of the form: its name is the path in the brief, ``.`` between the parts. ``most`` is in characters."""

    name: str
    kind: Kind = "line"
    most: int = 200
    choices: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """In the catalogues, and as an id of the page."""
        return self.name.replace(".", "_")


GROUPS: Mapping[str, tuple[Field, ...]] = {
    "product": (
        Field("product", most=80),
        Field("focus", most=120),
        Field("description", "text", 2000),
        Field("benefits", "lines", 2400),
    ),
    "people": (
        Field("audience"),
        Field("age_low", "age", 3),
        Field("age_high", "age", 3),
        Field("goal", "choice", choices=("click", "purchase", "rating")),
        Field("link", most=2000),
    ),
    "offer": (
        Field("offer.price", "amount", 20),
        Field("offer.was", "amount", 20),
        Field("offer.currency", most=3),
        Field("offer.discount", "amount", 20),
        Field("offer.deadline", "date", 10),
        Field("offer.terms", "text", 300),
    ),
    "voice": (
        Field("language", "choice", choices=("pt-BR", "en")),
        Field("tone"),
        Field("call_to_action", most=40),
        Field("image_hint", "text", 300),
        Field("words_to_avoid", "lines", 4000),
    ),
    "proof": (
        Field("brand.name", most=80),
        Field("brand.colours", "lines", 80),
        Field("claims", "claims", 9000),
        Field("disclaimers", "lines", 1700),
    ),
}
FIELDS: Mapping[str, Field] = {field.name: field for group in GROUPS.values() for field in group}


def form_of(brief: Brief) -> dict[str, str]:
    """What the form holds for a brief."""
    data = msgspec.to_builtins(brief)
    low, high = data.get("age_range") or ("", "")
    form = {"age_low": str(low), "age_high": str(high)}
    for field in FIELDS.values():
        if field.kind != "age":
            value: Any = data
            for part in field.name.split("."):
                value = (value or {}).get(part)
            shown = _shown(field, value)
            comma = field.kind == "amount" and brief.language == "pt-BR"
            form[field.name] = shown.replace(".", ",") if comma else shown
    return form | {"goal": brief.goal, "language": brief.language}


def read_form(form: Mapping[str, str], before: Brief) -> tuple[Brief | None, dict[str, BriefError]]:
    """The brief that a form holds, and every fault by its field; None when what is left makes no brief.

    A faulty field is left out of the brief. What the form does not show (pictures, style …) stays as it was ``before``.
    """
    data = _data_of(form, before)
    faults: dict[str, BriefError] = {}
    for _ in range(len(FIELDS) + 1):
        try:
            return check_brief(from_data(data, Brief, error=BriefError, strict=False)), faults
        except BriefError as fault:
            name = _field_of(fault.field)
            if name in faults:
                return None, faults
            faults[name] = fault
            _leave_out(data, name)
    return None, faults


def _shown(field: Field, value: Any) -> str:
    if value is None:
        return ""
    if field.kind == "claims":
        return "\n".join(" | ".join(filter(None, (one["text"], one.get("evidence", "")))) for one in value)
    return "\n".join(value) if field.kind == "lines" else str(value)


def _data_of(form: Mapping[str, str], before: Brief) -> dict[str, Any]:
    data: dict[str, Any] = msgspec.to_builtins(before)
    data["offer"], data["brand"] = dict(data.get("offer") or {}), dict(data.get("brand") or {})
    for field in FIELDS.values():
        if field.kind == "age":
            continue
        *way, last = field.name.split(".")
        part = data[way[0]] if way else data
        part.pop(last, None)
        typed = form.get(field.name, "").strip()
        if typed:
            part[last] = _read(field, typed, english=form.get("language") == "en")
    ages = [form.get(name, "").strip() for name in ("age_low", "age_high")]
    data.pop("age_range", None)
    if any(ages):
        data["age_range"] = [ages[0] or 0, ages[1] or 120]
    for name in ("offer", "brand"):
        if not data[name]:
            del data[name]
    return data


def _read(field: Field, typed: str, *, english: bool) -> Any:
    lines = [line.strip() for line in typed.splitlines() if line.strip()]
    if field.kind == "lines":
        return lines
    if field.kind == "claims":
        parts = [line.partition("|") for line in lines]
        return [{"text": text.strip(), "evidence": evidence.strip()} for text, _, evidence in parts]
    if field.kind == "amount":
        plain = typed.removeprefix("R$").strip(" %")
        if english and _ENGLISH.match(plain):
            return plain.replace(",", "")
        # 1.299,90 as Brazil writes it; 1,299.90 as English does.
        if "," in plain and (plain.rfind(",") > plain.rfind(".")):
            return plain.replace(".", "").replace(",", ".")
        return plain.replace(".", "") if _THOUSANDS.match(plain) else plain.replace(",", "")
    return typed.upper() if field.name == "offer.currency" else typed


def _field_of(path: str) -> str:
    """The field of the form that a path of the brief is shown in."""
    name = _INDEX.sub("", path)
    if name == "age_range":
        return "age_high" if path.endswith("[1]") else "age_low"
    if name == "brand":
        return "brand.name"
    return name if name in FIELDS else "product"


def _leave_out(data: dict[str, Any], name: str) -> None:
    if name == "product":
        data["product"] = "–"
        return
    if name in ("age_low", "age_high"):
        data.pop("age_range", None)
        return
    *way, last = name.split(".")
    part = data.get(way[0], {}) if way else data
    part.pop(last, None)
    # A brand without its name is none; a price without its currency neither.
    if name == "brand.name":
        data.pop("brand", None)
    if name == "offer.price":
        part.pop("was", None)
    if name == "offer.currency":
        for amount in ("price", "was"):
            part.pop(amount, None)
