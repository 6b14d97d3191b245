"""Li et al.'s replay through decide and events: only what matches is learned from, and the same seed gives the same."""

from dataclasses import dataclass, replace

import msgspec
import numpy as np
import pytest

from arauto.core.campaign import DAY_MS, CampaignPlan
from arauto.core.clock import FakeClock
from arauto.core.errors import ConflictError, InputError
from arauto.core.i18n import LANGUAGES
from arauto.experiments import wilson_interval
from arauto.loop.remote import Remote
from arauto.loop.replay import describe_replay, difference_interval, letters, replay_log
from tests.loop.stub import TOKEN, Stub


@dataclass(frozen=True)
class Log:
    arm: np.ndarray
    clicked: np.ndarray
    propensity: np.ndarray
    campaign: str = "men"
    policy: str = "random"


def make_log(rows=400, rates=(0.02, 0.02, 0.5, 0.02), seed=0) -> Log:
    rng = np.random.default_rng(seed)
    arm = rng.integers(0, len(rates), rows)
    return Log(arm, rng.random(rows) < np.array(rates)[arm], np.full(rows, 1 / len(rates)))


async def run(log, *, slug="log", stub=None, **options):
    stub = stub or Stub()
    async with Remote("http://stub", key="key-1", token=TOKEN, transport=stub.transport()) as remote:
        return await replay_log(log, remote, slug=slug, **{"seed": 3, "clock": stub.clock, **options}), stub


def comparable(result):
    return msgspec.structs.replace(result, seconds=0.0)


@pytest.mark.no_cover
async def test_the_learner_beats_the_random_policy_where_there_is_something_to_learn():
    log = make_log(rows=1000)
    result, stub = await run(log)
    assert result.rows == stub.decisions == 1000
    assert result.expected_matches == 250
    assert abs(result.matched - 250) < 5 * (250 * 0.75) ** 0.5
    assert result.random_clicks == log.clicked.sum()
    assert result.random.value == pytest.approx(log.clicked.mean())
    assert result.learner.value > 1.5 * result.random.value
    assert result.difference.low > 0
    assert result.inverse_propensity == pytest.approx(result.clicks * 4 / 1000)
    assert (result.learner.low, result.learner.high) == wilson_interval(result.clicks, result.matched)


@pytest.mark.no_cover
async def test_what_matched_is_in_the_log_of_events_and_nothing_else():
    result, stub = await run(make_log())
    kinds = [row.type for row in stub.rows.values()]
    assert kinds.count("impression") == result.matched
    assert kinds.count("click") == result.clicks
    assert len(kinds) == result.matched + result.clicks
    assert all(row.visitor_id is None for row in stub.rows.values())
    shown = {row.variant_id: row for row in stub.rows.values()}
    assert len(shown) == 4


@pytest.mark.no_cover
async def test_without_anything_to_learn_the_estimate_agrees_with_the_log():
    """Uniform allocation: the matched rows are a random quarter, so the log's rate lies within the interval."""
    log = make_log(rows=800, rates=(0.3, 0.3, 0.3, 0.3))
    result, _ = await run(log, plan=CampaignPlan(allocation="uniform"))
    assert result.learner.low < log.clicked.mean() < result.learner.high
    assert result.difference.low < 0 < result.difference.high


@pytest.mark.no_cover
async def test_same_seed_same_result_another_seed_another():
    log = make_log()
    one, two, other = [(await run(log, seed=seed))[0] for seed in (5, 5, 6)]
    assert comparable(one) == comparable(two)
    assert comparable(one) != comparable(msgspec.structs.replace(other, seed=5))


async def test_fewer_rows_and_progress():
    told = []
    result, stub = await run(make_log(), rows=250, progress=lambda done, total: told.append((done, total)))
    assert result.rows == stub.decisions == 250
    assert told == [(0, 250), (100, 250), (200, 250), (250, 250)]
    assert stub.campaigns[1].state == "ended"


async def test_the_campaign_is_a_replays():
    result, stub = await run(make_log(rows=50), plan=CampaignPlan(seed=99, refresh_ms=500, floor=0.05))
    plan = stub.campaigns[result.campaign_id].plan
    assert (plan.seed, plan.refresh_ms, plan.floor, plan.simulated) == (3, 0, 0.05, False)
    assert [variant.copy.title for variant in stub.variants[1]] == ["Item A", "Item B", "Item C", "Item D"]
    with pytest.raises(ConflictError):
        await run(make_log(rows=50), stub=stub)


@pytest.mark.parametrize(
    ("log", "field"),
    [
        (replace(make_log(), propensity=np.full(400, 0.3)), "policy"),
        (replace(make_log(), arm=np.repeat([0, 1, 2, 3], [250, 50, 50, 50])), "arm"),
        (make_log(rows=0), "rows"),
    ],
)
async def test_a_log_for_which_the_method_is_not_valid_is_refused(log, field):
    with pytest.raises(InputError) as error:
        await run(log)
    assert error.value.field == field


async def test_an_event_refused_stops_the_replay():
    stub = Stub()
    wrong = FakeClock(stub.clock.now_ms() + 10 * DAY_MS)
    with pytest.raises(InputError, match="refused"):
        await run(make_log(), stub=stub, clock=wrong)


def test_newcombe_by_hand():
    """Newcombe (1998), table II, case (a): 56/70 − 48/80 gives 0.0524 to 0.3339."""
    estimate = difference_interval(56, 70, 48, 80)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    nothing = difference_interval(0, 0, 1, 10)
    assert (nothing.low, nothing.high) == (-1, 1)


def test_items_by_letters():
    assert [letters(number) for number in (0, 25, 26, 51, 52, 701, 702)] == ["A", "Z", "AA", "AZ", "BA", "ZZ", "AAA"]


@pytest.mark.parametrize("language", LANGUAGES)
async def test_it_is_described_without_claiming_too_much(language):
    clear, _ = await run(make_log(rows=1000))
    vague, _ = await run(make_log(rows=100, rates=(0.1, 0.1)))
    early = {"pt-BR": "cedo", "en": "early"}[language]
    assert early not in describe_replay(clear, language)
    assert early in describe_replay(vague, language)
    assert str(clear.matched) in describe_replay(clear, language)
