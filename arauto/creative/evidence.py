"""What a brief proves: its numbers, its names, its words. Pure functions over a :class:`Ground` built once a brief."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from arauto.core import i18n
from arauto.core.brief import Brief, Language, Message
from arauto.creative.words import FUNCTION_WORDS, fold, listed

_NUMBER = re.compile(
    r"(?P<sign>R\$|US\$|\$|€|£)?\s?(?P<digits>\d(?:[\d.,]*\d)?)(?P<percent>\s?(?:%|por\s*cento|percent\b))?",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"[^\W_]+")
_AGES = re.compile(
    r"(?:\b(?:entre|de|aged?|ages|between)\s+)?\d{1,3}\s*(?:anos\s*)?(?:a|e|até|and|to|-|–)\s*\d{1,3}\s*(?:anos|years)?"
    r"(?=\W|$)|(?:acima de|mais de|maiores de|over|above)\s+\d{1,3}(?:\s+(?:anos|years))?",
    re.IGNORECASE,
)
_NEAR = 60  # characters around a number in which the words beside it are looked for
_DENIALS = listed("nao sem nunca evite jamais no not without never avoid dont nenhum nenhuma")

# Words that count, and what they count. "um", "uma" and "one" are articles before they are numbers.
_COUNTS = {
    word: value
    for value, names in {
        "2": "dois duas two",
        "3": "tres three",
        "4": "quatro four",
        "5": "cinco five",
        "6": "seis six",
        "7": "sete seven",
        "8": "oito eight",
        "9": "nove nine",
        "10": "dez ten",
        "11": "onze eleven",
        "12": "doze twelve",
        "15": "quinze fifteen",
        "20": "vinte twenty",
        "30": "trinta thirty",
        "40": "quarenta forty",
        "50": "cinquenta fifty",
        "100": "cem hundred hundreds",
        "1000": "mil thousand thousands milhares",
        "1000000": "milhao milhoes million millions",
        "half": "metade half",
        "double": "dobro dupla duplo double twice",
        "triple": "triplo triple",
        "dozen": "duzia duzias dezenas centenas dozen dozens",
    }.items()
    for word in names.split()
}


class Quantity(NamedTuple):
    """A number in a text: its value, what kind it is, the words beside it, and how it was written."""

    kind: str  # "money", "percent" or "plain"
    value: str
    beside: frozenset[str]
    written: str


class Ground(NamedTuple):
    """Everything that a brief lets a copy say."""

    language: Language
    corpus: str
    """The brief's own words, folded, one line a field."""
    evidence: str
    """The claims that name their evidence, folded."""
    names: frozenset[str]
    quantities: tuple[Quantity, ...]
    facts: tuple[str, ...]
    """The facts as they are printed, longest first: they are always allowed."""
    has: frozenset[str]
    """Which of price, discount and deadline the offer has."""


def ground_of(brief: Brief, message: Message) -> Ground:
    """What ``brief`` and its ``message`` prove."""
    own = list(_own_words(brief, message))
    # The ages of the audience say who is spoken to; they prove no number of the product.
    described = [_AGES.sub(" ", text) if text in (brief.prompt, brief.audience) else text for text in own]
    offer = brief.offer
    has = {name for name in ("price", "discount", "deadline") if offer is not None and getattr(offer, name) is not None}
    if offer is not None and offer.was is not None:
        has.add("discount")
    return Ground(
        language=brief.language,
        corpus="\n".join(fold(text) for text in own),
        evidence="\n".join(fold(claim.text) for claim in brief.claims if claim.evidence),
        names=frozenset(token for text in own for token in _TOKEN.findall(fold(text))),
        quantities=tuple(quantity for text in described for quantity in quantities(text, brief.language)),
        facts=tuple(sorted(_facts(brief, message), key=len, reverse=True)),
        has=frozenset(has),
    )


def _own_words(brief: Brief, message: Message) -> Iterable[str]:
    offer = brief.offer
    texts = (
        brief.product,
        brief.prompt,
        brief.description,
        brief.focus,
        *brief.benefits,
        brief.audience,
        *(claim.text for claim in brief.claims),
        brief.brand.name if brief.brand else "",
        offer.terms if offer else "",
        brief.call_to_action,
        brief.image_hint,
        *brief.disclaimers,
        message.price,
        message.was,
        message.discount,
        message.deadline,
    )
    return (text for text in texts if text)


def _facts(brief: Brief, message: Message) -> set[str]:
    printed = {message.price, message.was, message.discount, message.deadline, message.brand, message.product}
    if brief.offer is not None and isinstance(brief.offer.deadline, date):
        printed.add(i18n.day(brief.offer.deadline, brief.language))
    return {fact for fact in printed if fact}


def without_facts(text: str, ground: Ground) -> str:
    """``text`` with an "x" for each printed fact, so that only what the writer added is left to prove."""
    for fact in ground.facts:
        text = re.sub(rf"(?<!\w){re.escape(fact)}(?!\w)", "x", text, flags=re.IGNORECASE)
    return text


def quantities(text: str, language: Language, *, spelled: bool = True) -> list[Quantity]:
    """Every number in ``text``, in digits and, with ``spelled``, in words."""
    found = []
    for match in _NUMBER.finditer(text):
        kind = "money" if match["sign"] else "percent" if match["percent"] else "plain"
        written = match[0].strip()
        found.append(
            Quantity(kind, _value(match["digits"], language), _beside(text, match.start(), match.end()), written)
        )
    if spelled:
        spelled_out = ((match, _COUNTS.get(fold(match[0]))) for match in re.finditer(r"[^\W\d_]+", text))
        found.extend(
            Quantity("plain", count, _beside(text, match.start(), match.end()), match[0])
            for match, count in spelled_out
            if count
        )
    return found


def _beside(text: str, start: int, end: int) -> frozenset[str]:
    """The nearest words before and after, plural or not: what the number counts."""
    before = _telling(text[max(0, start - _NEAR) : start])[-2:]
    after = _telling(text[end : end + _NEAR])[:2]
    return frozenset(token.rstrip("s") for token in (*before, *after))


def _telling(text: str) -> list[str]:
    return [token for token in _TOKEN.findall(fold(text)) if len(token) > 2 and token not in FUNCTION_WORDS]


def _value(digits: str, language: Language) -> str:
    """Digits as a canonical number: ``1.299,90`` and ``1,299.90`` are both ``1299.9`` in their languages."""
    point, thousands = (",", ".") if language == "pt-BR" else (".", ",")
    if re.fullmatch(rf"\d{{1,3}}(?:\{thousands}\d{{3}})+(?:\{point}\d+)?", digits):
        digits = digits.replace(thousands, "")
    try:
        value = Decimal(digits.replace(",", "."))
    except ArithmeticError:
        return digits
    return format(value.normalize(), "f")


def unproved(text: str, ground: Ground, *, spelled: bool = True) -> list[str]:
    """The numbers of ``text`` that the brief does not say, as they are written.

    A plain number must also count the same thing: "bateria de 7 dias" does not prove "7 anos".
    """
    left = without_facts(text, ground)
    return [
        quantity.written
        for quantity in quantities(left, ground.language, spelled=spelled)
        if not any(_proves(known, quantity) for known in ground.quantities)
    ]


def _proves(known: Quantity, said: Quantity) -> bool:
    if known.value != said.value or known.kind != said.kind:
        return False
    return said.kind != "plain" or not said.beside or bool(known.beside & said.beside)


def affirmed(expression: re.Pattern[str], text: str) -> list[re.Match[str]]:
    """The matches in folded ``text`` that no "sem", "não", "without"… stands before."""
    return [match for match in expression.finditer(text) if not _DENIALS & set(_just_before(text, match.start()))]


def _just_before(text: str, place: int) -> list[str]:
    """The three words before ``place``, in its line."""
    near = text[max(0, place - _NEAR) : place].rsplit("\n", 1)[-1]
    return re.findall(r"\w+", near.replace("'", ""))[-3:]


def same_company(said: re.Match[str], known: re.Match[str]) -> bool:
    """Whether two matches stand beside a common word."""
    return bool(_beside(said.string, said.start(), said.end()) & _beside(known.string, known.start(), known.end()))
