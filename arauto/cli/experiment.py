"""``arauto experiment …``: a campaign's test, or a user's own log."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
import numpy as np
from rich.table import Table

import arauto
from arauto.cli.common import as_json, console, print_json, settings_of
from arauto.cli.table import Columns, numeric, read_columns
from arauto.core.brief import Language
from arauto.core.campaign import Goal
from arauto.core.errors import InputError
from arauto.core.i18n import number, percent, say
from arauto.experiments import OffPolicyEstimate, Overlap, abstention, analyse, evaluate_policy, log_of, sentence
from arauto.loop import Experiment

_DATA = click.option(
    "--data", required=True, type=click.Path(path_type=Path), help="A CSV, JSONL or Parquet file (docs/experiments.md)."
)


@click.group()
def experiment() -> None:
    """Tests: a campaign's, or one of your own log."""


@experiment.command()
@click.argument("slug")
@click.option("--control", default="", help="The variant to compare with; the first one when left out.")
@as_json
def show(slug: str, control: str, *, json_: bool) -> None:
    """Show which variant of a campaign is better, with the checks that must hold first."""
    settings = settings_of()
    with arauto.open(settings) as app:
        found = app.experiment(slug, control=control)
    if json_:
        print_json(found)
        return
    language = settings.language
    console.print(found.text[language])
    console.print(_arms(found, language))
    console.print(
        say(
            "terminal.checks",
            language,
            p=_number(found.sample_ratio_p, language, 4),
            end=_number(found.sample_ratio_p_at_end, language, 4),
            bots=percent(found.bots, language, 1),
            novelty=say(f"terminal.novelty_{'yes' if any(arm.changed for arm in found.arms) else 'no'}", language),
        ),
        style="dim",
    )
    if found.assignment == "visitor":
        console.print(say("terminal.unit_visitor", language), style="dim")
    if (group := found.holdout) is not None:
        console.print(
            say(
                "terminal.holdout",
                language,
                others=number(group.others, language),
                held=number(group.held, language),
                value=_value(group.value, found.goal, language),
                held_value=_value(group.held_value, found.goal, language),
                lift=_percent(group.lift, language),
                low=_percent(group.lift_low, language),
                high=_percent(group.lift_high, language),
                p=number(group.p, language, 4),
            ),
            style="dim",
        )


@experiment.command("analyse")
@_DATA
@click.option("--metric", "metrics", multiple=True, help="A column, or x/y for a ratio; the first one decides.")
@click.option("--control", help="The arm to compare with.")
@click.option("--share", "shares", multiple=True, metavar="ARM=SHARE", help="An arm's intended share; else equal.")
@click.option("--covariate", "covariates", multiple=True, help="A column fixed before the visitor was assigned.")
@click.option("--expected", type=click.FloatRange(0, 10, min_open=True), help="The relative effect planned for.")
@click.option("--lower-is-better", is_flag=True, help="The first metric is a cost or a time.")
@as_json
def analyse_(
    data: Path,
    metrics: tuple[str, ...],
    control: str | None,
    shares: tuple[str, ...],
    covariates: tuple[str, ...],
    expected: float | None,
    lower_is_better: bool,
    *,
    json_: bool,
) -> None:
    """Analyse a test from your own log: one row a visitor (or an exposure), with the arm and the outcomes."""
    columns = read_columns(data)
    if "arm" not in columns:
        raise InputError("is missing", field="arm", mend="add the column arm: what each visitor was shown")
    names = sorted(set(columns["arm"].astype(str).tolist()))
    base = control or ("control" if "control" in names else names[0])
    found = analyse(
        columns,
        metrics or _metrics(columns, covariates),
        control=base,
        shares=_shares(shares),
        covariates=covariates,
        expected=expected,
        lower_is_better=lower_is_better,
    )
    language = settings_of().language
    if json_:
        text = {"pt-BR": sentence(found, "pt-BR"), "en": sentence(found, "en")}
        print_json({**msgspec.to_builtins(found), "text": text})
        return
    console.print(sentence(found, language))
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("metric", "arm", "control_mean", "mean", "lift", "p"):
        table.add_column(name, justify="left" if name in ("metric", "arm") else "right")
    for row in found.results:
        table.add_row(
            row.metric,
            row.arm,
            _number(row.control_mean, language, 4),
            _number(row.mean, language, 4),
            _lift(row.lift, row.lift_low, row.lift_high, language),
            _number(row.p, language, 4),
        )
    console.print(table)


@experiment.command()
@_DATA
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of folds and resampling.")
@as_json
def ope(data: Path, seed: int, *, json_: bool) -> None:
    """Estimate from a log with propensities what another policy would have earned, or say that it cannot be known."""
    log, _ = log_of(read_columns(data))
    found = evaluate_policy(log, np.random.default_rng(seed))
    language = settings_of().language
    if json_:
        print_json(_plain(found))
        return
    console.print(_told(found, language))
    table = Table(say("terminal.estimator", language), say("terminal.value", language), box=None, pad_edge=False)
    for name, (value, interval) in found.estimates.items():
        low, high = (number(end, language, 5) for end in interval)
        table.add_row(name, f"{number(value, language, 5)} [{low}; {high}]")
    console.print(table)


def _told(found: OffPolicyEstimate, language: Language) -> str:
    baseline = number(found.baseline, language, 5)
    if found.value is None or found.interval is None:
        return say("ope.abstains", language, why=abstention(found.overlap, language), baseline=baseline)
    value, low, high = (number(one, language, 5) for one in (found.value, *found.interval))
    return say("ope.answer", language, value=value, low=low, high=high, baseline=baseline, chosen=found.chosen)


def _plain(found: OffPolicyEstimate) -> dict[str, object]:
    return {
        "value": found.value,
        "low": found.interval.low if found.interval else None,
        "high": found.interval.high if found.interval else None,
        "abstains": found.abstains,
        "chosen": found.chosen,
        "baseline": found.baseline,
        "overlap": {name: getattr(found.overlap, name) for name in Overlap.__dataclass_fields__},
        "estimates": {
            name: {"value": value, "low": interval.low, "high": interval.high}
            for name, (value, interval) in found.estimates.items()
        },
        "text": {"pt-BR": _told(found, "pt-BR"), "en": _told(found, "en")},
    }


def _metrics(columns: Columns, covariates: tuple[str, ...]) -> list[str]:
    """Every column of numbers that is no visitor and no covariate, in the file's order."""
    found = [
        name for name, values in columns.items() if name not in ("arm", "visitor", *covariates) and numeric(values)
    ]
    if not found:
        raise InputError("has no column of numbers", field="data", mend="add one: what each visitor did")
    return found


def _shares(given: tuple[str, ...]) -> dict[str, float] | None:
    shares = {}
    for one in given:
        name, _, share = one.rpartition("=")
        try:
            shares[name] = float(share)
        except ValueError:
            raise InputError(f"is {one!r}", field="share", mend="write it as ARM=0.5") from None
    return shares or None


def _arms(found: Experiment, language: Language) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("variant", "impressions", "value", "lift", "p_value", "chance", "loss"):
        table.add_column(say(f"terminal.{name}", language), justify="left" if name == "variant" else "right")
    for arm in found.arms:
        table.add_row(
            arm.name,
            number(arm.impressions, language),
            _value(arm.value or 0.0, found.goal, language),
            "–" if arm.name == found.control else _lift(arm.lift, arm.lift_low, arm.lift_high, language),
            _number(arm.p, language, 4),
            "–" if arm.chance_to_win is None else percent(arm.chance_to_win, language, 1),
            "–" if arm.expected_loss is None else percent(arm.expected_loss, language),
        )
    return table


def _lift(value: float | None, low: float | None, high: float | None, language: Language) -> str:
    middle, lower, upper = (_percent(one, language) for one in (value, low, high))
    return f"{middle} [{lower}; {upper}]"


def _value(value: float | None, goal: Goal, language: Language) -> str:
    if value is None:
        return "–"
    return number(value, language, 2) if goal == "rating" else percent(value, language)


def _percent(value: float | None, language: Language) -> str:
    return "–" if value is None else percent(value, language, 1)


def _number(value: float | None, language: Language, decimals: int) -> str:
    return "–" if value is None else number(value, language, decimals)
