"""Rule segments: a small language of conditions over what a visitor did. Nothing of it is ever run as code.

::

    views >= 3 AND NOT bought('shoe-*') AND days_since_last < 30
    purchases IN (1, 2) OR (carts > 0 AND purchases = 0)

Numbers: ``impressions``, ``views``, ``clicks``, ``carts``, ``purchases`` (of the touches that are kept),
``days_since_first``, ``days_since_last``, ``segment`` (the id). Calls: ``viewed``, ``carted``, ``bought``, each with an
item's name, ``*`` at its end standing for any rest.

There is no field for age, health, belief or the like, and none can be told; items that are named so are refused
(LGPD art. 11; Lei 15.211/2025: no profiling of children and adolescents).
"""

from __future__ import annotations

import operator
import re
import unicodedata
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from arauto.audience.state import Kind, unpack
from arauto.core.errors import InputError

MOST_CHARACTERS = 1000
_DEPTH = 20
_DAY_MS = 86_400_000.0
FIELDS = (
    "impressions",
    "views",
    "clicks",
    "carts",
    "purchases",
    "days_since_first",
    "days_since_last",
    "segment",
)
_CALLS: Mapping[str, Kind] = {"viewed": "view", "carted": "cart", "bought": "purchase"}
_COUNTED: Mapping[Kind, str] = {
    "impression": "impressions",
    "view": "views",
    "click": "clicks",
    "cart": "carts",
    "purchase": "purchases",
}
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<word>[A-Za-z_]+)|'(?P<text>[^'\x00-\x1f]{1,64})'|(?P<sign><=|>=|!=|<>|[=<>(),]))"
)
# Words that name health, belief, origin, sexuality, politics, unions, or minors; folded, in Portuguese and English.
_SENSITIVE = re.compile(
    r"\b(?:diabet|hipertens|hypertens|depress|ansiedad|antidepress|cancer|oncolog|hiv\b|aids\b|gravid|gestant|pregnan"
    r"|fertil|aborto|abort|contracept|anticoncep|viagra|disfunc|psiqui|psychi|dependencia|rehab|obes|deficien|disab"
    r"|evangel|catol|cathol|muculman|muslim|judai|judeu|jewish|umband|candombl|espirit|religi|biblia|bible|corao|quran"
    r"|negr[oa]s?\b|indigen|racial|etni|ethnic|gays?\b|lesbic|lesbian|transex|transgen|lgbt|queer|fetich|fetish|eroti"
    r"|sindicat|sindicaliz|trade.union|partid[oa]ri|petist|bolsonar|eleitor|voter|republican|democrats?\b"
    r"|biometr|genetic|crianc|infantil|kids?\b|child|toddler|bebe|baby|teen|adolescen|menor(?:es)?.de.idade|underage)"
)


class Facts(NamedTuple):
    """What a condition may look at of one visitor: numbers by field, and item names by kind of touch."""

    numbers: Mapping[str, float]
    items: Mapping[Kind, Collection[str]]


Condition = Callable[[Facts], bool]


def sensitive(name: str) -> bool:
    """Whether an item's name tells of what the law calls sensitive, or of minors."""
    folded = "".join(one for one in unicodedata.normalize("NFKD", name.lower()) if not unicodedata.combining(one))
    return _SENSITIVE.search(re.sub(r"[^a-z0-9]+", " ", folded)) is not None


def facts_of(packed: bytes, now_ms: int, names: Mapping[int, str], segment: int) -> Facts:
    """The facts of a visitor's touches; ``names`` gives the item of a code."""
    numbers = dict.fromkeys(FIELDS, 0.0)
    items: dict[Kind, set[str]] = {kind: set() for kind in _COUNTED}
    first = last = now_ms
    for place, touch in enumerate(unpack(packed)):
        first = touch.at_ms if place == 0 else first
        last = touch.at_ms
        numbers[_COUNTED[touch.kind]] += 1
        if (name := names.get(touch.code)) is not None:
            items[touch.kind].add(name)
        if touch.kind == "purchase":
            items["purchase"] |= items["cart"]
    numbers["days_since_first"] = (now_ms - first) / _DAY_MS
    numbers["days_since_last"] = (now_ms - last) / _DAY_MS
    numbers["segment"] = float(segment)
    return Facts(numbers, items)


def parse(text: str) -> Condition:
    """The condition that ``text`` says.

    Raises:
        InputError: it is no condition, is too long or too deep, or names an item that may not be used.
    """
    if not 0 < len(text) <= MOST_CHARACTERS:
        raise InputError(f"has {len(text)} characters", field="rule", mend=f"write 1 to {MOST_CHARACTERS}")
    return _Parser(text).whole()


class _Word(NamedTuple):
    kind: str
    text: str
    at: int


class _Parser:
    """Recursive descent: or → and → not → comparison, call or parentheses."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._words: list[_Word] = []
        place = 0
        while text[place:].strip():
            found = _TOKEN.match(text, place)
            if found is None:
                raise self._wrong(len(text) - len(text[place:].lstrip()), "cannot be read")
            kind = str(found.lastgroup)
            self._words.append(_Word(kind, found[kind], found.start(kind)))
            place = found.end()
        self._place = 0
        self._depth = 0

    def whole(self) -> Condition:
        condition = self._either()
        if self._place < len(self._words):
            raise self._wrong(self._words[self._place].at, "is one thing too many")
        return condition

    def _either(self) -> Condition:
        self._depth += 1
        if self._depth > _DEPTH:
            raise self._wrong(0, "is nested too deeply")
        parts = [self._both()]
        while self._take("or"):
            parts.append(self._both())
        self._depth -= 1
        return parts[0] if len(parts) == 1 else lambda facts: any(part(facts) for part in parts)

    def _both(self) -> Condition:
        parts = [self._single()]
        while self._take("and"):
            parts.append(self._single())
        return parts[0] if len(parts) == 1 else lambda facts: all(part(facts) for part in parts)

    def _single(self) -> Condition:
        negated = False
        while self._take("not"):
            negated = not negated
        condition = self._atom()
        return (lambda facts: not condition(facts)) if negated else condition

    def _atom(self) -> Condition:
        if self._take("("):
            inside = self._either()
            self._expect(")")
            return inside
        word = self._next("word", "a field or a call")
        name = word.text.lower()
        if name in _CALLS:
            return self._call(_CALLS[name])
        if name not in FIELDS:
            raise self._wrong(word.at, f"there is no {word.text!r}")
        if self._take("in"):
            self._expect("(")
            values = {self._number()}
            while self._take(","):
                values.add(self._number())
            self._expect(")")
            return lambda facts: facts.numbers[name] in values
        sign = self._next("sign", "a comparison")
        if sign.text not in _COMPARE:
            raise self._wrong(sign.at, "a comparison is missing")
        compare, value = _COMPARE[sign.text], self._number()
        return lambda facts: compare(facts.numbers[name], value)

    def _call(self, kind: Kind) -> Condition:
        self._expect("(")
        word = self._next("text", "an item's name in '…'")
        self._expect(")")
        if sensitive(word.text):
            raise InputError(
                f"chooses people by {word.text!r}, which is sensitive or about minors",
                field="rule",
                mend="choose by something else (LGPD art. 11; Lei 15.211/2025)",
            )
        if word.text.endswith("*"):
            start = word.text[:-1]
            return lambda facts: any(name.startswith(start) for name in facts.items[kind])
        return lambda facts: word.text in facts.items[kind]

    def _number(self) -> float:
        return float(self._next("number", "a number").text)

    def _take(self, text: str) -> bool:
        if self._place < len(self._words):
            word = self._words[self._place]
            if word.kind in ("word", "sign") and word.text.lower() == text:
                self._place += 1
                return True
        return False

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise self._wrong(self._here(), f"{text!r} is missing")

    def _next(self, kind: str, wanted: str) -> _Word:
        if self._place >= len(self._words) or self._words[self._place].kind != kind:
            raise self._wrong(self._here(), f"{wanted} is missing")
        self._place += 1
        return self._words[self._place - 1]

    def _here(self) -> int:
        return self._words[self._place].at if self._place < len(self._words) else len(self._text)

    def _wrong(self, at: int, problem: str) -> InputError:
        return InputError(f"{problem}, at character {at + 1}", field="rule", mend="see docs/audience.md for the words")
