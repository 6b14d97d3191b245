"""The slot writer: the sentences of ``data/slots.toml`` filled with the brief's facts. It always works.

It promises nothing: a row says only what the brief says, and rows whose facts are missing are not used. Every copy goes
through the same checks as a model's.
"""

from __future__ import annotations

import hashlib
import random
import re
import time
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from arauto.core.brief import Brief, Language, Message
from arauto.core.campaign import Copy, Origin
from arauto.core.door import from_data
from arauto.creative.checks import check_copy, has_errors, too_similar
from arauto.creative.message import compose_message
from arauto.creative.portuguese import forms_of, noun_of
from arauto.creative.rules import rules
from arauto.creative.types import Ask, Draft, Finding, Refusal, WriteResult
from arauto.creative.words import fold, folded_words, listed

_SLOT = re.compile(r"\{([^{}]+)\}")
# An audience that is named by a personal attribute is not spoken to as such (rule META-PERSONAL).
_PERSONAL = listed(
    "jovem jovens idoso idosos idosa idosas adulto adultos adulta adultas adolescentes criancas senior seniors young"
    " elderly adults teens teenagers children kids gestantes gravidas pregnant diabeticos obesos endividados catolicos"
    " evangelicos cristaos judeus negros negras gays desempregados deficientes christians jews muslims unemployed"
    " overweight disabled retired aposentados pacientes patients divorced single solteiros divorciados anos years age"
    " aged people pessoas publico"
)


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One angle: see ``data/slots.toml``."""

    angle: str
    needs: tuple[str, ...]
    title: Annotated[str, Meta(min_length=1)]
    text: Annotated[str, Meta(min_length=1)]
    plain_title: str = ""
    plain_text: str = ""
    short_title: str = ""


class Scenes(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the pictures show: of goods, or of a service, whose heads are listed in ``services``."""

    hint: str
    person: str
    person_of_age: str
    goods: tuple[str, ...]
    service: tuple[str, ...]
    services: str


class SlotEngine:
    """The slot writer as an engine, for a writer that wants its drafts one by one."""

    name = "slot"
    model = ""

    async def write(self, ask: Ask) -> Draft:
        drafts = list(slot_copies(ask.brief, ask.message, ask.seed))
        row, copy = drafts[ask.turn % len(drafts)]
        return Draft(copy=copy, prompt_sha256=_fingerprint(row))

    async def close(self) -> None:
        """Nothing is held."""


def write_slots(brief: Brief, n: int = 4, seed: int = 0) -> WriteResult:
    """``n`` distinct variants of ``brief`` at once, without a model; the same ``seed`` gives the same ones.

    Fewer than ``n`` come back only when the brief's own words break a rule in most sentences; the refused ones say why.
    """
    started = time.monotonic()
    message = compose_message(brief)
    accepted: list[tuple[Copy, Origin]] = []
    refused: list[Refusal] = []
    warnings: list[Finding] = []
    attempts = 0
    for row, copy in slot_copies(brief, message, seed):
        if len(accepted) == n:
            break
        attempts += 1
        origin = Origin(engine="slot", prompt_sha256=_fingerprint(row), seed=seed)
        findings = (*check_copy(copy, brief, message), *too_similar(copy, [kept for kept, _ in accepted]))
        if has_errors(findings):
            refused.append(Refusal(copy=copy, origin=origin, findings=findings))
        else:
            accepted.append((copy, origin))
            warnings.extend(findings)
    return WriteResult(
        accepted=tuple(accepted),
        refused=tuple(refused),
        warnings=tuple(warnings),
        attempts=attempts,
        seconds=time.monotonic() - started,
    )


def slot_copies(brief: Brief, message: Message, seed: int) -> Iterator[tuple[Row, Copy]]:
    """Every copy that the rows can make of ``brief``, those that say something of it first, shuffled by ``seed``."""
    rows, scenes = _tables(brief.language)
    facts = slot_facts(brief, message)
    usable = [row for row in rows if all(facts.get(need) for need in row.needs)]
    shuffle = random.Random(seed)  # noqa: S311  (repeatable on purpose)
    shuffle.shuffle(usable)
    pictures = _pictures(brief, scenes, facts, shuffle)
    for place, row in enumerate(_interleave(usable)):
        title = fill(row.title, facts) or fill(row.plain_title, facts)
        if row.short_title and len(title) > rules()["LEN-TITLE"].limit:
            title = fill(row.short_title, facts)
        text = fill(row.text, facts) or fill(row.plain_text, facts)
        if title and text:
            yield row, Copy(title=title, description=text, image_suggestion=pictures[place % len(pictures)])


def _interleave(rows: list[Row]) -> list[Row]:
    """Two rows that carry facts, then one that needs none: a kit that says something, in more than one way."""
    telling = [row for row in rows if row.needs]
    general = [row for row in rows if not row.needs]
    mixed: list[Row] = []
    while telling or general:
        mixed += telling[:2] + general[:1]
        telling, general = telling[2:], general[1:]
    return mixed


@cache
def _tables(language: Language) -> tuple[tuple[Row, ...], Scenes]:
    text = resources.files("arauto.creative").joinpath("data", "slots.toml").read_text("utf-8")
    table: dict[str, Any] = tomllib.loads(text)[language]
    return tuple(from_data(table["angles"], list[Row])), from_data(table["scenes"], Scenes)


def slot_facts(brief: Brief, message: Message) -> dict[str, str]:
    """What the slots of a sentence are filled with; a fact that the brief does not give is empty."""
    noun = noun_of(brief.product) if brief.language == "pt-BR" else None
    benefits = [_phrase(benefit) for benefit in brief.benefits]
    facts = {
        "product": brief.product,
        "name": f"{brief.product} {message.brand}".strip(),
        "focus": _phrase(brief.focus),
        "benefit": benefits[0] if benefits else "",
        "second": benefits[1] if len(benefits) > 1 else "",
        "audience": _audience(brief.audience),
        **{name: getattr(message, name) for name in ("brand", "price", "was", "discount", "deadline")},
    }
    if noun is not None:
        facts.update(forms_of(noun))
        facts["plural"] = "yes" if noun.plural else "no"
    return facts


def _phrase(text: str) -> str:
    """A benefit or focus as it stands inside a sentence: without full stop, nor a capital that only a start gives."""
    text = text.strip().rstrip(".!")
    first = text.split(" ", 1)[0]
    return text[:1].lower() + text[1:] if first[1:].islower() else text


def _audience(audience: str) -> str:
    named = set(folded_words(audience))
    return "" if named & _PERSONAL or any(c.isdigit() for c in audience) else _phrase(audience)


def fill(template: str, facts: dict[str, str]) -> str:
    """The template with its slots filled; empty when it needs a word that the facts do not have."""
    missing = False

    def value(match: re.Match[str]) -> str:
        nonlocal missing
        singular, slash, plural = match[1].partition("/")
        if slash:
            missing |= "plural" not in facts
            return plural if facts.get("plural") == "yes" else singular
        fact = facts.get(match[1]) or _capital(facts.get(match[1][:1].lower() + match[1][1:], ""))
        missing |= not fact
        return fact

    filled = _SLOT.sub(value, template)
    return "" if missing else _capital(filled)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _pictures(brief: Brief, scenes: Scenes, facts: dict[str, str], shuffle: random.Random) -> list[str]:
    low, high = brief.age_range or (0, 0)
    of_age = low >= 18 and high < 120
    person = scenes.person_of_age.format(low=low, high=high) if of_age else scenes.person
    services = {fold(word) for word in scenes.services.split()}
    heads = folded_words(brief.product)
    head = heads[:1] if brief.language == "pt-BR" else heads[-1:]
    templates = list(scenes.service if services & set(head) else scenes.goods)
    shuffle.shuffle(templates)
    pictures = [fill(template, {**facts, "person": person}) for template in templates]
    if not brief.image_hint:
        return pictures
    return [scenes.hint.format(scene=picture, hint=_phrase(brief.image_hint)) for picture in pictures]


def _fingerprint(row: Row) -> str:
    """The hash of the row, so that a variant's origin names the sentence it came from."""
    return hashlib.sha256(msgspec.json.encode(row)).hexdigest()
