"""Candidates of which the device chooses one: what is drawn, what is signed, and that the weights are right."""

from collections import Counter
from uuid import UUID

import msgspec
import numpy as np
import pytest

from arauto.core.errors import EventError
from arauto.core.events import CHOSEN, DEVICE_FLOOR, CandidatesQuery
from arauto.core.receipts import Receipt
from arauto.loop.admit import judge_choice
from arauto.loop.answers import CandidatesAnswer
from arauto.loop.policy import Ramp, make_policy
from tests.loop.test_admit import NOW, door, event, one
from tests.loop.test_admit import receipt as plain_receipt
from tests.loop.test_decide import BOOK, SITE, VARIANTS, campaign, decider, variant


def ask(made, count=3):
    body = made.candidates(CandidatesQuery(key="key-3", campaign="watch", candidates=count))
    return msgspec.json.decode(body, type=CandidatesAnswer)


def test_candidates_are_the_next_draws_each_once_under_one_decision():
    made, same = decider(), decider()
    for _ in range(50):
        answer = ask(made, 4)
        drawn = Counter(ask_one(same) for _ in range(4))
        assert [one.variant for one in answer.candidates] == list(drawn)
        assert answer.shares == [times / 4 for times in drawn.values()]
        assert len({one.decision for one in answer.candidates}) == 1
        assert answer.floor == DEVICE_FLOOR
        for candidate, times in zip(answer.candidates, drawn.values(), strict=True):
            receipt = BOOK.read(candidate.receipt)
            assert (receipt.candidates, receipt.drawn, receipt.stage) == (4, times, 0)
            assert receipt.propensity == candidate.propensity


def ask_one(made):
    from tests.loop.test_decide import ask as ask_plain

    return ask_plain(made).variant


def test_one_candidate_where_a_visitor_keeps_a_variant_or_a_release_is_on_its_way():
    sticky = decider(of=campaign(assignment="visitor"))
    ramped, staged = decider(), [*VARIANTS, variant(14, state="staged")]
    ramp = Ramp(stage=4, share=0.5, release=2, candidates=(14,))
    ramped.put(SITE, campaign(), staged, make_policy(campaign(), staged, [], 5, ramp))
    for made in (sticky, ramped):
        answer = ask(made)
        assert (len(answer.candidates), answer.shares, answer.floor) == (1, [1.0], 1.0)
        assert BOOK.read(answer.candidates[0].receipt).candidates == 1


def chosen(k=4, drawn=1, p=0.3, bits=0):
    return Receipt(UUID(int=(NOW << 80) | 7 << 76 | 2 << 62 | bits), 7, 11, p, 9, 2, candidates=k, drawn=drawn)


def test_what_is_kept_as_a_fair_coin_depends_on_the_chance_and_the_decision_alone():
    least = DEVICE_FLOOR / 4
    assert judge_choice(chosen(bits=0), 0.5) == (0, 0.3)
    assert judge_choice(chosen(bits=(1 << 48) - 1), least) == (0, 0.3)
    stage, propensity = judge_choice(chosen(bits=(1 << 48) - 1), 0.5)
    assert (stage, propensity) == (CHOSEN, pytest.approx((1 - 0.7**4) * 0.5))


@pytest.mark.parametrize("chance", [None, 0.0499, 1e-9])
def test_a_chance_below_the_floor_is_refused(chance):
    with pytest.raises(EventError) as caught:
        judge_choice(chosen(), chance)
    assert caught.value.field == "chance"


def test_the_door_writes_the_stage_and_propensity_of_a_choice():
    signed = BOOK.sign(msgspec.structs.replace(chosen(bits=(1 << 48) - 1), decision_id=_decision(1)))
    row = one(event(receipt=signed, chance=1.0))
    assert (row.stage, row.propensity) == (CHOSEN, pytest.approx(1 - 0.7**4))
    assert "chance" in door(event(receipt=signed)).problems[0].field
    assert "chance" in door(event(receipt=plain_receipt(), chance=0.5)).problems[0].field
    assert one(event(receipt=plain_receipt(), chance=1.0)).stage == 0


def _decision(last):
    return UUID(int=((NOW - 3_600_000) << 80) | 7 << 76 | 2 << 62 | ((1 << 48) - last))


@pytest.mark.no_cover
def test_fair_coins_are_distributed_as_drawn_and_the_weights_of_all_are_unbiased():
    """A device that knows its visitors' taste and mostly follows it: the arms' means come out right all the same."""
    rng = np.random.default_rng(3)
    p, k, n = np.array([0.6, 0.3, 0.1]), 3, 60_000
    liked = rng.integers(0, 3, n)  # each visitor likes one arm, and clicks it with 0.8, else with 0.2
    fair, weighted = Counter(), np.zeros(3)
    clicks = Counter()
    for likes in liked.tolist():
        drawn = Counter(rng.choice(3, k, p=p).tolist())
        wish = {arm: 0.9 if arm == likes else 0.1 for arm in drawn}
        whole = sum(wish.values())
        chances = {a: DEVICE_FLOOR * m / k + (1 - DEVICE_FLOOR) * wish[a] / whole for a, m in drawn.items()}
        arm = int(rng.choice(list(chances), p=list(chances.values())))
        click = rng.random() < (0.8 if arm == likes else 0.2)
        facts = chosen(k, drawn[arm], float(p[arm]), int(rng.integers(0, 1 << 48)))
        stage, _ = judge_choice(facts, chances[arm])
        if stage == 0:
            fair[arm] += 1
            clicks[arm] += click
        weighted[arm] += click / ((1 - (1 - p[arm]) ** k) * chances[arm])
    kept = sum(fair.values())
    assert abs(kept / n - DEVICE_FLOOR) < 4 * np.sqrt(0.16 / n)
    for arm in range(3):
        assert abs(fair[arm] / kept - p[arm]) < 4 * np.sqrt(p[arm] * (1 - p[arm]) / kept)
        assert abs(clicks[arm] / fair[arm] - 0.4) < 4 * np.sqrt(0.24 / fair[arm])
        assert abs(weighted[arm] / n - 0.4) < 0.05
