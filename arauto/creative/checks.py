"""Checks of a text variant, in code and after every generation: a model cannot count, and invents offers.

Each rule is a row of ``data/rules.toml``. A heuristic refuses more than it should rather than less: another draft costs
seconds, an invented discount costs the marketer. What cannot be decided in code (is the sentence true?) is not claimed.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import cached_property, lru_cache

from arauto.core.brief import Brief, Language, Message
from arauto.core.campaign import Copy
from arauto.core.door import has_control
from arauto.creative.evidence import Ground, affirmed, ground_of, same_company, unproved, without_facts
from arauto.creative.message import compose_message
from arauto.creative.portuguese import disagreement
from arauto.creative.prompts import prompt_words
from arauto.creative.rules import TEXT_FIELDS, Rule, expressions, rules, screen
from arauto.creative.types import Finding
from arauto.creative.words import EUROPEAN_PORTUGUESE, fold, folded_words, foreign, listed, words

_PUBLIC = ("title", "description")
_REPEATED = re.compile(r"[!?.,;:–—-]{2,}|([*~^=+|_#])\1+|…{2,}")
_SLOT = re.compile(r"\{[^}]*\}?|\[[^\]]*\]|</?\w+[^>]*>|\}|\bundefined\b|\blorem ipsum\b", re.IGNORECASE)
_FILE = re.compile(
    r"https?://\S*|www\.\S+|\S+\.(?:jpe?g|png|gif|webp|svg|bmp|tiff?|mp4|heic|com|br|net|org)\b|\S*/\S+/\S*|\w+_\w+",
    re.IGNORECASE,
)
_STUTTER = re.compile(r"\b(\w{2,}),? (?:(?:e|and|ou|or) )?\1\b", re.IGNORECASE)
_SENTENCE_ENDS = (".", "!", "?", "…")
_CUT_MARKS = (",", ":", ";", "-", "(")
_TAIL: dict[Language, frozenset[str]] = {
    "pt-BR": listed("o os as e ou de da do das dos em no na nos nas com para por que um uma ao à se"),
    "en": listed("the an and or of your my our"),
}
_CAPITALS_FINE = listed("led usb gps dvd iptv lgbt html nfc hdmi oled")
_OFFER = ("price", "discount", "deadline")
_SIMILAR = 0.6
_RUN = 4  # words in a row that make a copy of an example


class _Case:
    """One copy to be judged: with the brief's ground, and each text with the printed facts taken out."""

    def __init__(self, copy: Copy, brief: Brief, message: Message) -> None:
        self.copy = copy
        self.brief = brief
        self.message = message
        self.ground = _ground(brief, message)
        self.texts: dict[str, str] = {name: getattr(copy, name) for name in TEXT_FIELDS}

    @cached_property
    def said(self) -> dict[str, str]:
        """What the writer added to the facts."""
        return {name: without_facts(text, self.ground) for name, text in self.texts.items()}

    @cached_property
    def folded(self) -> dict[str, str]:
        return {name: fold(text) for name, text in self.said.items()}


def check_copy(copy: Copy, brief: Brief, message: Message | None = None) -> tuple[Finding, ...]:
    """Everything that the rules find wrong with ``copy``, errors first; empty when nothing is.

    ``message`` is :func:`compose_message` of the brief when left out. How the variants of one kit differ
    from each other is :func:`too_similar`'s to say.
    """
    case = _Case(copy, brief, message or compose_message(brief))
    found = dict.fromkeys(finding for check in _CHECKS for finding in check(case))
    return tuple(sorted(found, key=lambda finding: finding.severity))


def has_errors(findings: Iterable[Finding]) -> bool:
    """Whether any finding that nobody waived keeps the copy or kit from being shown."""
    return any(finding.severity == "error" and not finding.waived_by for finding in findings)


def too_similar(copy: Copy, others: Iterable[Copy]) -> tuple[Finding, ...]:
    """A finding when ``copy`` says nearly what one of ``others`` says: the same title, or most of its triples."""
    for other in others:
        same_title = folded_words(copy.title) == folded_words(other.title)
        title, text = _likeness(copy.title, other.title), _likeness(copy.description, other.description)
        if same_title or text > _SIMILAR or (title > _SIMILAR and text > _SIMILAR / 2):
            return (rules()["TXT-TWIN"].finding("title", found=other.title),)
    return ()


@lru_cache(maxsize=64)
def _ground(brief: Brief, message: Message) -> Ground:
    return ground_of(brief, message)


def _likeness(one: str, other: str) -> float:
    """Jaccard index of the letter triples, 0 to 1."""
    a, b = _triples(one), _triples(other)
    return len(a & b) / len(a | b) if a | b else 1.0


def _triples(text: str) -> set[str]:
    line = f" {' '.join(folded_words(text))} "
    return {line[place : place + 3] for place in range(len(line) - 2)}


def _check_length(case: _Case) -> Iterable[Finding]:
    limits = {"title": "LEN-TITLE", "description": "LEN-DESCRIPTION", "image_suggestion": "LEN-IMAGE"}
    for field, text in case.texts.items():
        longest, shortest = rules()[limits[field]], rules()["LEN-SHORT"]
        if len(text) > longest.limit:
            yield longest.finding(field, length=len(text))
        if len(text) < shortest.limit:
            yield shortest.finding(field, length=len(text))


def _check_form(case: _Case) -> Iterable[Finding]:
    for field, text in case.texts.items():
        if has_control(text) or "\n" in text or "\t" in text:
            yield rules()["TXT-CONTROL"].finding(field)
        if slot := _SLOT.search(text):
            yield rules()["TXT-SLOT"].finding(field, found=slot[0])
        unfinished = field == "description" and not text.endswith(_SENTENCE_ENDS)
        hanging = not text.endswith(("?", "!")) and (words(text) or [""])[-1] in _TAIL[case.brief.language]
        if unfinished or hanging or text.endswith(_CUT_MARKS):
            yield rules()["TXT-CUT"].finding(field, found=text[-15:])


def _check_repetition(case: _Case) -> Iterable[Finding]:
    """The same word twice in a row, a long word three times in a description, a description that is the title again."""
    rule = rules()["TXT-STUTTER"]
    for field, text in case.texts.items():
        if stutter := _STUTTER.search(text):
            yield rule.finding(field, found=stutter[0])
    said = [word for word in folded_words(case.copy.description) if len(word) > 4]
    for word in dict.fromkeys(said):
        if said.count(word) > 2:
            yield rule.finding("description", found=word)
    if folded_words(case.copy.description) == folded_words(case.copy.title):
        yield rule.finding("description", found=case.copy.title)


def _check_editorial(case: _Case) -> Iterable[Finding]:
    for field, text in case.texts.items():
        if gimmick := _gimmick(text):
            yield rules()["ED-EMOJI"].finding(field, found=gimmick)
        if repeated := _REPEATED.search(text):
            yield rules()["ED-PUNCTUATION"].finding(field, found=repeated[0])
        for word in re.findall(r"[^\W\d_]{4,}", text):
            if word.isupper() and word.lower() not in _CAPITALS_FINE and fold(word) not in case.ground.names:
                yield rules()["ED-CAPITALS"].finding(field, found=word)
    marks = (case.copy.title + case.copy.description).count("!")
    if marks > 1:
        yield rules()["ED-EXCLAMATION"].finding("description", length=marks)
    if "!" in case.copy.title:
        yield rules()["ED-EXCLAMATION-TITLE"].finding("title")


def _gimmick(text: str) -> str:
    for character in text:
        if character in "#@*~^|\\<>=_" or unicodedata.category(character) in ("So", "Sk", "Cs", "Co", "Cn"):
            return character
        if 0xFE00 <= ord(character) <= 0xFE0F or character == "\u200d":
            return f"U+{ord(character):04X}"
    return ""


def _check_image(case: _Case) -> Iterable[Finding]:
    text, fewest = case.copy.image_suggestion, rules()["IMG-WORDS"]
    if address := _FILE.search(text):
        yield rules()["IMG-SCENE"].finding("image_suggestion", found=address[0])
    elif len(text.split()) < fewest.limit:
        yield fewest.finding("image_suggestion", length=len(text.split()))


def _check_language(case: _Case) -> Iterable[Finding]:
    language = case.brief.language
    for field, text in case.said.items():
        if other := foreign(text, language):
            yield rules()["TXT-LANGUAGE"].finding(field, found=other, language=language)
        if language != "pt-BR":
            continue
        if wrong := disagreement(case.texts[field], case.brief.product):
            yield rules()["TXT-AGREEMENT"].finding(field, found=wrong)
        for word in words(text):
            if word in EUROPEAN_PORTUGUESE:
                yield rules()["TXT-EUROPEAN"].finding(field, found=word)


def _check_numbers(case: _Case) -> Iterable[Finding]:
    rule = rules()["FACT-NUMBER"]
    for field in _PUBLIC:
        for number in unproved(case.texts[field], case.ground):
            yield rule.finding(field, found=number)
        _, was, after = case.texts[field].partition(case.message.was or "\0")
        if was and case.message.price not in after:
            yield rules()["FACT-WAS"].finding(field, found=was)
    picture = _without_ages(case.copy.image_suggestion, case.brief)
    for number in unproved(picture, case.ground, spelled=False):
        yield rule.finding("image_suggestion", found=number)


def _without_ages(text: str, brief: Brief) -> str:
    """A picture may show people of the audience's age; a text may not speak of it."""
    if brief.age_range is None:
        return text
    low, high = brief.age_range
    return re.sub(r"\d+", lambda match: "" if low <= int(match[0]) <= high else match[0], text)


def _check_names(case: _Case) -> Iterable[Finding]:
    for field, text in case.said.items():
        for name in [] if _headline_style(case.texts[field]) else _names(text):
            if not {fold(name), fold(name).rstrip("s")} & case.ground.names:
                yield rules()["FACT-NAME"].finding(field, found=name)


def _names(text: str) -> list[str]:
    """Words with a capital inside a sentence."""
    inside = _inside(text)
    return [word for word in inside if word[0].isupper() and word != "I" and not word.startswith(("I'", "I’"))]


def _headline_style(text: str) -> bool:
    """Whether this is a short line in which most words have a capital: it is only set that way."""
    long = [word for word in _inside(text) if len(word) > 3]
    return len(text) < 70 and len(long) > 1 and sum(word[0].isupper() for word in long) > len(long) / 2


def _inside(text: str) -> list[str]:
    """The words that do not begin a sentence."""
    pieces = re.findall(r"[^\W_][\w'’-]*|[.!?:…–—\"“”]", text)
    return [word for before, word in itertools.pairwise(pieces) if word[0].isalpha() and before not in '.!?:…–—"“”']


def _check_phrases(case: _Case) -> Iterable[Finding]:
    for rule in rules().values():
        look = screen(rule.id)
        for field in rule.fields if look else ():
            text = case.folded[field]
            if look and look.search(text):
                yield from _unbacked(rule, field, text, case.ground)


def _unbacked(rule: Rule, field: str, text: str, ground: Ground) -> Iterable[Finding]:
    for expression in expressions(rule.id):
        # "Without hurry" makes no offer; "without pain" still makes a claim.
        said = affirmed(expression, text) if rule.unless in _OFFER else expression.finditer(text)
        for match in said:
            if not _backed(rule, expression, match, ground):
                yield rule.finding(field, found=match[0])


def _backed(rule: Rule, expression: re.Pattern[str], match: re.Match[str], ground: Ground) -> bool:
    """Whether the brief proves what ``match`` says."""
    if rule.unless == "":
        return False
    if rule.unless == "evidence":
        return match[0].strip() in ground.evidence
    if rule.unless in ground.has:
        return True
    known = affirmed(expression, ground.corpus)
    if rule.families:
        return bool(known)
    same = [other for other in known if other[0] == match[0]]
    return any(same_company(match, other) for other in same) if rule.context else bool(same)


def _check_avoided(case: _Case) -> Iterable[Finding]:
    for field, text in case.texts.items():
        for word in case.brief.words_to_avoid:
            if re.search(rf"(?<!\w){re.escape(fold(word))}(?!\w)", fold(text)):
                yield rules()["TXT-AVOID"].finding(field, found=word)


def _check_topic(case: _Case) -> Iterable[Finding]:
    """The first five letters are enough for "monitora" to meet "monitoramento"."""
    brief = case.brief
    subject = " ".join((brief.product, brief.focus, *brief.benefits, brief.brand.name if brief.brand else ""))
    said = {word[:5] for word in folded_words(f"{case.copy.title} {case.copy.description}")}
    meant = {word[:5] for word in folded_words(subject) if len(word) > 2}
    # A name without letters ("2048") gives nothing to look for.
    if meant and not said & meant:
        yield rules()["TXT-TOPIC"].finding("description", product=brief.product)


def _check_examples(case: _Case) -> Iterable[Finding]:
    for field, text in case.texts.items():
        line = f" {' '.join(folded_words(text))} "
        copied = next((run for run in _shown(case.brief.language) if run in line), "").strip()
        if copied and copied not in case.ground.corpus:
            yield rules()["TXT-EXAMPLE"].finding(field, found=copied)


@lru_cache(maxsize=2)
def _shown(language: Language) -> tuple[str, ...]:
    """Products and titles of the examples, and every run of four words of which two have more than three letters."""
    rows = prompt_words(language)
    runs: dict[str, None] = {}
    for example in (*rows["examples"], *rows["facts"]):
        for name in ("product", "title"):
            runs[f" {' '.join(folded_words(example[name]))} "] = None
        for name in ("title", "text", "image"):
            parts = folded_words(example[name])
            for place in range(len(parts) - _RUN + 1):
                run = parts[place : place + _RUN]
                if sum(len(word) > 3 for word in run) > 1:
                    runs[f" {' '.join(run)} "] = None
    return tuple(runs)


_CHECKS: tuple[Callable[[_Case], Iterable[Finding]], ...] = (
    _check_length,
    _check_form,
    _check_repetition,
    _check_editorial,
    _check_image,
    _check_language,
    _check_numbers,
    _check_names,
    _check_phrases,
    _check_avoided,
    _check_topic,
    _check_examples,
)
