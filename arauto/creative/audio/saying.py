"""How a printed line is said: money, shares and days in words. Bare numbers stay: every voice reads them.

The captions show the printed line and the voice gets :func:`said` of it, so that the two cannot differ.
"""

from __future__ import annotations

import re
from decimal import Decimal

from babel.dates import get_month_names

from arauto.core.brief import Language

_CURRENCIES: dict[str, dict[Language, tuple[str, str, str, str]]] = {
    "R$": {"pt-BR": ("real", "reais", "centavo", "centavos"), "en": ("real", "reais", "centavo", "centavos")},
    "US$": {"pt-BR": ("dólar", "dólares", "centavo", "centavos"), "en": ("dollar", "dollars", "cent", "cents")},
    "$": {"pt-BR": ("dólar", "dólares", "centavo", "centavos"), "en": ("dollar", "dollars", "cent", "cents")},
    "€": {"pt-BR": ("euro", "euros", "centavo", "centavos"), "en": ("euro", "euros", "cent", "cents")},
    "£": {"pt-BR": ("libra", "libras", "centavo", "centavos"), "en": ("pound", "pounds", "penny", "pence")},
}
"""By sign: one unit, several, one hundredth, several."""

_MONEY = re.compile(r"(R\$|US\$|\$|€|£)\s?(\d[\d.,]*\d|\d)")
_SHARE = re.compile(r"(\d+(?:[.,]\d+)?)\s?%")
_DAY = {
    "pt-BR": re.compile(r"\b(\d{2})/(\d{2})/\d{4}\b"),
    "en": re.compile(r"\b([A-Z][a-z]{2}) (\d{1,2}), \d{4}\b"),
}
_PER_CENT = {"pt-BR": "por cento", "en": "percent"}
_AND = {"pt-BR": "e", "en": "and"}
_MARKS = re.compile(r"[^\w\s.,;:!?%$€£/&+'’()–—-]")


def said(line: str, language: Language) -> str:
    """``line`` as a voice gets it. The year of a day is left to the screen: nobody says it in a spot."""
    line = _MONEY.sub(lambda found: _money(found[1], found[2], language), line)
    line = _SHARE.sub(lambda found: f"{found[1]} {_PER_CENT[language]}", line)
    line = _DAY[language].sub(lambda found: _day(found, language), line)
    return " ".join(_MARKS.sub(" ", line).split())


def word_count(line: str) -> int:
    """Words as the standards count them: whatever stands between blanks and has a letter or a digit."""
    return sum(any(mark.isalnum() for mark in word) for word in line.split())


def _money(sign: str, digits: str, language: Language) -> str:
    decimal = "," if language == "pt-BR" else "."
    whole, _, part = digits.rpartition(decimal) if re.search(rf"\{decimal}\d\d$", digits) else (digits, "", "")
    units, hundredths = int(re.sub(r"\D", "", whole) or 0), int(part or 0)
    one, several, cent, cents = _CURRENCIES[sign][language]
    if units and hundredths >= 10:
        # As it is said in a spot, and on every market: "399 e 90", "89 90".
        return f"{units} e {hundredths}" if language == "pt-BR" else f"{units} {hundredths}"
    pieces = [f"{units} {one if units == 1 else several}"] if units or not hundredths else []
    if hundredths:
        pieces.append(f"{hundredths} {cent if hundredths == 1 else cents}")
    return f" {_AND[language]} ".join(pieces)


def _day(found: re.Match[str], language: Language) -> str:
    if language == "pt-BR":
        month = get_month_names("wide", locale="pt_BR").get(int(found[2]))
        return f"{int(found[1])} de {month}" if month else found[0]
    short = {name: number for number, name in get_month_names("abbreviated", locale="en_US").items()}
    if found[1] not in short:
        return found[0]
    return f"{get_month_names('wide', locale='en_US')[short[found[1]]]} {Decimal(found[2])}"
