import math
from collections import Counter
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arauto.core.brief import Brief, Message
from arauto.core.campaign import Campaign, CampaignPlan, Copy, Origin, Site, Variant
from arauto.core.clock import FakeClock
from arauto.core.errors import AuthError, ForbiddenError, InputError, NotFoundError
from arauto.core.events import PARTS, SEGMENTS, DecideQuery
from arauto.core.ids import uuid7_ms
from arauto.core.receipts import ANONYMOUS, ReceiptBook
from arauto.loop.answers import DecideAnswer
from arauto.loop.decide import BLOCK, Decider
from arauto.loop.policy import Ramp, make_policy, reward_counts, wants_hours
from arauto.store import ArmTotals, PartTotals

BOOK = ReceiptBook(b"a secret of the test, 32 bytes or more")
SITE = Site(id=3, name="shop", key="key-3", origins=("https://shop.example",))
MESSAGE = Message(language="en", product="watch", call_to_action="Buy", link="https://shop.example/watch")


def campaign(state="live", **plan):
    return Campaign(
        id=7,
        site_id=3,
        slug="watch",
        name="Watch",
        brief=Brief(product="watch"),
        message=MESSAGE,
        plan=CampaignPlan(**{"seed": 5, **plan}),
        state=state,
    )


def variant(number, title="A title", state="live"):
    copy = Copy(title=title, description="d", image_suggestion="i")
    return Variant(id=number, campaign_id=7, name=f"v{number}", copy=copy, origin=Origin(engine="given"), state=state)


VARIANTS = [variant(11), variant(12), variant(13)]
TOTALS = [
    ArmTotals(variant_id=11, segment="mobile", impressions=900, clicks=30, purchases=3, ratings=2, rating_sum=10),
    ArmTotals(variant_id=11, segment="desktop", impressions=100, clicks=10),
    ArmTotals(variant_id=12, segment="mobile", impressions=1000, clicks=60, purchases=1, ratings=4, rating_sum=4),
    ArmTotals(variant_id=99, segment="mobile", impressions=10, clicks=10),
]


def decider(variants=VARIANTS, totals=TOTALS, *, lane=0, book=BOOK, of=None):
    made = Decider(book, FakeClock(), lane=lane)
    made.know([SITE])
    one = of or campaign()
    made.put(SITE, one, variants, make_policy(one, variants, totals, made.seed_of(one)))
    return made


def ask(made, *, gpc=False, origin=None, **query):
    body = made.decide(DecideQuery(**{"key": "key-3", "campaign": "watch", **query}), gpc=gpc, origin=origin)
    return msgspec.json.decode(body, type=DecideAnswer)


def test_the_answer_holds_what_was_drawn_and_a_receipt_for_it():
    made = decider()
    answer = ask(made, device="mobile")
    receipt = BOOK.read(answer.receipt)
    assert (answer.campaign, answer.call_to_action, answer.link) == ("watch", "Buy", "https://shop.example/watch")
    assert answer.variant == f"v{receipt.variant_id}"
    assert answer.copy == VARIANTS[0].copy
    assert not answer.simulated
    assert (receipt.decision_id, receipt.campaign_id) == (answer.decision, 7)
    assert (receipt.propensity, receipt.policy_version) == (answer.propensity, answer.policy_version)
    assert SEGMENTS[receipt.segment] == "mobile"
    assert receipt.visitor_tag == ANONYMOUS
    assert answer.decision.version == 7
    assert uuid7_ms(answer.decision) == FakeClock().now_ms()


@given(st.text(max_size=50), st.text(max_size=50))
def test_no_text_breaks_the_ready_json(title, name):
    tricky = variant(11, title + '"receipt":"' + title)
    one = msgspec.structs.replace(campaign(), message=msgspec.structs.replace(MESSAGE, call_to_action=name))
    answer = ask(decider([tricky], [], of=one))
    assert answer.copy == tricky.copy
    assert answer.call_to_action == name
    assert BOOK.read(answer.receipt).variant_id == 11


def test_the_logged_propensity_is_the_one_drawn_from():
    made = decider(totals=[])
    answers = [ask(made) for _ in range(6000)]
    policy = made.policy(7)
    drawn = Counter(answer.variant for answer in answers)
    assert math.fsum(policy.propensities.values()) == 1.0
    for number, share in policy.propensities.items():
        # Five standard errors: once in a million runs, and the seed is fixed.
        assert abs(drawn[f"v{number}"] / 6000 - share) < 5 * math.sqrt(share * (1 - share) / 6000)
        assert {answer.propensity for answer in answers if answer.variant == f"v{number}"} == {share}
    assert len({answer.decision for answer in answers}) == 6000
    assert made.served() == {7: 6000}


def test_the_better_arm_is_preferred_and_none_is_given_up():
    shares = decider().policy(7).propensities
    assert shares[12] > shares[11] >= 0.01
    assert shares[13] >= 0.01


def test_the_same_seed_and_events_give_the_same_arms():
    def arms(**options):
        made = decider(**options)
        return [ask(made).variant for _ in range(2 * BLOCK + 5)]

    assert arms() == arms()
    assert arms() != arms(lane=1)
    assert arms() != arms(of=campaign(seed=6))


def test_a_refresh_without_news_does_not_disturb_the_block():
    made, same = decider(), decider()
    first = [ask(made).variant for _ in range(10)]
    one = campaign()
    made.put(SITE, one, VARIANTS, make_policy(one, VARIANTS, TOTALS, 5))
    then = [ask(made).variant for _ in range(10)]
    assert first + then == [ask(same).variant for _ in range(20)]


def test_news_make_a_new_version():
    versions = {make_policy(campaign(), VARIANTS, totals, 5).version for totals in ([], TOTALS[:1], TOTALS)}
    retired = [VARIANTS[0], VARIANTS[1], variant(13, state="retired")]
    versions.add(make_policy(campaign(), retired, TOTALS, 5).version)
    assert len(versions) == 4
    assert set(make_policy(campaign(), retired, TOTALS, 5).propensities) == {11, 12}


def test_without_a_seed_one_is_taken_at_random_and_kept():
    made = decider()
    one = campaign(seed=None)
    assert made.seed_of(one) == made.seed_of(one) != decider().seed_of(one)


def test_uniform_shares_do_not_learn():
    policy = make_policy(campaign(allocation="uniform"), VARIANTS, TOTALS, 5)
    assert list(policy.propensities.values()) == pytest.approx([1 / 3] * 3)
    assert policy.version == make_policy(campaign(allocation="uniform"), VARIANTS, [], 5).version


def test_rewards_are_counted_by_goal():
    assert reward_counts("click", [11, 12, 13], TOTALS) == ([40, 60, 0], [1000, 1000, 0])
    assert reward_counts("purchase", [11, 12, 13], TOTALS) == ([3, 1, 0], [1000, 1000, 0])
    assert reward_counts("rating", [11, 12, 13], TOTALS) == ([2, 0, 0], [2, 4, 0])


@pytest.mark.parametrize("state", ["draft", "paused", "ended"])
def test_only_what_is_live_is_shown(state):
    made = decider()
    one = campaign(state)
    made.put(SITE, one, VARIANTS, make_policy(one, VARIANTS, TOTALS, 5))
    with pytest.raises(NotFoundError):
        ask(made)
    assert made.policy(7) is None


def test_a_campaign_without_a_live_variant_is_not_shown():
    assert make_policy(campaign(), [variant(11, state="retired")], [], 5) is None


def test_unknown_keys_names_and_origins_are_refused():
    made = decider()
    with pytest.raises(AuthError):
        ask(made, key="key-4")
    with pytest.raises(NotFoundError):
        ask(made, campaign="watches")
    with pytest.raises(ForbiddenError):
        ask(made, origin="https://evil.example")
    assert ask(made, origin="https://shop.example").campaign == "watch"


def test_a_visitor_counts_only_with_consent_and_without_gpc():
    made, visitor = decider(), uuid4()

    def tag(**options):
        return BOOK.read(ask(made, visitor=visitor, **options).receipt).visitor_tag

    assert tag(consent="granted") == BOOK.visitor_tag(visitor)
    assert tag() == ANONYMOUS
    assert tag(consent="granted", gpc=True) == ANONYMOUS


def test_ids_are_good_version_7_uuids():
    made = decider()
    for _ in range(2000):
        decision = UUID(bytes=made._decision_id())
        assert decision.version == 7
        assert decision.variant == "specified in RFC 4122"


RAMP = Ramp(stage=40, share=0.1, candidates=(13,))


def drawn(made, n=4000, **query):
    """Receipts' (variant, stage) of ``n`` decisions, and the propensity each variant was told with."""
    seen, told = Counter(), {}
    for _ in range(n):
        query_ = DecideQuery(key="key-3", campaign="watch", **query)
        answer = msgspec.json.decode(made.decide(query_), type=DecideAnswer)
        receipt = BOOK.read(answer.receipt)
        seen[receipt.variant_id, receipt.stage] += 1
        told.setdefault(receipt.variant_id, set()).add(receipt.propensity)
    return seen, told


def released(of, ramp, variants=VARIANTS, totals=TOTALS):
    made = Decider(BOOK, FakeClock())
    made.know([SITE])
    made.put(SITE, of, variants, make_policy(of, variants, totals, 5, ramp))
    return made


def test_a_release_gets_its_share_and_each_decision_says_which_side():
    seen, told = drawn(released(campaign(allocation="uniform"), RAMP))
    assert seen.keys() == {(11, 40), (12, 40), (13, 41)}
    assert 300 < seen[13, 41] < 500
    assert told == {11: {0.45}, 12: {0.45}, 13: {0.1}}
    staged = [*VARIANTS[:2], variant(13, state="staged")]
    assert make_policy(campaign(), staged, TOTALS, 5).propensities.keys() == {11, 12}
    assert make_policy(campaign(), staged, TOTALS, 5, RAMP).propensities[13] == pytest.approx(0.1)


def test_a_side_without_arms_leaves_all_to_the_other_and_proves_nothing():
    gone = [*VARIANTS[:2], variant(13, state="retired")]
    seen, _ = drawn(released(campaign(), RAMP, gone), 200)
    assert {stage for _, stage in seen} == {0}
    alone = [variant(11, state="retired"), variant(12, state="retired"), variant(13, state="staged")]
    seen, told = drawn(released(campaign(), RAMP, alone), 200)
    assert (seen.keys(), told) == ({(13, 0)}, {13: {1.0}})


def test_another_policy_is_a_side_too_and_its_propensities_add_up():
    change = {"allocation": "fixed", "shares": {"v11": 0.9, "v13": 0.1}}
    ramp = Ramp(stage=6, share=0.5, change=change)
    seen, told = drawn(released(campaign(allocation="uniform"), ramp))
    assert seen.keys() == {(11, 6), (12, 6), (13, 6), (11, 7), (13, 7)}
    assert {arm: next(iter(p)) for arm, p in told.items()} == pytest.approx({11: 0.6166667, 12: 1 / 6, 13: 0.2166667})
    assert seen[11, 7] / sum(n for (_, stage), n in seen.items() if stage == 7) == pytest.approx(0.9, abs=0.03)
    with pytest.raises(InputError):
        make_policy(campaign(), VARIANTS, TOTALS, 5, Ramp(stage=6, share=0.5, change={"allocation": "best"}))
    with pytest.raises(InputError):
        make_policy(campaign(), VARIANTS, TOTALS, 5, Ramp(stage=6, share=0.5, change={"allocation": "fixed"}))


def test_every_way_to_deal_serves_what_it_logs():
    fixed = campaign(allocation="fixed", shares={"v11": 0.2, "v13": 0.2})
    _, told = drawn(decider(of=fixed), 1000)
    assert told == {11: {0.5}, 13: {0.5}}
    assert make_policy(campaign(allocation="fixed", shares={"x": 1.0}), VARIANTS, TOTALS, 5) is None
    earned = [
        ArmTotals(variant_id=11, segment="mobile", impressions=500, purchases=20, value_cents=200, value_sq=2000),
        ArmTotals(variant_id=12, segment="mobile", impressions=500, purchases=20, value_cents=9000, value_sq=5_000_000),
    ]
    rich = make_policy(campaign(allocation="revenue"), VARIANTS[:2], earned, 5)
    assert rich.propensities[12] > 0.8
    for kind in ("top_two", "revenue", "thompson"):
        policy = make_policy(campaign(allocation=kind, floor=0.02), VARIANTS, TOTALS, 5)
        assert math.fsum(policy.propensities.values()) == 1.0
        assert min(policy.propensities.values()) >= 0.02


def test_a_context_has_its_own_shares():
    told = [
        ArmTotals(variant_id=arm, segment=segment, impressions=1000, clicks=clicks)
        for arm, segment, clicks in ((11, "mobile", 200), (12, "mobile", 50), (11, "desktop", 50), (12, "desktop", 200))
    ]
    of = campaign(allocation="contextual")
    made = decider(VARIANTS[:2], told, of=of)
    assert len(made.policy(7).mixes) == len(SEGMENTS)
    for device, best in (("mobile", 11), ("desktop", 12)):
        seen, shares = drawn(made, 500, device=device)
        assert seen[best, 0] > 400
        assert len(shares[best]) == 1
        assert min(shares[best]) > 0.9
    # a renewal without news draws on where it stood
    before = [deck.block for deck in made._by_id[7][1].decks]
    made.put(SITE, of, VARIANTS[:2], make_policy(of, VARIANTS[:2], told, made.seed_of(of)))
    assert [deck.block for deck in made._by_id[7][1].decks] == before


def test_the_hour_has_shares_too():
    told = [
        PartTotals(variant_id=arm, segment=segment, part=part, impressions=1000, clicks=clicks)
        for segment in ("mobile", "desktop")
        for arm, part, clicks in ((11, 0, 200), (12, 0, 50), (11, 4, 50), (12, 4, 200))
    ]
    of = campaign(allocation="contextual", features=("device", "hour"))
    assert wants_hours(of.plan)
    assert not wants_hours(campaign(allocation="contextual").plan)
    assert wants_hours(campaign(features=("hour",)).plan, Ramp(stage=2, share=0.5, change={"allocation": "contextual"}))
    clock = FakeClock(20_000 * 86_400_000 + 60_000)  # just after midnight, UTC
    made = Decider(BOOK, clock)
    made.know([SITE])
    made.put(SITE, of, VARIANTS[:2], make_policy(of, VARIANTS[:2], told, 5))
    assert len(made.policy(7).mixes) == len(SEGMENTS) * PARTS
    for best in (11, 12):
        for device in ("mobile", "desktop"):
            seen, shares = drawn(made, 300, device=device)
            assert seen[best, 0] > 240
            assert len(shares[best]) == 1
            assert min(shares[best]) > 0.85
        clock.advance(12 * 3_600_000)
    # By the hour alone, devices share what is known.
    alone = campaign(allocation="contextual", features=("hour",))
    policy = make_policy(alone, VARIANTS[:2], told[:4], 5)
    assert policy.mixes[0] == policy.mixes[PARTS]
    assert policy.mixes[0][0].chance > 0.8
