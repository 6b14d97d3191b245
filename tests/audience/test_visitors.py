"""Visitors: an event moves vector, index, segment and ledger at once; forgetting leaves nothing."""

import random

import numpy as np
import pytest

from arauto.audience import (
    NOBODY,
    Candidate,
    Filter,
    Policy,
    Recipe,
    Visitors,
    code_of,
    fit,
    parse,
    touch_of,
)
from arauto.core.errors import InputError, NotFoundError
from tests.audience.planted import DAY_MS, START, event, filled, log, visitor


@pytest.fixture(scope="module")
def encoder():
    return fit(log(), Recipe(ridge=10.0), dimensions=16)


def tastes(near):
    return [(one.visitor.int >> 64) % 4 for one in near]


@pytest.mark.parametrize("trained", [True, False])
def test_neighbours_share_a_taste_and_an_event_changes_them_at_once(encoder, trained):
    visitors = filled(encoder if trained else None)
    assert tastes(visitors.neighbours(visitor(0), 10)).count(0) >= 9
    before = visitors.vector(visitor(0))
    for n, item in enumerate(("i12", "i13", "i14", "i15", "i16", "i17")):
        assert visitors.learn(visitor(0), touch_of(event(9000 + n), START + DAY_MS + n, "purchase", code_of(item)))
    assert visitors.vector(visitor(0)) @ before < 0.6
    assert tastes(visitors.neighbours(visitor(0), 10)).count(1) >= 8


def test_the_order_of_events_is_no_matter(encoder):
    one = filled(encoder)
    other = Visitors(encoder)
    changes = [(who, touch) for who in one for touch in _touches(one, who)]
    for who, touch in random.Random(1).sample(changes * 2, len(changes) * 2):
        other.learn(who, touch)
    for who in one:
        assert other.state(who) == one.state(who)
        assert other.vector(who).tolist() == one.vector(who).tolist()
        near, wanted = other.neighbours(who, 5), one.neighbours(who, 5)
        assert [n.similarity for n in near] == pytest.approx([n.similarity for n in wanted], abs=1e-6)


def _touches(visitors, who):
    from arauto.audience import unpack

    return list(unpack(visitors.state(who)))


def test_loading_adds_to_what_came_meanwhile(encoder):
    saved = filled(encoder).states()
    visitors = Visitors(encoder)
    late = touch_of(event(7777), START + DAY_MS, "view", code_of("i11"))
    visitors.learn(visitor(0), late)
    visitors.load(saved)
    whole = filled(encoder)
    whole.learn(visitor(0), late)
    assert len(visitors) == len(whole)
    assert all(visitors.state(who) == whole.state(who) for who in whole)
    assert visitors.vector(visitor(0)) == pytest.approx(whole.vector(visitor(0)))


def test_a_forgotten_visitor_is_nowhere_and_the_place_is_reused(encoder):
    visitors = filled(encoder)
    visitors.regroup(4)
    assert visitors.forget(visitor(5))
    assert not visitors.forget(visitor(5))
    assert visitor(5) not in visitors
    assert visitors.vector(visitor(5)) is None
    assert visitors.state(visitor(5)) == b""
    assert visitors.segment(visitor(5)) == NOBODY
    assert visitors.neighbours(visitor(5)) == []
    for who in visitors:
        assert visitor(5) not in [near.visitor for near in visitors.neighbours(who, 79)]
    assert visitor(5) not in visitors.select(parse("views >= 0"), START)
    with pytest.raises(NotFoundError):
        visitors.require(visitor(5))
    visitors.learn(visitor(500), touch_of(event(1), START, "view", code_of("i00")))
    assert len(visitors.index) == 80
    assert tastes(visitors.neighbours(visitor(500), 5)) == [0] * 5


def test_filters_keep_to_a_segment_and_to_the_recent(encoder):
    visitors = filled(encoder)
    visitors.regroup(4)
    own = visitors.segment(visitor(1))
    near = visitors.neighbours(visitor(0), 30, Filter(segment=own))
    assert near
    assert {visitors.segment(one.visitor) for one in near} == {own}
    visitors.learn(visitor(9), touch_of(event(1), START + DAY_MS, "view", code_of("i19")))
    near = visitors.neighbours(visitor(0), 30, Filter(since_ms=START + DAY_MS))
    assert [one.visitor for one in near] == [visitor(9)]


def test_segments_are_the_planted_tastes_with_names_and_places(encoder):
    visitors = filled(encoder, users=160)
    found, drift = visitors.regroup(4)
    assert [one.size for one in found] == [40, 40, 40, 40]
    assert not drift.shifted
    for one in found:
        assert len({item[1] for item in one.items}) == 1
        assert one.names["en"].startswith("Drawn to i")
        assert one.names["pt-BR"].startswith("Interesse em i")
        assert -1 <= one.x <= 1
    assert visitors.segment(visitor(0)) == visitors.segment(visitor(4)) != visitors.segment(visitor(1))


def test_what_changed_is_told_since_the_segments_were_held(encoder):
    """Half of taste 0 turns to taste 1, in two steps, with segments found between."""
    visitors = filled(encoder, users=400)
    visitors.regroup(4)
    found = []
    for step in range(2):
        for n, who in enumerate(range(step * 4, 200, 8)):
            for m, item in enumerate(("i12", "i13", "i14", "i15", "i16", "i17")):
                touch = touch_of(event(9000 + step * 1000 + n * 10 + m), START + DAY_MS + m, "purchase", code_of(item))
                visitors.learn(visitor(who), touch)
        found.append(visitors.regroup(4, hold=False)[1])
    assert [one.active for one in found] == [25, 50]
    assert [one.net for one in found] == [1.0, 1.0]
    assert found[1].shifted
    assert found[1].moved == pytest.approx(50 / 400, abs=0.02)
    visitors.regroup(4)
    visitors.forget(visitor(0))
    assert visitors.regroup(4)[1].active == 0


def test_a_new_encoder_is_taken_over_with_everyone_and_segments_keep_their_ids(encoder):
    visitors = filled(users=160)
    visitors.regroup(4)
    ids = {who: visitors.segment(who) for who in visitors}
    visitors.adopt(encoder)
    assert visitors.index.version == encoder.version
    assert visitors.vector(visitor(3)).shape == (16,)
    assert tastes(visitors.neighbours(visitor(0), 10)).count(0) >= 9
    visitors.regroup(4)
    assert sum(visitors.segment(who) == ids[who] for who in visitors) >= 152


def test_what_happens_during_a_change_of_encoder_is_not_lost(encoder, monkeypatch):
    visitors = filled()
    make = visitors._new_index

    def meanwhile(fresh):
        made = make(fresh)
        visitors.forget(visitor(2))
        visitors.learn(visitor(900), touch_of(event(1), START, "view", code_of("i03")))
        visitors.learn(visitor(0), touch_of(event(2), START + DAY_MS, "purchase", code_of("i15")))
        return made

    monkeypatch.setattr(visitors, "_new_index", meanwhile)
    visitors.adopt(encoder)
    wanted = filled(encoder)
    wanted.forget(visitor(2))
    wanted.learn(visitor(900), touch_of(event(1), START, "view", code_of("i03")))
    wanted.learn(visitor(0), touch_of(event(2), START + DAY_MS, "purchase", code_of("i15")))
    assert len(visitors.index) == len(wanted.index)
    for who in wanted:
        assert visitors.vector(who) == pytest.approx(wanted.vector(who), abs=1e-6)


@pytest.mark.parametrize("trained", [True, False])
def test_next_items_are_of_the_taste_new_and_have_a_reason(encoder, trained):
    visitors = filled(encoder if trained else None, users=320)
    met = {visitors.names[touch.code] for touch in _touches(visitors, visitor(2))}
    found = visitors.next_items(visitor(2), count=3)
    assert {one.item[1] for one in found} == {"2"}
    assert not met & {one.item for one in found}
    assert "similar visitors looked at this" in found[0].reason["en"]
    assert "visitantes parecidos viram isto" in found[0].reason["pt-BR"]
    for n in range(6, 320, 4):
        visitors.learn(visitor(n), touch_of(event(9000 + n), START + DAY_MS, "cart", code_of(found[0].item)))
        visitors.learn(visitor(n), touch_of(event(9500 + n), START + DAY_MS + 1, "purchase", 0))
    again = next(one for one in visitors.next_items(visitor(2), count=5) if one.item == found[0].item)
    assert again.bought >= 3
    assert again.reason["en"] == f"{again.bought} of {again.similar} similar visitors bought this"


def test_offers_follow_what_similar_visitors_did(encoder):
    """Variant 1 is clicked by taste 0 alone, variant 2 by the others; both were shown evenly."""
    visitors = filled(encoder, users=400)
    n = 10_000
    for who in range(400):
        for variant in (1, 2):
            n += 2
            at = START + DAY_MS + n
            visitors.learn(visitor(who), touch_of(event(n), at, "impression", variant, 0.5))
            if (who % 4 == 0) == (variant == 1):
                visitors.learn(visitor(who), touch_of(event(n + 1), at + 1, "click", variant, 0.5))
    options = [Candidate(1, 7), Candidate(2, 7), Candidate(3, 8)]
    first = {0: [], 1: []}
    for turn in range(20):
        for who in (0, 1):
            found = visitors.offers(visitor(who), options, START + 3 * DAY_MS, np.random.default_rng(turn))
            assert [one.campaign for one in found].count(7) == 1
            first[who].append(next(one.variant for one in found if one.campaign == 7))
    assert first[0].count(1) >= 19
    assert first[1].count(2) >= 19
    best = visitors.offers(visitor(0), options, START + 3 * DAY_MS, np.random.default_rng(0))
    own = next(one for one in best if one.variant == 1)
    assert own.rate > 0.7
    assert own.reason["en"] == f"{own.done} of {own.similar} similar visitors clicked this"


def test_lookalikes_of_a_taste_are_of_that_taste(encoder):
    visitors = filled(encoder)
    seeds = [visitor(n) for n in range(0, 48, 4)]
    found = visitors.alike(seeds, 8)
    assert tastes(found) == [0] * 8
    assert not {one.visitor for one in found} & set(seeds)
    with pytest.raises(InputError, match="fewer than ten"):
        visitors.alike(seeds[:9], 5)


def test_rules_select_by_what_was_done(encoder):
    visitors = filled(encoder)
    visitors.learn(visitor(3), touch_of(event(1), START + DAY_MS, "cart", code_of("i33")))
    assert visitors.select(parse("carts > 0 AND purchases = 0"), START + DAY_MS) == [visitor(3)]
    assert len(visitors.select(parse("viewed('i0*')"), START)) == 20


def test_sensitive_items_name_no_segment_and_are_not_offered():
    visitors = Visitors()
    for who in range(40):
        for n, item in enumerate(("livro-gravidez", "watch", f"x{who % 2}")):
            visitors.names[code_of(item)] = item
            visitors.learn(visitor(who), touch_of(event(who * 10 + n), START + n, "view", code_of(item)))
    found, _ = visitors.regroup(2)
    assert all("gravidez" not in " ".join([*one.items, *one.names.values()]) for one in found)
    newcomer = visitor(99)
    visitors.learn(newcomer, touch_of(event(999), START, "view", code_of("x0")))
    assert "livro-gravidez" not in [one.item for one in visitors.next_items(newcomer)]


def test_those_longest_away_make_room(encoder):
    visitors = Visitors(encoder)
    for number in range(200):
        visitors.learn(visitor(number), touch_of(event(number), START + (number * 7) % 200, "view", code_of("i01")))
    visitors.trim(200)
    assert len(visitors) == 200
    visitors.trim(150)
    assert len(visitors) == 147
    assert all((number * 7) % 200 < 53 for number in range(200) if visitor(number) not in visitors)


def test_an_item_that_the_encoder_does_not_know_gives_no_vector(encoder):
    visitors = Visitors(encoder)
    assert visitors.learn(visitor(1), touch_of(event(1), START, "view", code_of("novelty")))
    assert visitors.vector(visitor(1)) is None
    assert visitors.segment(visitor(1)) == NOBODY
    assert visitors.neighbours(visitor(1)) == []
    assert len(visitors.index) == 0


def test_a_policy_caps_and_rests(encoder):
    visitors = filled(encoder)
    options = [Candidate(1, 7), Candidate(2, 8)]
    now = START + DAY_MS
    for n in range(3):
        visitors.learn(visitor(0), touch_of(event(100 + n), now - n, "impression", 1, 0.5))
    rng = np.random.default_rng(0)
    capped = visitors.offers(visitor(0), options, now, rng, policy=Policy(cap=3))
    assert [one.campaign for one in capped] == [8]
    assert len(visitors.offers(visitor(0), options, now + 2 * DAY_MS, rng, policy=Policy(cap=3))) == 2
    visitors.learn(visitor(0), touch_of(event(200), now, "purchase", 2, 0.5))
    assert [one.campaign for one in visitors.offers(visitor(0), options, now + 5 * DAY_MS, rng)] == [7]
    assert len(visitors.offers(visitor(0), options, now + 31 * DAY_MS, rng)) == 2
