"""How the terminal shows a report and a replay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from arauto.cli.common import console
from arauto.core.brief import Language
from arauto.core.i18n import number, percent, say
from arauto.loop import Estimate, ReplayResult, Report, Vital, describe_replay


def show_report(report: Report, language: Language) -> None:
    """Print a report."""
    console.print(report_view(report, language))


def report_view(report: Report, language: Language) -> RenderableType:
    """The campaign's name, the table of its variants, its totals and the sentence of where it stands."""
    head = Text.assemble((report.name, "bold"), f"  {report.slug} · {say(f'terminal.state_{report.state}', language)}")
    if report.simulated:
        head.append(f"  {say('report.simulated', language).upper()}", "bold yellow")
    return Group(head, _variants(report, language), Text(report.standing.text[language]))


def _variants(report: Report, language: Language) -> Table:
    """The table of the variants, with fewer columns where the terminal is narrow. Only titles are ever cut short."""
    shown = [column for column in _COLUMNS if console.width >= _WIDE or not column.wide]
    rows = [[column.of(variant, language) for column in shown] for variant in report.variants]
    totals = [column.of(report.totals, language) if column.summed else "" for column in shown]
    rows.append(["Σ", *totals[1:]])
    heads = [say(f"terminal.{column.name}", language) for column in shown]
    widths = [max(map(cell_len, cells)) for cells in zip(heads, *rows, strict=True)]
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1))
    for column, head, width in zip(shown, heads, widths, strict=True):
        rest = console.width - sum(widths) + width - 2 * len(widths)
        table.add_column(
            head,
            justify="left" if column.name in ("variant", "title", "engine") else "right",
            no_wrap=True,
            width=max(_LEAST_TITLE, min(width, rest)) if column.name == "title" else width,
        )
    styles = ["" if variant.share is not None else "dim" for variant in report.variants]
    for row, style in zip(rows, [*styles, "bold"], strict=True):
        table.add_row(*row, style=style)
    return table


def _rate(estimate: Estimate | None, language: Language) -> str:
    if estimate is None:
        return "–"
    low, high = percent(estimate.low, language, 1), percent(estimate.high, language, 1)
    return f"{percent(estimate.value, language, 1)} [{low}; {high}]"


def _percent(share: float | None, language: Language) -> str:
    return "–" if share is None else percent(share, language, 0)


def _load(vitals: dict[str, Vital], language: Language) -> str:
    vital = vitals.get("LCP")
    return "–" if vital is None else f"{number(vital.p75 / 1000, language, 2)} s"


class _Column(NamedTuple):
    """A column: its name in the catalogue, what it shows of a variant (or of the totals), and when."""

    name: str
    of: Callable[[Any, Language], str]
    summed: bool = True
    wide: bool = False


_WIDE = 110
_LEAST_TITLE = 12
_COLUMNS = (
    _Column("variant", lambda row, _: row.name, summed=False),
    _Column("title", lambda row, _: row.title, summed=False),
    _Column("engine", lambda row, _: row.engine, summed=False, wide=True),
    _Column("impressions", lambda row, language: number(row.impressions, language)),
    _Column("clicks", lambda row, language: number(row.clicks, language)),
    _Column("ctr", lambda row, language: _rate(row.ctr, language)),
    _Column("purchases", lambda row, language: number(row.purchases, language), wide=True),
    _Column("share", lambda row, language: _percent(row.share, language), summed=False),
    _Column("chance", lambda row, language: _percent(row.chance_to_win, language), summed=False, wide=True),
    _Column("lcp", lambda row, language: _load(row.vitals, language)),
)


def show_replay(result: ReplayResult, language: Language) -> None:
    """Print what a replay showed, in words."""
    console.print(f"[bold]Open Bandit · {result.log}[/]  ({result.arms} · seed {result.seed})", highlight=False)
    console.print(describe_replay(result, language), highlight=False)
