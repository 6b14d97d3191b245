"""``arauto release …``: a change to everyone, step by step, watched by guardrails."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.table import Table

import arauto
from arauto.cli.common import as_json, console, print_json, read_yaml, settings_of
from arauto.core.brief import Language
from arauto.core.door import from_data
from arauto.core.errors import InputError
from arauto.core.i18n import number, percent, say
from arauto.loop import NewRelease, Release, ReleaseAction, standard_guardrail


@click.group()
def release() -> None:
    """Releases: a change to everyone, step by step."""


@release.command()
@click.argument("slug")
@click.option("--variant", "variants", multiple=True, help="A variant that is not live, by name.")
@click.option("--texts", type=click.Path(path_type=Path, dir_okay=False), help="New texts: a JSON or YAML list.")
@click.option("--allocation", help="Deal the traffic out another way: top_two, uniform, …")
@click.option("--guardrail", "guardrails", multiple=True, metavar="METRIC[=MARGIN]", help="ctr, cpa=0.1, lcp, …")
@click.option("--steps", help="Per cents of the traffic: 1,5,10,25,50,100.")
@click.option("--plan", type=click.Path(path_type=Path, dir_okay=False), help="All of it from a JSON or YAML file.")
@as_json
def start(
    slug: str,
    variants: tuple[str, ...],
    texts: Path | None,
    allocation: str | None,
    guardrails: tuple[str, ...],
    steps: str | None,
    plan: Path | None,
    *,
    json_: bool,
) -> None:
    """Release a change into campaign SLUG: texts, or another way to deal out the traffic."""
    given: dict[str, Any] = read_yaml(plan) if plan else {}
    if variants:
        given["variants"] = variants
    if texts:
        given["copies"] = read_yaml(texts)
    if allocation:
        given["allocation"] = allocation
    if guardrails:
        given["guardrails"] = [_guardrail(one) for one in guardrails]
    if steps:
        given["steps"] = [_share(one) for one in steps.split(",")]
    settings = settings_of()
    with arauto.open(settings) as app:
        _print(app.start_release(slug, from_data(given, NewRelease)), settings.language, json_)


@release.command()
@click.argument("slug")
@as_json
def show(slug: str, *, json_: bool) -> None:
    """Show the last release of campaign SLUG: where it stands, why, and every move."""
    settings = settings_of()
    with arauto.open(settings) as app:
        _print(app.release(slug), settings.language, json_)


@release.command()
@click.argument("slug")
@as_json
def hold(slug: str, *, json_: bool) -> None:
    """Stay at this step until resumed. Guardrails still roll back."""
    _steer(slug, "hold", json_)


@release.command()
@click.argument("slug")
@as_json
def resume(slug: str, *, json_: bool) -> None:
    """Go on after a hold."""
    _steer(slug, "resume", json_)


@release.command()
@click.argument("slug")
@as_json
def rollback(slug: str, *, json_: bool) -> None:
    """Take the change back at once, also after the release is done."""
    _steer(slug, "rollback", json_)


def _steer(slug: str, action: ReleaseAction, json_: bool) -> None:
    settings = settings_of()
    with arauto.open(settings) as app:
        _print(app.steer_release(slug, action), settings.language, json_)


def _guardrail(given: str) -> Any:
    name, _, margin = given.partition("=")
    rail = msgspec.to_builtins(standard_guardrail(name))
    if margin:
        try:
            rail["margin"] = float(margin)
        except ValueError:
            raise InputError(f"is {given!r}", field="guardrail", mend="write it as ctr=0.05") from None
    return rail


def _share(given: str) -> float:
    try:
        return float(given) / 100.0
    except ValueError:
        raise InputError(f"holds {given!r}", field="steps", mend="write per cents: 1,5,10,25,50,100") from None


def _print(shown: Release, language: Language, json_: bool) -> None:
    if json_:
        print_json(shown)
        return
    state = say(f"terminal.state_{shown.status}", language)
    what = ", ".join([*shown.variants, *(f"{name} = {value}" for name, value in shown.change.items())])
    console.print(f"[bold]{what}[/]  {state} · {percent(shown.share, language, 0)}", highlight=False)
    console.print(shown.text[language], highlight=False)
    console.print(
        say(
            "terminal.exposures",
            language,
            change=number(shown.exposures, language),
            control=number(shown.control_exposures, language),
            p=number(shown.sample_ratio_p, language, 4),
        ),
        style="dim",
        highlight=False,
    )
    console.print(_guardrails(shown, language))
    harm, safety = math.log(len(shown.plan.guardrails) / shown.plan.alpha), -math.log(shown.plan.alpha)
    note = say("terminal.harm_help", language, harm=number(harm, language, 2), safety=number(safety, language, 2))
    console.print(note, style="dim", highlight=False)
    for line in shown.moves:
        when = datetime.fromtimestamp(line.at_ms / 1000).astimezone().isoformat(" ", "seconds")
        console.print(f"{when}  {line.text[language]}", highlight=False)


def _guardrails(shown: Release, language: Language) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("guardrail", "now", "harm", "safety"):
        table.add_column(say(f"terminal.{name}", language), justify="left" if name == "guardrail" else "right")
    for reading in shown.readings:
        change, low, high = (
            "–" if value is None else percent(value, language, 1)
            for value in (reading.change, reading.low, reading.high)
        )
        name = f"{reading.name} ({reading.segment})" if reading.segment else reading.name
        safety = "–" if reading.safety >= 1000.0 else number(reading.safety, language, 2)
        table.add_row(name, f"{change} [{low}; {high}]", number(reading.harm, language, 2), safety)
    return table
