import math

import msgspec
import numpy as np
import pytest

from arauto.core.errors import ConflictError, InputError
from arauto.experiments.coin import Trials
from arauto.experiments.comparison import pair_terms
from arauto.experiments.guardrails import CERTAIN, Guardrail, Measured, Reading, read_guardrail
from arauto.experiments.rollout import (
    Move,
    ReleasePlan,
    ReleaseState,
    apply_move,
    check_plan,
    manual_move,
    next_move,
    read_guardrails,
    share_of,
    state_after,
)

CTR = Guardrail(name="ctr")
SLOW = Guardrail(name="load_p75", kind="quantile", bad="greater", margin=0.1)
PLAN = ReleasePlan(guardrails=(CTR, SLOW))


def reading(name, harm=0.0, safety=CERTAIN):
    return Reading(name=name, harm=harm, safety=safety, tolerance=0.1)


def rates(share, n, k):
    return pair_terms([share], [n], [k], [k])[0]


def test_it_climbs_when_every_guardrail_is_cleared():
    state, log = ReleaseState(), []
    shares = [share_of(PLAN, state)]
    while state.status == "running":
        move = next_move(PLAN, state, [reading("ctr"), reading("load_p75")], 1000)
        log.append(move)
        state = apply_move(state, move)
        shares.append(share_of(PLAN, state))
    assert shares == [0.01, 0.05, 0.10, 0.25, 0.50, 1.0]
    assert [m.action for m in log] == ["advance"] * 4 + ["finish"]
    assert state.status == "done"
    assert next_move(PLAN, state, [reading("ctr")], 1000).cause == "over"


def test_it_waits_while_unsure_and_names_the_least_sure():
    move = next_move(PLAN, ReleaseState(), [reading("ctr", safety=1.0), reading("load_p75", safety=2.0)], 1000)
    assert (move.action, move.cause, move.guardrail) == ("stay", "unsure", "ctr")
    assert move.threshold == pytest.approx(math.log(20))
    assert apply_move(ReleaseState(), move) == ReleaseState()
    assert next_move(PLAN, ReleaseState(), [reading("ctr"), reading("load_p75")], 99).cause == "few"


def test_a_breach_rolls_back_at_once_even_when_held():
    harmful = [reading("ctr"), reading("load_p75", harm=math.log(41))]
    for state in (ReleaseState(step=3, version=3), ReleaseState(status="held", step=3, version=4)):
        move = next_move(PLAN, state, harmful, 5)
        assert (move.action, move.guardrail, move.from_share, move.to_share) == ("rollback", "load_p75", 0.25, 0.0)
        after = apply_move(state, move)
        assert after.status == "rolled_back"
        assert share_of(PLAN, after) == 0.0
    # two guardrails: 1/α = 20 is not enough for either alone
    assert next_move(PLAN, ReleaseState(), [reading("ctr", harm=math.log(39)), reading("load_p75")], 5).cause == "few"


def test_a_move_counts_once_and_the_log_is_the_state():
    state = ReleaseState()
    first = next_move(PLAN, state, [reading("ctr"), reading("load_p75")], 500)
    second = apply_move(state, first)
    assert apply_move(second, first) == second
    later = manual_move(PLAN, second, "hold", "ana")
    held = apply_move(second, later)
    with pytest.raises(ConflictError):
        apply_move(state, later)
    wire = [msgspec.json.decode(msgspec.json.encode(move), type=Move) for move in (first, later)]
    assert wire == [first, later]
    assert state_after(wire) == state_after([first, first, later, later]) == held
    assert next_move(PLAN, held, [reading("ctr"), reading("load_p75")], 500).cause == "held"


def test_a_rate_has_one_early_look_and_the_log_remembers_it():
    part = math.log(2 / 0.05 / 0.5)
    state = ReleaseState(step=1, version=3)

    def seen(early):
        return [msgspec.structs.replace(reading("ctr", safety=0.0), early=early, stake=0.5), reading("load_p75")]

    passed = next_move(PLAN, state, seen(0.3), 1000)
    assert (passed.action, passed.cause, passed.guardrail, passed.to_share) == ("check", "passed", "ctr", 0.05)
    after = apply_move(state, passed)
    assert (after.status, after.step, after.version, after.checked) == ("running", 1, 4, ("ctr",))
    # The second look is none, whatever it would show.
    assert next_move(PLAN, after, seen(0.0), 1000).action == "stay"
    breach = next_move(PLAN, state, seen(math.exp(-part)), 1000)
    assert (breach.action, breach.guardrail, breach.threshold) == ("rollback", "ctr", pytest.approx(part))
    assert next_move(PLAN, state, seen(1.01 * math.exp(-part)), 1000).action == "check"
    held = apply_move(ReleaseState(status="held", version=3), passed)
    assert held.status == "held"
    # What the early look may spend is not there for looking at all times.
    harmful = [msgspec.structs.replace(reading("ctr", harm=part - 0.01), stake=0.5), reading("load_p75")]
    assert next_move(PLAN, after, harmful, 1000).action != "rollback"
    harmful[0] = msgspec.structs.replace(harmful[0], harm=part)
    assert next_move(PLAN, after, harmful, 1000).action == "rollback"


def test_rates_are_bet_on_by_the_coin():
    share, n, k = np.array([0.01]), np.array([[99_000.0, 1000.0]]), np.array([[4950.0, 28.0]])
    told = Measured(sums=rates(0.01, n[0], k[0]), trials=Trials(share, n, k))
    exact = read_guardrail(CTR, told, 0.5, bounds=False)
    assert exact.harm > read_guardrail(CTR, Measured(sums=told.sums), 0.5, bounds=False).harm
    assert (exact.stake, exact.early) == (0.5, pytest.approx(0.0003, rel=2.0))
    assert read_guardrail(CTR, told, 0.5, bounds=False, early=False).early is None
    parity = Guardrail(name="ctr.parity", kind="parity")
    segments = {"mobile": told.sums}
    one = read_guardrail(parity, Measured(segments=segments, segment_trials={"mobile": told.trials}), 0.5)
    assert (one.harm, one.stake) == (exact.harm, 1.0)


def test_people_may_hold_resume_and_roll_back():
    state = ReleaseState(step=2, version=2)
    held = apply_move(state, manual_move(PLAN, state, "hold", "ana"))
    assert held.status == "held"
    assert share_of(PLAN, held) == 0.10
    resumed = apply_move(held, manual_move(PLAN, held, "resume", "ana"))
    assert resumed.status == "running"
    move = manual_move(PLAN, resumed, "rollback", "ana")
    assert (move.actor, move.cause, move.to_share) == ("ana", "asked", 0.0)
    gone = apply_move(resumed, move)
    for state, action in ((gone, "rollback"), (gone, "hold"), (resumed, "resume")):
        with pytest.raises(ConflictError):
            manual_move(PLAN, state, action, "ana")
    assert manual_move(PLAN, ReleaseState(status="done", step=5, version=5), "rollback", "ana").action == "rollback"


@pytest.mark.parametrize("steps", [(0.1, 0.05, 1.0), (0.0, 1.0), (0.1, 0.5)])
def test_bad_plans_are_refused(steps):
    with pytest.raises(InputError) as refused:
        check_plan(ReleasePlan(guardrails=(CTR,), steps=steps))
    assert refused.value.field == "steps"
    with pytest.raises(InputError):
        check_plan(ReleasePlan(guardrails=(CTR, CTR)))
    assert check_plan(PLAN) is PLAN


def test_tolerance_tightens_with_the_share_at_stake():
    plan = ReleasePlan(guardrails=(CTR,), harm_budget=0.05)
    measured = {"ctr": Measured(sums=rates(0.01, [9900, 100], [990, 10]))}
    seen = [read_guardrails(plan, ReleaseState(step=step), measured, bounds=False)[0].tolerance for step in range(5)]
    assert seen == pytest.approx([1.0, 0.5, 0.2, 0.1, 0.05])
    with pytest.raises(InputError) as refused:
        read_guardrails(plan, ReleaseState(), {})
    assert refused.value.field == "ctr"


def test_mean_guardrails_see_harm_and_safety():
    bad = read_guardrail(CTR, Measured(sums=rates(0.1, [9000, 1000], [900, 60])), 0.1)
    assert bad.harm > math.log(20)
    assert bad.safety < 0.0
    assert bad.change == pytest.approx(-0.4)
    assert bad.high is not None
    assert bad.high < 0.0
    good = read_guardrail(CTR, Measured(sums=rates(0.5, [50_000, 50_000], [5000, 5000])), 0.1)
    assert good.harm < 0.0
    assert good.safety > math.log(20)
    costly = Guardrail(name="cpa", bad="greater")
    rise = read_guardrail(costly, Measured(sums=rates(0.5, [9000, 9000], [900, 1200])), 0.1, bounds=False)
    assert rise.harm > math.log(20)
    assert (rise.low, rise.high) == (None, None)


def test_parity_finds_the_segment_that_pays():
    rail = Guardrail(name="parity", kind="parity")
    segments = {"mobile": rates(0.5, [5000, 5000], [500, 700]), "desktop": rates(0.5, [5000, 5000], [500, 320])}
    found = read_guardrail(rail, Measured(segments=segments), 0.1)
    assert found.segment == "desktop"
    assert found.harm > math.log(20)
    assert found.safety < 0.0
    assert read_guardrail(rail, Measured(segments={}), 0.1).safety == CERTAIN
    # A handful of tablets holds nothing up, and yet counts as evidence of harm.
    few = {"mobile": rates(0.5, [50_000, 50_000], [5000, 5400]), "tablet": rates(0.5, [20, 20], [9, 0])}
    kept = read_guardrail(rail, Measured(segments=few), 0.1)
    assert kept.safety > math.log(20)
    assert kept.segment == "tablet"


def test_a_slow_page_is_harm():
    rng = np.random.default_rng(5)

    def counts(factor, n):
        return np.bincount((np.log(factor * rng.lognormal(7.0, 0.5, n)) / math.log(1.04)).astype(int), minlength=300)

    slow = np.stack([counts(1.0, 9000)[:300], counts(1.2, 1000)[:300]])[None].astype(float)
    found = read_guardrail(SLOW, Measured(share=np.array([0.1]), counts=slow), 0.5)
    assert found.harm > math.log(20)
    assert found.safety > math.log(20)
    assert found.change == pytest.approx(0.2, abs=0.07)
    assert found.low is not None
    assert found.low > 0.0
    quick = read_guardrail(SLOW, Measured(share=np.array([0.1]), counts=slow), 0.5, bounds=False)
    assert (quick.harm, quick.change) == (found.harm, None)
    nothing = read_guardrail(SLOW, Measured(share=np.array([0.1]), counts=np.zeros((1, 2, 5))), 0.5)
    assert (nothing.harm, nothing.safety) == (0.0, 0.0)


def test_a_ceiling_needs_no_control():
    never = Guardrail(name="policy", kind="ceiling")
    assert read_guardrail(never, Measured(events=1, exposures=400), 0.1).harm == CERTAIN
    assert read_guardrail(never, Measured(events=0, exposures=400), 0.1).harm == 0.0
    assert read_guardrail(never, Measured(), 0.1).change is None
    errors = Guardrail(name="errors", kind="ceiling", ceiling=0.01)
    assert read_guardrail(errors, Measured(events=60, exposures=1000), 0.1).harm > math.log(20)
    assert read_guardrail(errors, Measured(events=12, exposures=1000), 0.1).harm < math.log(20)


def test_missing_counts_are_named():
    with pytest.raises(InputError) as refused:
        read_guardrail(CTR, Measured(), 0.1)
    assert refused.value.field == "ctr.sums"


def climb(effect, rng, visitors=120_000, batch=1500, base=0.1):
    """One simulated release of a change that moves the click rate by ``effect``; the clicks it cost, and its end."""
    plan = ReleasePlan(guardrails=(CTR,))
    state, sums, exposures, seen = ReleaseState(), np.zeros((2, 12)), 0, 0
    for _ in range(visitors // batch):
        share = share_of(plan, state)
        treated = int(rng.binomial(batch, share))
        seen += treated
        if state.status != "running":
            continue
        exposures += treated
        n = [batch - treated, treated]
        k = [rng.binomial(n[0], base), rng.binomial(n[1], base * (1 + effect))]
        sums = sums + rates(share, n, k)
        readings = read_guardrails(plan, state, {"ctr": Measured(sums=sums)}, bounds=False)
        state = apply_move(state, next_move(plan, state, readings, exposures))
    return state.status, seen / visitors


def test_bad_releases_are_rolled_back_and_harmless_ones_are_not():
    rng = np.random.default_rng(6)
    bad = [climb(effect, rng) for effect in np.linspace(-0.5, -0.15, 20)]
    assert [status for status, _ in bad].count("rolled_back") >= 19
    assert np.mean([seen for _, seen in bad]) < 0.3
    harmless = [climb(0.0, rng)[0] for _ in range(20)]
    assert harmless.count("rolled_back") <= 3
    assert harmless.count("done") >= 5
