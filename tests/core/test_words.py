"""Languages, identifiers, time and the error tree."""

import inspect
import string
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from arauto.core import errors
from arauto.core.clock import FakeClock, SystemClock, to_datetime
from arauto.core.i18n import LANGUAGES, catalogue, choose_language, day, money, number, percent, say
from arauto.core.ids import uuid7, uuid7_ms


def _slots(message):
    return {name for _, name, _, _ in string.Formatter().parse(message) if name is not None}


def test_both_languages_say_the_same_things():
    portuguese, english = (catalogue(language) for language in LANGUAGES)
    assert portuguese.keys() == english.keys()
    for key, message in portuguese.items():
        assert message.strip(), key
        assert _slots(message) == _slots(english[key]), key


def test_numbers_are_written_as_each_language_does():
    assert money(Decimal("1299.9"), "BRL", "pt-BR") == "R$ 1.299,90"
    assert money(Decimal("1299.9"), "USD", "en") == "$1,299.90"
    assert number(1234.5, "pt-BR", 1) == "1.234,5"
    assert number(1234, "en") == "1,234"
    assert percent(0.0123, "pt-BR") == "1,23%"
    assert day(date(2026, 11, 30), "pt-BR") == "30/11/2026"
    assert day(date(2026, 11, 30), "en") == "Nov 30, 2026"
    assert say("report.simulated", "pt-BR") == "simulado"


@pytest.mark.parametrize(
    ("accept", "language"),
    [
        ("pt-BR,pt;q=0.9,en;q=0.8", "pt-BR"),
        ("en-GB,pt;q=0.9", "en"),
        ("fr, en;q=0.5, pt;q=0.7", "pt-BR"),
        ("", "pt-BR"),
        ("de;q=oops, en;q=0.1", "en"),
    ],
)
def test_the_browser_chooses(accept, language):
    assert choose_language(accept) == language


def test_uuid7_holds_the_time_and_sorts_by_it():
    ids = [uuid7(ms) for ms in (0, 1, 1_760_000_000_000, 2**48 - 1)]
    assert [uuid7_ms(value) for value in ids] == [0, 1, 1_760_000_000_000, 2**48 - 1]
    assert ids == sorted(ids)
    assert all(value.version == 7 and value.variant == "specified in RFC 4122" for value in ids)
    assert len({uuid7(5) for _ in range(1000)}) == 1000


def test_clocks():
    clock = FakeClock(1000)
    clock.advance(500)
    assert clock.now_ms() == 1500
    assert abs(SystemClock().now_ms() - datetime.now(UTC).timestamp() * 1000) < 60_000
    assert to_datetime(0) == datetime(1970, 1, 1, tzinfo=UTC)


def test_the_error_tree_is_drawn_as_it_is():
    classes = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, errors.ArautoError)]
    lines = errors.__doc__.splitlines()
    for cls in classes:
        line = next(line for line in lines if line.strip(" │├└─").startswith(cls.__name__))
        if cls is not errors.ArautoError and cls.__base__ is errors.ArautoError:
            assert str(cls.status) in line
            assert f"exit {cls.exit_code}" in line
    assert len({cls.code for cls in classes}) == len(classes)


def test_an_error_says_where_what_and_the_mend():
    error = errors.BriefError("is missing", field="product", mend="add `product`")
    assert str(error) == "product: is missing. Mend: add `product`"
    assert error.as_problem(3) == errors.Problem("bad_brief", "product", "is missing", "add `product`", 3)
    assert errors.RateLimitError("too fast", retry_after=7).retry_after == 7
