"""How a campaign is launched, as a form: who sees what, all texts at once or step by step, what must not get worse."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import msgspec

from arauto.core.campaign import DAY_MS, Campaign, CampaignPlan
from arauto.core.door import from_data
from arauto.core.errors import InputError
from arauto.loop import NewRelease, check_deal, default_rails, standard_guardrail

ALLOCATIONS = ("thompson", "top_two", "uniform")
ASSIGNMENTS = ("decision", "visitor")
RAMPS = ("all", "steps")
RAILS = ("ctr", "conversion", "revenue", "rating", "cpa", "lcp", "load", "complaints", "errors", "violations")
STEP = "plan"


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """What a form says: the plan, and (when it is to go step by step) the first text and the release of the others."""

    plan: CampaignPlan
    baseline: str = ""
    release: NewRelease | None = None


def form_of(campaign: Campaign, kept: Mapping[str, str], names: list[str]) -> dict[str, str]:
    """What the form holds."""
    plan = campaign.plan
    rails = " ".join(rail.name for rail in default_rails(plan.goal, lambda _: False))
    return {
        "allocation": plan.allocation,
        "assignment": plan.assignment,
        "holdout": f"{plan.holdout * 100:g}",
        "attribution": f"{plan.attribution_ms / DAY_MS:g}",
        "cpm": f"{plan.cpm:.2f}" if plan.cpm else "",
        "ramp": "all",
        "baseline": names[0] if names else "",
        "steps": "1 5 10 25 50 100",
        "budget": "5",
        "rails": rails,
        **kept,
    }


def read_form(form: Mapping[str, str], campaign: Campaign, names: list[str]) -> Launch:
    """Raises :class:`InputError` with the field of the form."""
    plan = _plan(form, campaign.plan)
    if form["ramp"] != "steps":
        return Launch(plan=plan)
    if len(names) < 2:
        raise InputError("needs two texts", field="ramp", mend="choose a second text, or show all at once")
    baseline = form["baseline"]
    if baseline not in names:
        raise InputError("is not a chosen text", field="baseline", mend="choose one of the list")
    steps = tuple(_number(part, "steps") / 100 for part in form["steps"].replace(",", " ").split())
    if len(steps) < 2 or any(low >= high for low, high in pairwise(steps)) or not (steps[0] > 0 and steps[-1] == 1):
        raise InputError("does not rise to 100", field="steps", mend="give rising percentages that end in 100")
    budget = _number(form["budget"], "budget") / 100
    rails = tuple(standard_guardrail(name) for name in form["rails"].split() if name in RAILS)
    if not 0 < budget <= 1:
        raise InputError("is out of range", field="budget", mend="give more than 0 and at most 100")
    rest = tuple(name for name in names if name != baseline)
    release = NewRelease(variants=rest, guardrails=rails, steps=steps, harm_budget=budget)
    return Launch(plan=plan, baseline=baseline, release=release)


def _plan(form: Mapping[str, str], before: CampaignPlan) -> CampaignPlan:
    holdout, days = _number(form["holdout"] or "0", "holdout"), _number(form["attribution"], "attribution")
    cpm = _number(form["cpm"] or "0", "cpm")
    data: dict[str, Any] = msgspec.to_builtins(before)
    data |= {
        "allocation": form["allocation"],
        "assignment": form["assignment"],
        "holdout": holdout / 100,
        "attribution_ms": round(days * DAY_MS),
        "cpm": cpm,
    }
    try:
        return check_deal(from_data(data, CampaignPlan))
    except InputError as fault:
        field = {"attribution_ms": "attribution"}.get(fault.field, fault.field)
        raise InputError(fault.problem, field=field, mend=fault.mend) from None


def _number(typed: str, field: str) -> float:
    try:
        value = float(typed.strip().removesuffix("%").replace(",", "."))
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 1e6:
        raise InputError(f"{typed[:20]!r} is not a number", field=field, mend="write a number, such as 5")
    return value
