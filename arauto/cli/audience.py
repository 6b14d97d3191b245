"""``arauto audience …``: encoders, segments, rules, lookalikes, index files."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from uuid import UUID

import click
import msgspec
from rich.table import Table

from arauto.audience import (
    DIMENSIONS,
    Encoder,
    Evaluation,
    Recipe,
    VisitorIndex,
    evaluate,
    fit,
    interactions_of,
    open_annoy,
    open_faiss,
    parse,
    write_faiss,
    write_vectors,
)
from arauto.cli.common import as_json, console, print_json, settings_of
from arauto.cli.data import bar
from arauto.cli.table import read_columns
from arauto.core.errors import InputError
from arauto.core.i18n import number, say
from arauto.loop import Audience, encode_audience, open_audience, train_encoder

_FILE = click.Path(path_type=Path, dir_okay=False)
_DATA = click.option(
    "--data", type=_FILE, required=True, help="CSV, JSONL or Parquet with user_id, item_id, timestamp."
)


@click.group()
def audience() -> None:
    """Who is like whom: encoders, segments, lookalikes, index files."""


@audience.command("evaluate")
@_DATA
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the bootstrap.")
@click.option("--tune/--no-tune", default=True, show_default=True, help="Try several settings of ours.")
@as_json
def evaluate_(data: Path, seed: int, *, tune: bool, json_: bool) -> None:
    """Measure our encoder and its peers on a log: each user's last item, all items ranked."""
    log = interactions_of(read_columns(data))
    found = evaluate(log, seed=seed, tune=tune)
    if json_:
        print_json(found)
    else:
        _show(found)


def _show(found: Evaluation) -> None:
    language = settings_of().language
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(say("audience.model", language))
    for name in ("NDCG@10", "HR@10", say("audience.seconds", language)):
        table.add_column(name, justify="right")
    for row in found.rows:
        cells = (
            f"{number(one.value, language, 4)} [{number(one.low, language, 4)}; {number(one.high, language, 4)}]"
            for one in (row.quality.ndcg, row.quality.hit_rate)
        )
        table.add_row(row.model, *cells, number(row.fit_seconds, language, 1))
    console.print(table)
    ahead = found.ahead
    console.print(
        say(
            "audience.ahead",
            language,
            peer=found.best_peer,
            value=number(ahead.value, language, 4),
            low=number(ahead.low, language, 4),
            high=number(ahead.high, language, 4),
            users=number(found.users, language),
            retrained=number(found.retrained.ndcg.value, language, 4),
        )
    )
    for missing in found.missing:
        console.print(say("audience.missing", language, what=missing), style="dim")


@audience.command()
@click.option("--data", type=_FILE, help="A log of your own; the events of this installation when left out.")
@click.option("--out", type=_FILE, help="Where the encoder goes; into use, when left out.")
@click.option("--decay", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="γ of the history.")
@click.option("--ridge", type=click.FloatRange(0, min_open=True), help="λ of the regression.")
@click.option("--late", type=click.FloatRange(0, 1), help="How much items count that people met lately: 0 to 1.")
@click.option("--back", type=click.FloatRange(0, 1), help="Weight of pairs in the other order.")
@click.option("--alike", type=click.FloatRange(0, 1), help="Weight of items that share their visitors.")
@click.option("--read", type=click.FloatRange(0, 1, max_open=True), help="γ a visitor's history is read with.")
@click.option("--dimensions", default=DIMENSIONS, show_default=True, type=click.IntRange(2, 1024), help="Of a vector.")
@as_json
def train(
    data: Path | None,
    out: Path | None,
    decay: float | None,
    ridge: float | None,
    late: float | None,
    back: float | None,
    alike: float | None,
    read: float | None,
    dimensions: int,
    *,
    json_: bool,
) -> None:
    """Fit the encoder on what visitors did, and put it into use: a running server takes it over."""
    given = {"decay": decay, "ridge": ridge, "late": late, "back": back, "alike": alike, "read": read}
    recipe = Recipe(**{name: value for name, value in given.items() if value is not None})
    settings = settings_of()
    started = time.perf_counter()
    if data is not None:
        log = interactions_of(read_columns(data))
        encoder = fit(log, recipe, dimensions=dimensions, made_ms=_now(), ray=settings.ray_address)
    else:
        encoder = asyncio.run(train_encoder(settings, recipe, dimensions=dimensions))
    path = out or settings.home / "audience" / "encoder.npz"
    sha256 = encoder.save(path)
    told = {
        "file": str(path),
        "sha256": sha256,
        "items": len(encoder.codes),
        "events": encoder.about.events,
        "seconds": round(time.perf_counter() - started, 2),
    }
    if json_:
        print_json(told)
    else:
        console.print(say("audience.trained", settings.language, **told), soft_wrap=True)


@audience.command()
@as_json
def segments(*, json_: bool) -> None:
    """Show the segments: what sets each apart, how many are in it, where it lies on the map."""
    settings = settings_of()

    async def ask(own: Audience) -> None:
        found = own.segments()
        if json_:
            print_json(found)
            return
        table = Table("id", say("audience.segment", settings.language), box=None, pad_edge=False, header_style="dim")
        table.add_column(say("audience.visitors", settings.language), justify="right")
        table.add_column("x", justify="right")
        table.add_column("y", justify="right")
        for one in found.segments:
            table.add_row(
                str(one.id),
                one.names[settings.language],
                number(one.size, settings.language),
                number(one.x, settings.language, 2),
                number(one.y, settings.language, 2),
            )
        console.print(table)

    asyncio.run(open_audience(settings, ask))


@audience.command()
@click.argument("condition")
@as_json
def select(condition: str, *, json_: bool) -> None:
    """Print the visitors for whom a CONDITION holds, such as "carts > 0 AND purchases = 0"."""
    rule = parse(condition)

    async def ask(own: Audience) -> None:
        _print_visitors([str(one) for one in own.select(rule)], json_=json_)

    asyncio.run(open_audience(settings_of(), ask))


@audience.command()
@click.option("--seeds", type=_FILE, required=True, help="A text file with one visitor id a line.")
@click.option("--count", default=100, show_default=True, type=click.IntRange(1, 1_000_000), help="How many to find.")
@as_json
def lookalikes(seeds: Path, count: int, *, json_: bool) -> None:
    """Print the visitors most like those of a list, the most alike first."""
    given = _seeds(seeds)

    async def ask(own: Audience) -> None:
        _print_visitors([str(one.visitor) for one in own.visitors.alike(given, count)], json_=json_)

    asyncio.run(open_audience(settings_of(), ask))


def _print_visitors(visitors: list[str], *, json_: bool) -> None:
    if json_:
        print_json(visitors)
    else:
        for one in visitors:
            click.echo(one)


def _seeds(path: Path) -> list[UUID]:
    try:
        return [UUID(line.strip()) for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as failure:
        raise InputError(f"cannot be read: {failure}", field="seeds", mend="give one visitor id a line") from None


@audience.command("index")
@click.argument("file", type=_FILE)
@click.option("--out", type=_FILE, help="Write it as a FAISS index.")
@click.option("--dimensions", type=click.IntRange(1, 65_536), help="Of an Annoy file, which does not say.")
@click.option("--euclidean", is_flag=True, help="An Annoy file of Euclidean distances; else angular.")
@as_json
def index_(file: Path, out: Path | None, dimensions: int | None, *, euclidean: bool, json_: bool) -> None:
    """Open an index FILE of FAISS, Annoy (.ann) or ours (.npz); tell what is in it, or write it for FAISS."""
    if file.suffix == ".ann":
        if dimensions is None:
            raise InputError("is missing", field="dimensions", mend="give --dimensions: the file does not say")
        found = open_annoy(file, dimensions, "euclidean" if euclidean else "angular")
    elif file.suffix == ".npz":
        found = VisitorIndex.load(file)
    else:
        found = open_faiss(file)
    if out is not None:
        write_faiss(found, out)
    told = {"vectors": len(found), "dimensions": found.dimensions, "metric": found.metric, "exact": found.exact}
    if json_:
        print_json(told)
    else:
        console.print(say("audience.index", settings_of().language, **told))


@audience.command()
@click.option("--out", type=_FILE, required=True, help="The index file (.npz) to write.")
@click.option("--encoder", type=_FILE, help="An encoder file; the one in use, when left out.")
@as_json
def encode(out: Path, encoder: Path | None, *, json_: bool) -> None:
    """Encode every visitor who agreed, in one go, and write an index file. On Ray, where `ray_address` is set."""
    settings = settings_of()
    chosen = Encoder.load(encoder or settings.home / "audience" / "encoder.npz")
    with bar(say("audience.visitors", settings.language), quiet=json_) as tell:
        found = asyncio.run(encode_audience(settings, chosen, tell))
    written = write_vectors(out, chosen, found.visitors, found.vectors)
    told = {"file": str(out), "visitors": len(found.visitors), "vectors": written, "dimensions": chosen.dimensions}
    if json_:
        print_json(told)
    else:
        console.print(say("audience.encoded", settings.language, **told), soft_wrap=True)


@audience.command("encoder")
@click.argument("file", type=_FILE)
@as_json
def encoder_(file: Path, *, json_: bool) -> None:
    """Check an encoder FILE and tell what it says of itself."""
    found = Encoder.load(file)
    told = {
        **msgspec.to_builtins(found.about),
        "items": len(found.codes),
        "dimensions": found.dimensions,
        "version": found.version,
    }
    if json_:
        print_json(told)
    else:
        for name, value in told.items():
            console.print(f"{name}: {value}", highlight=False)


def _now() -> int:
    return int(time.time() * 1000)
