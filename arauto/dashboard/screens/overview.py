"""A campaign's plain numbers first: each with its interval; then its variants, texts and devices."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from arauto.core.campaign import CampaignState
from arauto.core.errors import EngineError, InputError
from arauto.dashboard import pages
from arauto.dashboard.money import HOUR_MS, Changes, Costs, changes_of, costs_of, period_of
from arauto.dashboard.paper import write_pdf
from arauto.dashboard.report import shares_csv, variants_csv
from arauto.dashboard.screen import CAMPAIGN, Action, Deed, Done, File, Screen, View
from arauto.dashboard.screens import launch
from arauto.dashboard.words import RefusedError
from arauto.loop import Report, build_report
from arauto.store import Step

_printer = asyncio.Semaphore(1)


async def values(view: View) -> dict[str, Any]:
    """The report, ready to be shown."""
    report, costs = await _report(view), await _costs(view)
    changes = await _changes(view, report)
    shown = await asyncio.to_thread(
        pages.render_report, report, view.language, links=True, costs=costs, changes=changes
    )
    return {"heading": report.name, "campaign_state": report.state, **shown}


async def _costs(view: View) -> Costs | None:
    campaign = await view.runtime.store.catalogue.campaign(view.id)
    return costs_of(campaign.plan, await view.runtime.store.rollups.totals(view.id))


async def _changes(view: View, report: Report) -> Changes | None:
    period = period_of(report.from_ms, report.until_ms)
    if period is None or report.state == "draft":
        return None
    step: Step = "minute" if period <= HOUR_MS else "hour"
    since = report.until_ms - 2 * period
    points = await view.runtime.store.rollups.series(view.id, step=step, since_ms=since)
    return changes_of(points, report.until_ms, period)


async def _report(view: View) -> Report:
    return await build_report(view.runtime.store, view.id, clock=view.runtime.clock)


async def variants(view: View) -> File:
    """The comparison."""
    report = await _report(view)
    return File(variants_csv(report), f"{report.slug}-variants.csv")


async def shares(view: View) -> File:
    """The shares over time."""
    report = await _report(view)
    return File(shares_csv(report), f"{report.slug}-shares.csv")


async def whole(view: View) -> File:
    """The report as one file for a client."""
    report = await _report(view)
    page = await asyncio.to_thread(pages.render_report_html, report, view.language, await _costs(view))
    return File(page.encode(), f"{report.slug}.html", "text/html; charset=utf-8")


async def printed(deed: Deed) -> Done:
    """The report on paper, in the reader's language."""
    store = deed.runtime.store
    report = await build_report(store, deed.id, clock=deed.runtime.clock)
    costs = costs_of((await store.catalogue.campaign(deed.id)).plan, await store.rollups.totals(deed.id))
    page = await asyncio.to_thread(pages.render_report_html, report, deed.language, costs)
    return Done(file=File(await _print(page), f"{report.slug}.pdf", "application/pdf"))


async def _print(page: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="arauto-report-") as folder:
        path = Path(folder) / "report.pdf"
        try:
            # One at a time: each costs a browser.
            async with _printer:
                await asyncio.to_thread(write_pdf, page, path)
        except InputError:
            raise RefusedError("no_browser", "pdf") from None
        except EngineError:
            raise RefusedError("not_printed", "pdf") from None
        return await asyncio.to_thread(path.read_bytes)


async def move(deed: Deed) -> Done:
    """Launch (as the draft's plan says: at once or step by step), pause, resume or end."""
    states: dict[str, CampaignState] = {"live": "live", "paused": "paused", "ended": "ended"}
    state = states.get(deed.form.get("state", ""))
    if state is None or (state == "ended" and deed.form.get("sure") != "yes"):
        raise RefusedError("not_sure", "state")
    if state == "live" and (await deed.runtime.store.catalogue.campaign(deed.id)).state == "draft":
        return await launch.go(deed)
    await deed.runtime.store.catalogue.set_campaign_state(deed.id, state, deed.person.actor)
    await deed.runtime.reload(deed.id)
    return Done(told=f"campaign_{state}")


SCREEN = Screen(
    name="overview",
    path=CAMPAIGN,
    values=values,
    place="campaign",
    actions={"state": Action("editor", move), "pdf": Action("viewer", printed)},
    files={"variants.csv": variants, "shares.csv": shares, "report.html": whole},
)
