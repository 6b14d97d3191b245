"""A visitor's state depends on the set of their events, however they come."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arauto.audience import KINDS, MOST, NOTHING, Touch, Weights, touch_of, unpack
from arauto.audience.state import add, bought, histories, history, pack, showings
from tests.audience.planted import DAY_MS, START, event

touches = st.builds(
    Touch,
    at_ms=st.integers(0, 40),
    event=st.integers(0, 30),
    code=st.integers(0, 2**64 - 1),
    chance=st.sampled_from([0.0, 0.25, 1.0]),
    kind=st.sampled_from(KINDS),
)


def told(*kinds, code=1, chance=0.5, start=START, step=1000):
    return [touch_of(event(n + 1), start + n * step, kind, code, chance) for n, kind in enumerate(kinds)]


@given(st.lists(touches, max_size=30), st.randoms(use_true_random=False))
def test_order_and_repeats_change_nothing(some, rng):
    packed = b""
    for one in rng.sample(some * 2, len(some) * 2):
        packed = add(packed, one) or packed
    assert packed == pack(some)
    assert list(unpack(packed)) == sorted(set(some), key=lambda one: (*one[:4], KINDS.index(one.kind)))


def test_only_the_latest_are_kept_in_any_order():
    some = told(*["view"] * (MOST + 40))
    for seed in range(3):
        packed = b""
        for one in random.Random(seed).sample(some, len(some)):
            packed = add(packed, one) or packed
        assert list(unpack(packed)) == some[-MOST:]
    assert add(packed, some[0]) is None
    assert add(packed, some[-1]) is None


def test_history_weighs_by_kind_order_and_age():
    packed = pack(
        [
            touch_of(event(1), START, "view", 10),
            touch_of(event(2), START + DAY_MS, "cart", 11),
            touch_of(event(3), START + DAY_MS, "view", 10),
            touch_of(event(4), START + 2 * DAY_MS, "impression", 12, 0.5),
        ]
    )
    weights = Weights(half_life_ms=DAY_MS, view=1.0, cart=4.0)
    assert history(packed, weights, 0.5) == [(10, 1.0), (11, 2.0)]
    older = pack([touch_of(event(1), START, "view", 10), touch_of(event(2), START + DAY_MS, "view", 11)])
    assert history(older, weights, 0.5) == [(11, 1.0), (10, pytest.approx(0.25))]


def test_a_showing_gets_what_came_of_it():
    found = showings([pack(told("click")), pack(told("impression", "click", "impression", "purchase"))])
    assert found.owners.tolist() == [1, 1]
    assert (found.clicked.tolist(), found.bought.tolist()) == ([True, False], [False, True])
    assert len(showings([]).owners) == len(showings([b"", pack(told("click"))]).owners) == 0


def plain_history(packed, weights, decay):
    """The same by hand: the latest first, an item where it was met last, as the strongest thing done with it."""
    met, counted = {}, [one for one in unpack(packed) if one.kind != "impression" and one.code != NOTHING]
    for one in reversed(counted):
        strength, fade = met.get(one.code, (0.0, None))
        if fade is None:
            fade = 0.5 ** ((counted[-1].at_ms - one.at_ms) / weights.half_life_ms) * decay ** len(met)
        met[one.code] = max(strength, getattr(weights, one.kind)), fade
    return [(code, pytest.approx(strength * fade)) for code, (strength, fade) in met.items()]


def plain_showings(packed):
    """The same by hand: variant, time, clicked, bought."""
    found = []
    for one in unpack(packed):
        if one.kind == "impression":
            found.append([one.code, one.at_ms, False, False])
        elif one.kind in ("click", "purchase"):
            for row in reversed(found):
                if row[0] == one.code:
                    row[2 if one.kind == "click" else 3] = True
                    break
    return sorted(found)


@given(st.lists(st.lists(touches.map(lambda one: one._replace(code=one.code % 4)), max_size=12), max_size=4))
def test_many_states_read_at_once_are_what_each_is_alone(some):
    states, weights = [pack(one) for one in some], Weights(half_life_ms=30)
    found, seen = histories(states, weights, 0.7), showings(states)
    for place, packed in enumerate(states):
        own = found.owners == place
        assert list(zip(found.codes[own].tolist(), found.weights[own].tolist(), strict=True)) == plain_history(
            packed, weights, 0.7
        )
        assert found.weights[own].tolist() == [weight for _, weight in history(packed, weights, 0.7)]
        own = seen.owners == place
        columns = (one[own].tolist() for one in (seen.variants, seen.at_ms, seen.clicked, seen.bought))
        assert sorted(map(list, zip(*columns, strict=True))) == plain_showings(packed)


def test_what_lay_in_the_cart_was_bought():
    packed = pack(
        [
            touch_of(event(1), START, "cart", 10),
            touch_of(event(2), START + 1, "cart", 11),
            touch_of(event(3), START + 2, "purchase", 5, 0.5),
            touch_of(event(4), START + 3, "cart", 12),
            touch_of(event(5), START + 4, "view", 13),
        ]
    )
    assert bought(packed) == {10: START + 2, 11: START + 2, 5: START + 2}
    assert bought(pack([touch_of(event(1), START, "purchase", 0)])) == {}
