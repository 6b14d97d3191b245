"""Small tools for reading texts: folding, words, and which of our languages a text is in."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from arauto.core.brief import Language

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


def listed(text: str) -> frozenset[str]:
    """The words of a list written with blanks between them."""
    return frozenset(text.split())


# Function words that belong to one of the languages and not to the others: enough to tell a sentence, never a name.
_MARKS: dict[str, frozenset[str]] = {
    "pt-BR": listed(
        "o os as um uma uns umas do da dos das de no na nos nas ao aos à às em num numa pelo pela e com para pra por"
        " sem que não mais seu sua seus suas você vocês quem isso este esta esse essa é são está ou já só até muito"
        " como quando onde sempre também todo toda todos todas cada lá aqui ele ela meu minha nosso nossa foi ser ter"
        " tem seja"
    ),
    "en": listed(
        "the an and of to in on with for your you yours is are it its that this these those from at by or not be can"
        " will what when where who how why which their they them we our my has have was were but just so than more"
        " every each into out up off about while without let make get"
    ),
    "es": listed(
        "el los las y con del al tu tus su sus una unos unas pero muy más es está hoy ahora sin lo le les ella usted"
        " quien donde cuando porque también siempre hasta desde cada nuestro nuestra cómo qué ya mejor"
    ),
}
_ONLY_ES = _MARKS["es"] - _MARKS["pt-BR"] - {"es", "sin", "al"}

FUNCTION_WORDS = frozenset(
    unicodedata.normalize("NFKD", word).encode("ascii", "ignore").decode()
    for marks in _MARKS.values()
    for word in marks
)
"""The same, without accents: words that say nothing by themselves."""

EUROPEAN_PORTUGUESE = listed(
    "telemóvel telemóveis ecrã ecrãs utilizador utilizadores autocarro comboio pequeno-almoço rapariga descarregar"
    " facto contacto contactos connosco monitorização monitorizar monitoriza equipa equipas registo aceder telefónico"
    " económico electrónico actual direcção secção"
)
"""Words that a Brazilian reader takes for another country's Portuguese."""


def fold(text: str) -> str:
    """``text`` in lower case without accents, so that ``Grátis`` equals ``gratis``."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def words(text: str) -> list[str]:
    """The words of ``text`` in lower case, accents kept, numbers left out."""
    return _WORD.findall(text.lower())


def folded_words(text: str) -> list[str]:
    """The words of ``text``, folded."""
    return _WORD.findall(fold(text))


def language_votes(texts: Iterable[str]) -> dict[str, int]:
    """How many function words of each language the texts hold."""
    found = [word for text in texts for word in words(text)]
    votes = {language: sum(word in marks for word in found) for language, marks in _MARKS.items() if language != "es"}
    votes["es"] = sum(word in _ONLY_ES for word in found)
    return votes


def guess_language(text: str, default: Language = "pt-BR") -> Language:
    """Whether free words are Portuguese or English, by their function words; ``default`` on a draw."""
    votes = language_votes([text])
    if votes["en"] == votes["pt-BR"]:
        return default
    return "en" if votes["en"] > votes["pt-BR"] else "pt-BR"


def foreign(text: str, language: Language) -> str:
    """The language that ``text`` seems to be in when it is not ``language``; empty when it cannot be told.

    A vote of function words: two at least, and more than the expected language has. A title of three nouns has no vote,
    and passes: this finds a sentence that slipped into another language, not a borrowed word.
    """
    votes = language_votes([text])
    expected = votes.pop(language)
    other, most = max(votes.items(), key=lambda vote: vote[1])
    # Every Spanish mark is one that Portuguese does not have, so that one in a short text is already a sign.
    enough = 2 if other != "es" else 1 if language == "pt-BR" and expected <= 2 else 2
    return other if most >= enough and (most > expected or (other == "es" and most * 2 > expected)) else ""
