"""The language of conditions: what it says, what it refuses, and that nothing of it runs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arauto.audience import code_of, parse, sensitive, touch_of
from arauto.audience.rules import FIELDS, Facts, facts_of
from arauto.audience.state import pack
from arauto.core.errors import InputError
from tests.audience.planted import DAY_MS, START, event

FACTS = facts_of(
    pack(
        [
            touch_of(event(1), START, "impression", 7, 0.5),
            touch_of(event(2), START + 1, "view", code_of("shoe-1")),
            touch_of(event(3), START + 2, "view", code_of("hat")),
            touch_of(event(4), START + DAY_MS, "cart", code_of("shoe-1")),
            touch_of(event(5), START + 2 * DAY_MS, "purchase", 7, 0.5),
        ]
    ),
    START + 5 * DAY_MS,
    {code_of("shoe-1"): "shoe-1", code_of("hat"): "hat"},
    3,
)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("views = 2", True),
        ("views != 2", False),
        ("views <> 3", True),
        ("impressions >= 1 and purchases = 1", True),
        ("carts > 1 OR clicks = 0", True),
        ("NOT carts > 1", True),
        ("not not carts > 1", False),
        ("purchases IN (0, 2)", False),
        ("purchases in (1)", True),
        ("segment = 3", True),
        ("days_since_last = 3", True),
        ("days_since_first <= 4.9", False),
        ("viewed('hat')", True),
        ("viewed('shoe-*') AND bought('shoe-1')", True),
        ("bought('hat')", False),
        ("carted('*')", True),
        ("views = 0 OR views = 2 AND carts = 0", False),
        ("(views = 0 OR views = 2) AND carts = 1", True),
    ],
)
def test_a_condition_means_what_it_says(text, holds):
    assert parse(text)(FACTS) is holds


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "characters"),
        ("views", "comparison"),
        ("views >", "number"),
        ("views > 'x'", "number"),
        ("views > 1 carts > 2", "too many"),
        ("(views > 1", "missing"),
        ("age < 18", "there is no 'age'"),
        ("__import__('os')", "there is no"),
        ("views > 1; drop table", "cannot be read"),
        ("viewed(hat)", "item's name"),
        ("viewed('a\x00b')", "cannot be read"),
        ("views IN ()", "number"),
        ("views , 2", "comparison"),
        ("(" * 30 + "views = 1" + ")" * 30, "too deeply"),
        ("viewed('" + "x" * 65 + "')", "cannot be read"),
        ("views = 1 " + "or views = 1 " * 100, "characters"),
    ],
)
def test_what_is_no_condition_is_refused_with_its_place(text, problem):
    with pytest.raises(InputError, match=problem) as raised:
        parse(text)
    assert raised.value.field == "rule"
    assert raised.value.mend


@pytest.mark.parametrize(
    "name",
    [
        "teste-de-gravidez",
        "Antidepressivo",
        "biblia-ilustrada",
        "HIV test",
        "roupa infantil",
        "kids-shoes",
        "bebê conforto",
    ],
)
def test_nobody_is_chosen_by_sensitive_things_or_as_a_minor(name):
    assert sensitive(name)
    with pytest.raises(InputError, match="sensitive"):
        parse(f"viewed('{name}')")


@pytest.mark.parametrize(
    "name", ["smartwatch", "tênis-corrida", "sku-1234", "camisa social", "chives", "kidney-bean-can"]
)
def test_ordinary_things_are_not_called_sensitive(name):
    assert not sensitive(name)


@given(st.text(alphabet="viewscarted()'*=<>!, 0123andornotin_bqhx", max_size=60))
def test_any_text_is_a_condition_or_an_error_of_ours(text):
    try:
        condition = parse(text)
    except InputError:
        return
    assert condition(FACTS) in (True, False)


def test_a_visitor_without_events_has_all_facts():
    found = facts_of(b"", START, {}, -1)
    assert isinstance(found, Facts)
    assert set(found.numbers) == set(FIELDS)
    assert parse("views = 0 and days_since_last = 0")(found)
