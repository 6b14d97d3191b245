"""Offers: unbiased under skewed exposure, explored, capped, explained."""

import numpy as np
import pytest

from arauto.audience import Candidate, Policy, Tally, touch_of
from arauto.audience.ledger import Ledger, ledger_of
from arauto.audience.offers import allowed, choose, counts_of_items, tally
from arauto.audience.state import Showings, pack, showings
from tests.audience.planted import START, event


def seen(rows):
    """Showings of rows: whose, variant, chance, when, clicked, bought."""
    owners, variants, chances, at_ms, clicked, purchased = (np.array(column) for column in zip(*rows, strict=True))
    return Showings(owners, variants.astype(np.uint64), chances, at_ms, clicked, purchased)


def test_weights_undo_how_often_a_variant_was_shown():
    """One variant was shown nine times as often as the other, to those who like it; inverse propensities tell."""
    rng = np.random.default_rng(0)
    rates = {1: [], 2: []}
    for _ in range(200):
        rows = []
        for owner in range(100):
            keen = rng.random() < 0.5
            chance = 0.9 if keen else 0.1
            variant = 1 if rng.random() < chance else 2
            clicked = rng.random() < (0.6 if keen else 0.2)
            rows.append((owner, variant, chance if variant == 1 else 1 - chance, START, clicked, False))
        found = tally(seen(rows), np.ones(100), "click")
        for variant in (1, 2):
            if variant in found:
                rates[variant].append(found[variant].rate)
    assert np.mean(rates[1]) == pytest.approx(0.4, abs=0.03)
    assert np.mean(rates[2]) == pytest.approx(0.4, abs=0.03)


def test_tallies_count_visitors_once_and_know_their_worth():
    twice = [(0, 1, 0.5, START, False, False), (0, 1, 0.5, START, True, True)]
    found = tally(seen([*twice, (1, 1, 0.25, START, False, False)]), np.array([1.0, 0.5]), "purchase")[1]
    assert (found.visitors, found.done) == (2, 1)
    assert found.trials == pytest.approx(3.0)
    assert found.rate == pytest.approx(1 / 3)
    assert Tally().trials == Tally().rate == 0.0
    assert tally(showings([]), np.ones(0), "click") == {}


def test_what_is_little_known_is_tried_now_and_then():
    everyone = {1: Tally(1000.0, 100.0, 1000.0, 1000, 100)}
    rng = np.random.default_rng(0)
    first = [
        choose([Candidate(1, 1), Candidate(2, 2)], {}, everyone, Policy(prior=10), rng)[0].variant for _ in range(300)
    ]
    assert 30 < first.count(2) < 270
    known = {**everyone, 2: Tally(1000.0, 10.0, 1000.0, 1000, 10)}
    first = [choose([Candidate(1, 1), Candidate(2, 2)], {}, known, Policy(), rng)[0].variant for _ in range(300)]
    assert first.count(1) > 297


def test_each_reason_tells_what_is_known():
    everyone = {1: Tally(40.0, 4.0, 40.0, 40, 4)}
    near = {1: Tally(20.0, 3.0, 20.0, 1240, 12)}
    rng = np.random.default_rng(0)

    def reason(near, variant):
        (found,) = choose([Candidate(variant, 1)], near, everyone, Policy(), rng, goal="purchase")
        return found.reason

    assert reason(near, 1) == {
        "en": "12 of 1,240 similar visitors bought this",
        "pt-BR": "12 de 1.240 visitantes parecidos compraram isto",
    }
    assert reason({}, 1)["en"] == "4 purchases in 40 showings to everyone"
    assert reason({}, 2)["pt-BR"] == "Ainda se sabe pouco: está sendo experimentado"


def test_the_new_visitor_gets_what_works_for_everyone():
    everyone = {1: Tally(1000.0, 20.0, 1000.0, 1000, 20), 2: Tally(1000.0, 200.0, 1000.0, 1000, 200)}
    rng = np.random.default_rng(0)
    found = choose([Candidate(1, 1), Candidate(2, 2)], {}, everyone, Policy(), rng)
    assert [one.variant for one in found] == [2, 1]
    assert found[0].rate == pytest.approx(0.2, abs=0.01)


def test_nothing_just_bought_and_nothing_too_often():
    packed = pack(
        [
            touch_of(event(1), START, "impression", 1, 0.5),
            touch_of(event(2), START + 1, "purchase", 1, 0.5),
            *(touch_of(event(10 + n), START + n, "impression", 3, 0.5) for n in range(5)),
        ]
    )
    options = [Candidate(1, 1), Candidate(2, 1), Candidate(3, 2), Candidate(4, 3)]
    assert [one.variant for one in allowed(options, packed, START + 100, Policy())] == [4]
    assert len(allowed(options, packed, START + 40 * 86_400_000, Policy())) == 4


def test_the_ledger_is_the_sum_of_the_events_and_forgets():
    states = [
        (
            group,
            pack(
                [
                    touch_of(event(10 * group + n), START + n, kind, 5, 0.25)
                    for n, kind in enumerate(("impression", "click", "impression", "purchase"))
                ]
            ),
        )
        for group in (0, 1)
    ]
    ledger = ledger_of(states)
    successes, trials = ledger.cells([0, 1, 2], [5, 6], "click")
    assert successes.tolist() == [[1, 1, 0], [0, 0, 0]]
    assert trials.tolist() == [[2, 2, 0], [0, 0, 0]]
    every = ledger.everyone("purchase")[5]
    assert (every.rate, every.trials, every.visitors, every.done) == (0.5, 4.0, 4, 2)
    ledger.remove(*states[0])
    assert ledger.cells([0], [5], "click")[1].tolist() == [[0]]
    empty = Ledger()
    empty.add(0, touch_of(event(1), START, "view", 5))
    assert empty.everyone("click") == {}


def test_items_are_counted_by_visitor():
    first = pack([touch_of(event(1), START, "cart", 10), touch_of(event(2), START + 1, "purchase", 0)])
    second = pack([touch_of(event(3), START, "view", 10), touch_of(event(4), START, "view", 10)])
    assert counts_of_items([first, second], ("purchase",)) == {10: 1}
    assert counts_of_items([first, second], ("view", "cart")) == {10: 2}
