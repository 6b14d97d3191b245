"""What a page says and how it writes numbers, in the reader's language."""

from __future__ import annotations

import re
from decimal import Decimal

from arauto.core.brief import Language
from arauto.core.clock import to_datetime
from arauto.core.errors import ArautoError, InputError
from arauto.core.i18n import catalogue, day, money, number, percent, say
from arauto.core.kit import Finding
from arauto.loop import Estimate, Vital

_QUOTED = re.compile(r"'([^']+)'|\"([^\"]+)\"")

_ENDLESS = 1e6
_FIGURE = re.compile(r"-?\d{1,12}(\.\d{1,6})?")
_SLOT = re.compile(r"\\{(\w+)(?:!r|:[^}]*)?\\}")

NONE = "–"
"""What stands where there is no number."""


class RefusedError(InputError):
    """A form of the dashboard cannot be used: its words are ``refused_KEY`` and ``mend_KEY`` of both languages."""

    def __init__(self, key: str, field: str = "", **values: object) -> None:
        super().__init__(
            say(f"dashboard.refused_{key}", "en", **values),
            field=field,
            mend=say(f"dashboard.mend_{key}", "en", **values),
        )
        self.key = key
        self.values = values


class Words:
    """The language of one page, for its template."""

    def __init__(self, language: Language) -> None:
        self.language = language

    def __call__(self, key: str, **values: object) -> str:
        """The message ``dashboard.key``."""
        return say(f"dashboard.{key}", self.language, **values)

    def has(self, key: str) -> bool:
        """Whether there is a message ``dashboard.key``."""
        return f"dashboard.{key}" in catalogue(self.language)

    def problem(self, error: ArautoError) -> str:
        """What went wrong, in the reader's language; after it, for errors of other rooms, their own words."""
        if isinstance(error, RefusedError):
            return self(f"refused_{error.key}", **error.values)
        return f"{self(f'error_{error.code}')} ({error.problem})"

    def mend(self, error: ArautoError) -> str:
        """How to mend it."""
        return self(f"mend_{error.key}", **error.values) if isinstance(error, RefusedError) else error.mend

    def field(self, error: ArautoError) -> str:
        """What the form calls the field that an error is about; empty where it has no word for it."""
        key = f"f_{error.field.replace('.', '_')}"
        return self(key) if error.field and self.has(key) else ""

    def part(self, field: str) -> str:
        """A field of a brief, a text or an asset, after a point in the middle; empty where there is no word for it."""
        known = next((key for key in (f"p_{field}", f"f_{field}", f"part_{field}") if self.has(key)), "")
        return f" · {self(known)}" if known else ""

    def note(self, told: str) -> str:
        """What a background job is at: the word before the colon in the reader's language."""
        step, colon, rest = told.partition(":")
        for key in (f"note_{step}", f"medium_{step}"):
            if self.has(key):
                return f"{self(key)}{colon}{rest}"
        return told

    def fault(self, key: str, error: ArautoError) -> str:
        """What a field of a form expects (``f_KEY_bad``), or what was wrong with it and the mend."""
        if self.has(f"f_{key}_bad"):
            return self(f"f_{key}_bad")
        return f"{error.problem}; {error.mend}"

    def rule(self, finding: Finding) -> str:
        """What a check found, by the rule's sentence in the reader's language, with the words it is about."""
        key = f"rules.{finding.rule}"
        sentence = catalogue(self.language).get(key)
        if sentence is None:
            return f"{finding.problem}; {finding.mend}"
        if "{" in sentence:
            values = _values(finding)
            try:
                return sentence.format(**{name: self._figure(value) for name, value in values.items()})
            except KeyError:  # found by an earlier version, in other words
                return f"{finding.problem}; {finding.mend}"
        quoted = _QUOTED.search(finding.problem)
        about = next((group for group in quoted.groups() if group), "") if quoted else ""
        return f"{sentence}{f' (“{about}”)' if about else ''}"

    def _figure(self, value: str) -> str:
        """A number as the reader writes it, other words in quotes."""
        if _FIGURE.fullmatch(value):
            return number(float(value), self.language, len(value.partition(".")[2]))
        return f"“{value[1:-1]}”" if value[:1] in "'\"" else value

    def deed(self, action: str) -> str:
        """An entry of the audit log, by its action."""
        key = f"deed_{action.replace('.', '_')}"
        return self(key) if self.has(key) else action

    def demo(self, key: str, **values: object) -> str:
        """The message ``demo.key``."""
        return say(f"demo.{key}", self.language, **values)

    def number(self, value: float, decimals: int = 0) -> str:
        return _minus(number(value, self.language, decimals))

    def percent(self, share: float | None, decimals: int = 2) -> str:
        return NONE if share is None else _minus(percent(share, self.language, decimals))

    def signed(self, share: float, decimals: int = 1) -> str:
        """A relative change: ``+3,2%``, ``−1,0%``."""
        text = percent(abs(share), self.language, decimals)
        return text if text == percent(0.0, self.language, decimals) else f"{'−' if share < 0 else '+'}{text}"

    def chance(self, chance: float | None) -> str:
        """A probability for the eye: never a flat 0 % or 100 %, which no data can show."""
        if chance is None:
            return NONE
        if chance < 0.001:
            return f"< {percent(0.001, self.language, 1)}"
        if chance > 0.999:
            return f"> {percent(0.999, self.language, 1)}"
        return percent(chance, self.language, 1)

    def money(self, cents: int, currency: str) -> str:
        return money(Decimal(cents) / 100, currency, self.language)

    def milliseconds(self, value: float | None) -> str:
        """``85 ms`` or ``1,23 s``."""
        if value is None:
            return NONE
        return f"{self.number(value)} ms" if value < 1000 else f"{self.number(value / 1000, 2)} s"

    def rate(self, estimate: Estimate | None) -> str:
        return NONE if estimate is None else self.percent(estimate.value)

    def rate_interval(self, estimate: Estimate | None) -> str:
        """``0,98% a 1,55%``; empty where there is no estimate."""
        return "" if estimate is None else self.between(self.percent(estimate.low), self.percent(estimate.high))

    def mean(self, estimate: Estimate | None) -> str:
        return NONE if estimate is None else self.number(estimate.value, 2)

    def mean_interval(self, estimate: Estimate | None) -> str:
        if estimate is None:
            return ""
        return self.between(self.number(estimate.low, 2), self.number(estimate.high, 2))

    def return_interval(self, estimate: Estimate | None) -> str:
        """As :meth:`mean_interval`; a return of which nothing is known yet is said so."""
        if estimate is None:
            return ""
        if estimate.high < _ENDLESS:
            return self.between(self.number(estimate.low, 2), self.number(estimate.high, 2))
        return self("unbounded") if estimate.low < 0.005 else self("at_least", value=self.number(estimate.low, 2))

    def time_interval(self, vital: Vital | None) -> str:
        """As :meth:`rate_interval`, of milliseconds; an end that nothing bounds yet is said so."""
        if vital is None or (vital.low is None and vital.high is None):
            return ""
        if vital.high is None:
            return self("at_least", value=self.milliseconds(vital.low))
        if vital.low is None:
            return self("at_most", value=self.milliseconds(vital.high))
        return self.between(self.milliseconds(vital.low), self.milliseconds(vital.high))

    def moment(self, unix_ms: int) -> str:
        """``21/11/2026 14:05 UTC``."""
        at = to_datetime(unix_ms)
        return f"{day(at.date(), self.language)} {at:%H:%M} UTC"

    def clock(self, unix_ms: int) -> str:
        """``21/11/2026 14:05:09 UTC``."""
        return self.moment(unix_ms).replace(" UTC", f"{to_datetime(unix_ms)::%S} UTC")

    def elapsed(self, seconds: float) -> str:
        """A time since the beginning, short: ``0``, ``30 s``, ``5 min``, ``2 h``, ``3 d``."""
        whole = round(seconds)
        for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
            if whole >= size and whole % size == 0:
                return f"{whole // size} {unit}"
        return f"{whole} s" if whole else "0"

    def span(self, milliseconds: int) -> str:
        """A time to the unit that matters: ``7 d``."""
        seconds = milliseconds / 1000
        unit = next((size for size in (86400, 3600, 60) if seconds >= 2 * size), 1)
        return self.elapsed(round(seconds / unit) * unit)

    def between(self, low: str, high: str) -> str:
        """``1 to 2``."""
        return self("between", low=low, high=high)


def _minus(told: str) -> str:
    """A hyphen is no minus: it breaks from its number at the end of a line, and is hardly seen."""
    return told.replace("-", "−")


def _values(finding: Finding) -> dict[str, str]:
    """What a rule filled its sentence with, read back from it."""
    # Where kits cannot be made (their extra is not there), their rules are not known, either.
    try:
        from arauto.creative.audio import media_rules
        from arauto.creative.kit import kit_rules
    except ModuleNotFoundError:
        return {}
    rule = {**kit_rules(), **media_rules()}.get(finding.rule)
    if rule is None:
        return {}
    told = _SLOT.sub(r"(?P<\1>.+?)", re.escape(rule.problem).replace("\\!r", "!r"))
    found = re.fullmatch(told, finding.problem, re.DOTALL)
    return {"limit": str(rule.limit), **(found.groupdict() if found else {})}
