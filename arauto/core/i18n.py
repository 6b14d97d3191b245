"""Words of screens, reports and the terminal, in Brazilian Portuguese and English, and numbers as each writes them."""

from __future__ import annotations

import tomllib
from datetime import date
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import get_args

from babel.dates import format_date
from babel.numbers import format_currency, format_decimal, format_percent

from arauto.core.brief import Language

LANGUAGES: tuple[Language, ...] = get_args(Language)
_LOCALE = {"pt-BR": "pt_BR", "en": "en_US"}


@cache
def catalogue(language: Language) -> dict[str, str]:
    """All the messages of a language, by dotted key."""
    text = resources.files("arauto.core").joinpath("locales", f"{language}.toml").read_text("utf-8")
    return {
        f"{section}.{key}": value
        for section, messages in tomllib.loads(text).items()
        for key, value in messages.items()
    }


def say(key: str, language: Language, **values: object) -> str:
    """The message ``key`` in ``language``, with its ``{slots}`` filled. An unknown key is a programming error."""
    return catalogue(language)[key].format(**values)


def choose_language(accept: str, default: Language = "pt-BR") -> Language:
    """The best of our languages for an ``Accept-Language`` header (RFC 9110, section 12.5.4)."""
    wishes: list[tuple[float, str]] = []
    for part in accept.split(",")[:20]:
        tag, _, quality = part.strip().partition(";q=")
        try:
            wishes.append((float(quality or 1), tag.lower()))
        except ValueError:
            continue
    for _, tag in sorted(wishes, key=lambda wish: -wish[0]):
        if tag.startswith("pt"):
            return "pt-BR"
        if tag.startswith("en"):
            return "en"
    return default


def money(amount: Decimal, currency: str, language: Language) -> str:
    """``R$ 1.299,90`` or ``$1,299.90``; a plain blank after the sign, so that texts can be compared."""
    return format_currency(amount, currency, locale=_LOCALE[language]).replace("\xa0", " ")


def number(value: float, language: Language, decimals: int = 0) -> str:
    """A number with the language's separators."""
    pattern = "#,##0" + ("." + "0" * decimals if decimals else "")
    return format_decimal(value, format=pattern, locale=_LOCALE[language])


def percent(share: float, language: Language, decimals: int = 2) -> str:
    """A share of one as a percentage: 0.0123 → ``1,23%``."""
    pattern = "#,##0" + ("." + "0" * decimals if decimals else "") + "%"
    return format_percent(share, format=pattern, locale=_LOCALE[language])


def day(value: date, language: Language) -> str:
    """A date, short: ``30/11/2026`` or ``Nov 30, 2026``."""
    return format_date(value, format="dd/MM/yyyy" if language == "pt-BR" else "MMM d, yyyy", locale=_LOCALE[language])
