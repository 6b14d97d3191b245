"""A campaign's plain numbers first: each with its interval; then its variants, texts and devices."""

from __future__ import annotations

import asyncio
from typing import Any

from arauto.dashboard import pages
from arauto.dashboard.report import shares_csv, variants_csv
from arauto.dashboard.screen import CAMPAIGN, File, Screen, View
from arauto.loop import Report, build_report


async def values(view: View) -> dict[str, Any]:
    """The report, ready to be shown."""
    report = await _report(view)
    shown = await asyncio.to_thread(pages.render_report, report, view.language, links=True)
    return {"heading": report.name, **shown}


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
    page = await asyncio.to_thread(pages.render_report_html, report, view.language)
    return File(page.encode(), f"{report.slug}.html", "text/html; charset=utf-8")


SCREEN = Screen(
    name="overview",
    path=CAMPAIGN,
    values=values,
    place="campaign",
    files={"variants.csv": variants, "shares.csv": shares, "report.html": whole},
)
