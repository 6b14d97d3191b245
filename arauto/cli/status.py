"""``arauto status``: every campaign at a glance, renewed while one looks."""

from __future__ import annotations

import time

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

import arauto
from arauto.cli.common import as_json, console, print_json, settings_of
from arauto.core.brief import Language
from arauto.core.errors import NotFoundError
from arauto.core.i18n import number, percent, say
from arauto.loop import Release, Report

EVERY_S = 2.0
_ENDED = 3
"""So many campaigns that are over are shown still, the last ones."""


@click.command()
@click.option("--once", is_flag=True, help="Print it once, and end.")
@as_json
def status(*, once: bool, json_: bool) -> None:
    """Show every campaign at a glance, live. Ctrl-C ends it."""
    settings = settings_of()
    with arauto.open(settings) as app:
        if json_:
            print_json([report for report, _ in _look(app)])
            return
        if once:
            console.print(status_view(_look(app), settings.language))
            return
        with Live(console=console, refresh_per_second=4) as live:
            try:
                while True:
                    live.update(status_view(_look(app), settings.language))
                    time.sleep(EVERY_S)
            except KeyboardInterrupt:
                return


def _look(app: arauto.Arauto) -> list[tuple[Report, Release | None]]:
    """What is not over, and what was over last; each with its last release."""
    campaigns = app.campaigns()
    over = sorted((one for one in campaigns if one.state == "ended"), key=lambda one: one.ended_ms or 0)[-_ENDED:]
    found: list[tuple[Report, Release | None]] = []
    for campaign in [*(one for one in campaigns if one.state != "ended"), *over]:
        try:
            release = app.release(campaign)
        except NotFoundError:
            release = None
        found.append((app.report(campaign), release))
    return found


def status_view(rows: list[tuple[Report, Release | None]], language: Language) -> RenderableType:
    """A line for each campaign; under the table, one sentence for each that is live."""
    if not rows:
        return Text(say("terminal.nothing", language))
    heads = ("campaign", "state", "impressions", "clicks", "ctr", "purchases", "release")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in heads:
        left = name in ("campaign", "state", "release")
        table.add_column(say(f"terminal.{name}", language), justify="left" if left else "right")
    for report, release in rows:
        totals = report.totals
        table.add_row(
            report.slug,
            say(f"terminal.state_{report.state}", language),
            number(totals.impressions, language),
            number(totals.clicks, language),
            "–" if totals.ctr is None else _between(totals.ctr.value, totals.ctr.low, totals.ctr.high, language),
            number(totals.purchases, language),
            "–" if release is None else f"{say(f'terminal.state_{release.status}', language)} {release.share:.0%}",
            style="" if report.state == "live" else "dim",
        )
    sentences = [
        Text.assemble((f"{report.slug}: ", "bold"), report.standing.text[language])
        for report, _ in rows
        if report.state == "live"
    ]
    return Group(table, *sentences)


def _between(value: float, low: float, high: float, language: Language) -> str:
    return f"{percent(value, language)} [{percent(low, language, 1)}; {percent(high, language, 1)}]"
