"""``arauto datasets …``, ``arauto replay`` and ``arauto simulate``: logs and made-up visitors through the live path."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, TypeVar

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from arauto.cli.common import as_json, console, print_json, settings_of
from arauto.cli.show import show_replay
from arauto.core.errors import AuthError, NotFoundError
from arauto.core.settings import Settings
from arauto.loop import (
    Remote,
    Sent,
    Simulation,
    load_open_bandit,
    open_bandit_here,
    open_bandit_path,
    pull_open_bandit,
    replay_log,
)

T = TypeVar("T")


@click.group()
def datasets() -> None:
    """Public data that replays use. Nothing of it is shipped with Arauto."""


@datasets.command("list")
def list_() -> None:
    """Show the data sets that Arauto can fetch, and whether they are here."""
    settings = settings_of()
    table = Table("data set", "what", "size", "licence", "here", box=None, pad_edge=False)
    here = "yes" if open_bandit_here(settings) else "no"
    table.add_row(
        "open-bandit", "6 × 10,000 real impressions with clicks and propensities", "1.4 MB", "CC BY 4.0", here
    )
    console.print(table)


@datasets.command()
@click.argument("name", type=click.Choice(["open-bandit"]))
def pull(name: str) -> None:
    """Fetch a data set and verify it."""
    settings = settings_of()
    if open_bandit_here(settings):
        console.print(f"{name} is here already: {open_bandit_path(settings)}")
        return
    console.print(f"Fetching {name}: 1.4 MB")
    console.print(f"Verified: {pull_open_bandit(settings)}")


@click.command()
@click.argument("log", type=click.Choice(["all", "men", "women"]))
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Same seed, same result.")
@click.option("--rows", type=click.IntRange(1), help="Only so many rows of the log.")
@click.option("--url", help="A running server; the one of this folder's settings when left out.")
@as_json
def replay(log: str, seed: int, rows: int | None, url: str | None, *, json_: bool) -> None:
    """Replay a LOG of Open Bandit through decide and events (Li et al. 2011) and compare with the random policy."""
    settings = settings_of()
    data = load_open_bandit(log, settings=settings)  # type: ignore[arg-type]
    slug = f"open-bandit-{log}-{seed}-{int(time.time())}"
    with bar(f"Open Bandit {log}", quiet=json_) as tell:
        result = asyncio.run(
            on_server(
                settings, url, lambda remote: replay_log(data, remote, seed=seed, slug=slug, rows=rows, progress=tell)
            )
        )
    if json_:
        print_json(result)
    else:
        show_replay(result, settings.language)


@click.command()
@click.argument("slug")
@click.option("--visitors", default=1000, show_default=True, type=click.IntRange(1), help="How many.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of their taste and dice.")
@click.option("--url", help="A running server; the one of this folder's settings when left out.")
@as_json
def simulate(slug: str, visitors: int, seed: int, url: str | None, *, json_: bool) -> None:
    """Send made-up visitors to a campaign that is marked as simulated."""
    settings = settings_of()

    async def run(remote: Remote, tell: Callable[[int, int], None]) -> Sent:
        return await Simulation(remote, slug, seed=seed).run(visitors, progress=tell)

    with bar("Simulated visitors", quiet=json_) as tell:
        sent = asyncio.run(on_server(settings, url, lambda remote: run(remote, tell)))
    if json_:
        print_json(sent)
    else:
        console.print(
            f"{sent.visitors} simulated visitors, {sent.stored} events stored, {sent.duplicates} known already"
        )


class bar:  # noqa: N801
    """A progress bar as a context: gives a function that is told (done, total)."""

    def __init__(self, title: str, *, quiet: bool = False) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, disable=quiet)
        self._title = title

    def __enter__(self) -> Callable[[int, int], None]:
        self._progress.start()
        task = self._progress.add_task(self._title, total=None)
        return lambda done, total: self._progress.update(task, completed=done, total=total)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


async def on_server(settings: Settings, url: str | None, work: Callable[[Remote], Any]) -> Any:
    """Run ``work`` with the default site of a running server. The admin token comes from the settings.

    Raises:
        AuthError: no admin token is set.
        NotFoundError: the server has no site yet.
    """
    token = settings.admin_token.reveal()
    if not token:
        raise AuthError(
            "is not set", field="admin_token", mend="set ARAUTO_ADMIN_TOKEN to the token of the first start"
        )
    address = url or f"http://{settings.host}:{settings.port}"
    async with Remote(address, key="", token=token) as admin:
        sites = await admin.sites()
    if not sites:
        raise NotFoundError("has no site yet", field="site", mend="arauto site allow default https://your-shop.example")
    async with Remote(address, key=sites[0].key, token=token) as remote:
        return await work(remote)
