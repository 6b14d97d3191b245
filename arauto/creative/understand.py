"""Free words → a :class:`~arauto.core.brief.Brief`, by rules, in Brazilian Portuguese and English.

Rules and not a model: what the brief says is what every fact is checked against, so it must be the same each time and
explainable. What the rules do not find stays in ``prompt`` and can be given as a field.
"""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Any

from arauto.core.brief import Brief, Language, check_brief
from arauto.core.door import clean_text, from_data
from arauto.core.errors import BriefError
from arauto.creative.grammar import AD_MONEY, AGE_FROM, AGES, GRAMMARS, HIGHLIGHTS, MONTHS, PROPER_NAME, Grammar
from arauto.creative.words import guess_language

MAX_PROMPT = 2000

_CURRENCIES = {"r$": "BRL", "us$": "USD", "$": "USD", "€": "EUR", "£": "GBP"}
_LINK = re.compile(r"https?://[^\s\"'<>]+")
_ANYONE = frozenset({"people", "pessoas", "anyone", "everyone", "público", "adults", "adultos"})


def understand(text: str, language: Language | None = None) -> Brief:
    """The brief that ``text`` asks for. ``language`` is told from the words unless it is given.

    Raises:
        BriefError: when no product can be found, or the text is empty, longer than 2,000 characters or holds control
            characters.
    """
    prompt = _checked(text)
    if not prompt:
        raise BriefError("is empty", field="prompt", mend="say what is being advertised, for whom and why")
    fields = find_fields(prompt, language or language_of(prompt))
    if "product" not in fields:
        raise BriefError(
            "no product can be found in the words",
            field="product",
            mend="write it as in 'an ad for a smartwatch focused on health', or give `product:`",
        )
    return check_brief(from_data(fields, Brief, error=BriefError))


def find_fields(text: str, language: Language) -> dict[str, Any]:
    """Every field of a brief that the rules find in ``text``, as plain data; ``prompt`` is always among them."""
    prompt, grammar = _checked(text), GRAMMARS[language]
    found: dict[str, Any] = {
        "product": _product(prompt, grammar),
        "focus": _focus(prompt, grammar),
        "audience": _audience(prompt, grammar),
        "age_range": _ages(prompt),
        "tone": _first(grammar.tone, prompt)[:200],
        "call_to_action": _first(grammar.action, prompt),
        "link": match[0].rstrip(".,;)") if (match := _LINK.search(prompt)) else "",
        "offer": _offer(prompt, language, grammar),
        "image_hint": _image(prompt, grammar)[0],
        "benefits": _benefits(prompt, grammar),
    }
    if brand := re.search(f"(?i:{grammar.brand}){PROPER_NAME}", prompt):
        found["brand"] = {"name": brand[1].strip(" .")[:80]}
    found.update(_labelled(prompt, grammar))
    return {"prompt": prompt, "language": language, **{name: value for name, value in found.items() if value}}


def language_of(text: str) -> Language:
    """The language of free words; of two labels, when there is no sentence to tell it by."""
    labels = {line.partition(":")[0].strip(" -*•").lower() for line in text.splitlines() if ":" in line}
    english = len(labels & GRAMMARS["en"].labels.keys()) > len(labels & GRAMMARS["pt-BR"].labels.keys())
    return guess_language(text, "en" if english else "pt-BR")


def _checked(text: str) -> str:
    if len(text) > MAX_PROMPT:
        raise BriefError(
            f"has {len(text)} characters", field="prompt", mend=f"say it in at most {MAX_PROMPT}, or give the fields"
        )
    return clean_text(text.replace("\r\n", "\n"), "prompt", error=BriefError)


def _labelled(text: str, grammar: Grammar) -> dict[str, Any]:
    """Lines such as ``Produto: smartwatch``."""
    found: dict[str, Any] = {}
    for line in text.splitlines():
        label, colon, value = line.partition(":")
        name = grammar.labels.get(label.strip(" -*•").lower())
        value = value.strip().rstrip(".")
        if not colon or name is None or not value:
            continue
        if name == "benefits":
            found[name] = _list(value)
        elif name == "brand":
            found[name] = {"name": value[:80]}
        elif name == "audience":
            found[name] = _people(value, grammar)
        else:
            found[name] = value[:80] if name == "product" else value
    return found


def _product(text: str, grammar: Grammar) -> str:
    for opening in grammar.product:
        if match := _search(opening + grammar.article + r"([^\n]{1,80}?)" + grammar.stop, text):
            return _name(match[1], text)
    # "Smartwatch focado em saúde…": a short name at the very beginning, closed by a word that only a brief has.
    # Words are taken whole (++): trying every way to cut a long one takes for ever.
    closed = _search(
        "^"
        + grammar.article
        + r"([\w'’+-]++(?: [\w'’+-]++){0,4}?)\s*(?:,\s*)?(?="
        + grammar.focus
        + "|da marca |by the brand )",
        text,
    )
    return _name(closed[1], text) if closed else ""


def _name(raw: str, text: str) -> str:
    name = raw.strip(" \"“”'’.,")
    # A capital that only the beginning of the sentence gave; "iPhone" and "SmartWatch X" keep theirs.
    if text.startswith(name) and name[1:] == name[1:].lower():
        name = name[:1].lower() + name[1:]
    return name[:80]


def _focus(text: str, grammar: Grammar) -> str:
    match = _search(grammar.focus + rf"(?!{grammar.people}\b)" + r"([^\n]+?)" + grammar.stop, text)
    return match[1].strip()[:120] if match else ""


def _audience(text: str, grammar: Grammar) -> str:
    for opening in grammar.audience:
        match = _search(opening + r"([^,.;:!?\n()]+)", text)
        if match and (people := _people(match[1], grammar)):
            return people
    return ""


def _people(text: str, grammar: Grammar) -> str:
    """Who is spoken to, without their ages, which have a field of their own."""
    for pattern in (*AGES, AGE_FROM, grammar.focus, grammar.tone_of):
        match = _search(pattern, text)
        text = text[: match.start()] if match else text
    left_over = (
        r"(?:(?:\s+|^)(?:de|entre|com|com idade|aged?|ages|between|from|who are|que têm|na faixa|anos|years))*\s*$"
    )
    people = re.sub(left_over, "", text.strip(), flags=re.IGNORECASE).strip()
    return "" if people.lower() in _ANYONE or people[:1].isdigit() else people[:200]


def _ages(text: str) -> tuple[int, int] | None:
    for pattern in AGES:
        if match := _search(pattern, text):
            low, high = int(match[1]), int(match[2])
            if low <= high <= 120:
                return low, high
    match = _search(AGE_FROM, text)
    low = int(match[1] or match[2]) if match else 121
    return (low, 120) if low <= 120 else None


def _image(text: str, grammar: Grammar) -> tuple[str, bool]:
    """What the picture is to show, and whether the words make it a merit of the product (*highlight*, not *show*)."""
    match = _search(grammar.image, text)
    return (match[2].strip()[:300], match[1].lower().startswith(HIGHLIGHTS)) if match else ("", False)


def _benefits(text: str, grammar: Grammar) -> list[str]:
    """What comes "with" the product in its own sentence, and what the picture is to highlight."""
    hint, featured = _image(text, grammar)
    before = text[: text.find(hint)] if hint else text
    product = _product(text, grammar)
    own_sentence = (
        re.split(r"\.\s", before[before.lower().find(product.lower()) + len(product) :])[0] if product else ""
    )
    feature = _search(grammar.feature, own_sentence)
    merits = [feature[1].strip()] if feature and not _search(r"\d+\s?%|R\$|\$\s?\d|" + AGES[0], feature[1]) else []
    return [merit[:200] for merit in (*merits, hint if featured else "") if merit]


def _offer(text: str, language: Language, grammar: Grammar) -> dict[str, Any]:
    offer: dict[str, Any] = {}
    pair = _search(
        rf"\b(?:de|was|from)\s+{AD_MONEY}\s*,?\s*(?:por|now|to)\s+(?:apenas\s+|only\s+|just\s+)?{AD_MONEY}", text
    )
    # "a partir de R$ 99" is not a price but the least of several: it stays in the words.
    single = _search(rf"(?<!a partir de )(?<!starting at )(?<!starting from ){AD_MONEY}", text)
    if pair:
        offer = {"was": _amount(pair[2], language), "price": _amount(pair[4], language)}
        offer["currency"] = _CURRENCIES[pair[3].lower()]
    elif single:
        offer = {"price": _amount(single[2], language), "currency": _CURRENCIES[single[1].lower()]}
    if discount := _first(grammar.discount, text):
        offer["discount"] = _amount(discount, language)
    if deadline := _deadline(text, language, grammar):
        offer["deadline"] = deadline
    return offer


def _amount(digits: str, language: Language) -> Decimal:
    point, thousands = (",", ".") if language == "pt-BR" else (".", ",")
    try:
        return Decimal(digits.rstrip(".,").replace(thousands, "").replace(point, "."))
    except ArithmeticError:
        raise BriefError(
            f"{digits!r} is not an amount", field="offer.price", mend="give `offer:` with numbers"
        ) from None


def _deadline(text: str, language: Language, grammar: Grammar) -> date | None:
    match = _search(grammar.deadline, text)
    if not match:
        return None
    try:
        if match["y"]:
            return date(int(match["y"]), int(match["m"]), int(match["d"]))
        return date(int(match["year"]), MONTHS[language].split().index(match["month"].lower()) + 1, int(match["day"]))
    except ValueError:
        raise BriefError(f"{match[0]!r} is not a date", field="offer.deadline", mend="give it as YYYY-MM-DD") from None


def _list(text: str) -> list[str]:
    """``a, b e c`` → a, b, c. Without a comma or semicolon, "e" joins the words of one benefit."""
    parts = re.split(r"[,;]", text)
    last = re.split(r"\s+(?:e|and)\s+", parts[-1], maxsplit=1) if len(parts) > 1 else parts[-1:]
    return [part.strip(" .")[:200] for part in (*parts[:-1], *last) if part.strip(" .")][:12]


def _search(pattern: str, text: str) -> re.Match[str] | None:
    return re.search(pattern, text, re.IGNORECASE)


def _first(pattern: str, text: str) -> str:
    """The first group of ``pattern`` that matched; empty when none did."""
    match = _search(pattern, text)
    return next((group.strip() for group in match.groups() if group), "") if match else ""
