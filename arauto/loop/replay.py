"""Replay of a real log through the live path: decide and events, over HTTP, as a site's page would send them.

The method of Li, Chu, Langford & Wang (2011): where the log's policy chose uniformly at random, go through its rows in
order and ask the learner what it would show. When it names what the log showed, the logged outcome is its outcome, and
it learns from it; otherwise the row is passed over. The rows that match are distributed as if the learner had been
live, so their click rate estimates its own without bias. About one row in K matches, K being the number of arms.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from arauto.core.brief import Brief, Language
from arauto.core.campaign import CampaignPlan, Copy
from arauto.core.clock import Clock, SystemClock
from arauto.core.errors import InputError
from arauto.core.events import Click, Event, Impression
from arauto.core.i18n import number, percent, say
from arauto.core.ids import uuid7
from arauto.experiments import ratio_mismatch, uniform_propensities, wilson_interval
from arauto.loop.remote import Remote
from arauto.loop.report import Estimate

Progress = Callable[[int, int], None]
"""Told (done, total) now and then."""

_LEVEL = 0.95
_FAULTY = 1e-6
"""The p-value of the sample ratio below which a log is refused: no reference for anything."""
_TELL_EVERY = 100


class Log(Protocol):
    """What a replay reads of a log: one entry an impression, in the order of time."""

    @property
    def campaign(self) -> str: ...
    @property
    def policy(self) -> str: ...
    @property
    def arm(self) -> NDArray[np.int64]: ...
    @property
    def clicked(self) -> NDArray[np.bool_]: ...
    @property
    def propensity(self) -> NDArray[np.float64]: ...


class ReplayResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay showed.

    ``learner`` is the click rate of the ``matched`` rows, ``random`` that of all ``rows`` (the logging policy was
    uniform); both with Wilson's score interval. ``difference`` is learner − random with Newcombe's interval (1998,
    method 10), which takes the two as independent: that they share 1/K of the rows errs a little to the safe side.
    ``inverse_propensity`` is the cross-check of Horvitz & Thompson over all rows, Σ clicks of matched rows / logged
    propensity / ``rows``; ``expected_matches`` is how many uniform logging brings about, whatever the learner does.
    """

    log: str
    campaign_id: int
    slug: str
    seed: int
    arms: int
    rows: int
    matched: int
    expected_matches: float
    clicks: int
    random_clicks: int
    learner: Estimate
    random: Estimate
    difference: Estimate
    inverse_propensity: float
    seconds: float


async def replay_log(
    log: Log,
    remote: Remote,
    *,
    seed: int,
    slug: str,
    rows: int | None = None,
    plan: CampaignPlan | None = None,
    progress: Progress | None = None,
    clock: Clock | None = None,
) -> ReplayResult:
    """Make a campaign with one variant an arm of ``log``, and replay the first ``rows`` of it (all by default).

    One row after the other on one connection: each decision rests on all that was learned before it. With one server
    process, the same log, seed and plan give the same matches and clicks. ``plan`` is Thompson sampling with a floor of
    a tenth of uniform by default; its seed and its refresh (before each acknowledgement) are always those of a replay.

    Raises:
        InputError: when the log is empty or was not logged uniformly at random.
        ArautoError: what the server answers; ConflictError when the slug is taken.
    """
    arms = _check_log(log, rows)
    shown = log.arm[:rows].tolist()
    clicked = log.clicked[:rows].tolist()
    chosen = msgspec.structs.replace(plan or _plan(len(arms)), seed=seed, refresh_ms=0)
    names = await _make_campaign(log, remote, arms, slug, chosen)
    driver = _Driver(remote, slug, clock or SystemClock())
    started = time.perf_counter()
    for row, (arm, click) in enumerate(zip(shown, clicked, strict=True)):
        await driver.step(names.arm_of, arm, click)
        if progress is not None and row % _TELL_EVERY == 0:
            progress(row, len(shown))
    seconds = time.perf_counter() - started
    await remote.move(names.campaign_id, "ended")
    if progress is not None:
        progress(len(shown), len(shown))
    return _result(log, names.campaign_id, slug, seed, arms, driver, (len(shown), sum(clicked)), seconds)


class _Names(msgspec.Struct, frozen=True):
    campaign_id: int
    arm_of: dict[str, int]


class _Driver:
    """One page after the other: asks, and reports what the log says happened when the answer is the log's."""

    def __init__(self, remote: Remote, slug: str, clock: Clock) -> None:
        self._remote = remote
        self._slug = slug
        self._clock = clock
        self.matched = 0
        self.clicks = 0

    async def step(self, arm_of: dict[str, int], arm: int, click: bool) -> None:
        answer = await self._remote.decide(self._slug)
        if arm_of[answer.variant] != arm:
            return
        now = self._clock.now_ms()
        events: list[Event] = [Impression(id=uuid7(now), at=now, receipt=answer.receipt)]
        if click:
            events.append(Click(id=uuid7(now), at=now, receipt=answer.receipt))
        sent = await self._remote.send(events)
        if sent.refused:
            first = sent.refused[0]
            raise InputError(f"an event was refused: {first.problem}", field=first.field, mend=first.mend)
        self.matched += 1
        self.clicks += click


def difference_interval(k: int, n: int, other_k: int, other_n: int, level: float = _LEVEL) -> Estimate:
    """k/n − other_k/other_n with Newcombe's hybrid score interval for independent samples (1998, method 10)."""
    if not n or not other_n:
        return Estimate(0.0, -1.0, 1.0)
    one, two = wilson_interval(k, n, level), wilson_interval(other_k, other_n, level)
    rate, other = k / n, other_k / other_n
    below = ((rate - one.low) ** 2 + (two.high - other) ** 2) ** 0.5
    above = ((one.high - rate) ** 2 + (other - two.low) ** 2) ** 0.5
    return Estimate(rate - other, max(-1.0, rate - other - below), min(1.0, rate - other + above))


def describe_replay(result: ReplayResult, language: Language) -> str:
    """What a replay showed, in two sentences that claim no more than its intervals do."""
    verdict = "better" if result.difference.low > 0 else "worse" if result.difference.high < 0 else "early"
    numbers = say(
        "replay.numbers",
        language,
        rows=number(result.rows, language),
        matched=number(result.matched, language),
        learner=_percents(result.learner, language),
        random=_percents(result.random, language),
    )
    return f"{numbers} {say(f'replay.{verdict}', language)}"


def _percents(estimate: Estimate, language: Language) -> str:
    return say(
        "report.interval",
        language,
        value=percent(estimate.value, language),
        low=percent(estimate.low, language),
        high=percent(estimate.high, language),
    )


def _check_log(log: Log, rows: int | None) -> list[int]:
    """The arms, ascending; refuses a log for which the method is not valid."""
    arms: list[int] = np.unique(log.arm).tolist()
    if not arms or (rows is not None and rows < 1):
        raise InputError(
            "there is no row to replay", field="rows", mend="give a log with rows, and at least one of them"
        )
    if not np.allclose(log.propensity, 1.0 / len(arms), rtol=1e-6):
        raise InputError(
            "was not logged uniformly at random over its arms",
            field="policy",
            mend="replay a log of the random policy; others need an off-policy estimator",
        )
    counts: list[int] = np.bincount(np.searchsorted(arms, log.arm), minlength=len(arms)).tolist()
    if ratio_mismatch(counts, uniform_propensities(len(arms)).tolist()) < _FAULTY:
        raise InputError(
            "shows some arms far more often than others: it was not dealt out as its propensities say",
            field="arm",
            mend="use the log as it was published",
        )
    return arms


def _plan(arms: int) -> CampaignPlan:
    return CampaignPlan(allocation="thompson", floor=max(0.0001, 0.1 / arms))


async def _make_campaign(log: Log, remote: Remote, arms: Sequence[int], slug: str, plan: CampaignPlan) -> _Names:
    brief = Brief(
        product=f"Open Bandit {log.campaign}",
        language="en",
        description="Replay of a public log. Each variant stands for one logged item; its text was never shown.",
    )
    copies = [
        Copy(
            title=f"Item {letters(arm)}",
            description=f"The logged item {letters(arm)} of the campaign {log.campaign}.",
            image_suggestion=f"The picture of item {letters(arm)}.",
        )
        for arm in arms
    ]
    campaign = await remote.create(slug, f"Replay: {log.campaign}, logged by {log.policy}", brief, plan, copies)
    by_title = {copy.title: arm for copy, arm in zip(copies, arms, strict=True)}
    await remote.move(campaign.id, "live")
    return _Names(campaign.id, {variant.name: by_title[variant.copy.title] for variant in campaign.variants})


def letters(number: int) -> str:
    """0 → A, 25 → Z, 26 → AA: items by letters, since a digit in an advertisement is a fact to be checked."""
    text = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        text = chr(65 + rest) + text
    return text


def _result(
    log: Log,
    campaign_id: int,
    slug: str,
    seed: int,
    arms: Sequence[int],
    driver: _Driver,
    logged: tuple[int, int],
    seconds: float,
) -> ReplayResult:
    rows, random_clicks = logged
    return ReplayResult(
        log=f"open-bandit/{log.policy}/{log.campaign}",
        campaign_id=campaign_id,
        slug=slug,
        seed=seed,
        arms=len(arms),
        rows=rows,
        matched=driver.matched,
        expected_matches=rows / len(arms),
        clicks=driver.clicks,
        random_clicks=random_clicks,
        learner=_rate(driver.clicks, driver.matched),
        random=_rate(random_clicks, rows),
        difference=difference_interval(driver.clicks, driver.matched, random_clicks, rows),
        inverse_propensity=driver.clicks * len(arms) / rows,
        seconds=seconds,
    )


def _rate(k: int, n: int) -> Estimate:
    low, high = wilson_interval(k, n, _LEVEL)
    return Estimate(k / n if n else 0.0, low, high)
