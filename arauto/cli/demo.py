"""``arauto demo``: the whole loop on the README's brief, with the embedded database and model, on localhost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import click
import msgspec
from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import arauto
from arauto.cli.common import console, megabytes, settings_of
from arauto.cli.data import bar
from arauto.cli.models import fetch_model
from arauto.cli.show import report_view, show_replay
from arauto.core.campaign import Campaign
from arauto.core.errors import ArautoError
from arauto.core.settings import Settings
from arauto.creative import ModelStore
from arauto.dashboard import render_report_html
from arauto.loop import (
    Remote,
    Report,
    Simulation,
    load_open_bandit,
    open_bandit_here,
    pull_open_bandit,
    replay_log,
)
from arauto.server import Running, running

BRIEF = (
    "Crie um anúncio digital para um smartwatch focado em saúde, com público-alvo entre 25 e 40 anos. Forneça título,"
    " descrição curta e uma sugestão de imagem que destaque monitoramento de batimentos."
)
ROUND = 200
"""Simulated visitors between two looks at the campaign."""
PAUSE_S = 2.0
"""Between two rounds while the model writes."""
STRIDE = 20
"""A round tells of its visitors by so many."""
WRITTEN = 4
"""Variants asked of the model."""
LOG: Final = "men"


@click.command()
@click.argument("brief", default=BRIEF, required=False)
@click.option("--once", is_flag=True, help="End by itself after the report, with exit code 0.")
@click.option("--visitors", default=3000, show_default=True, type=click.IntRange(100), help="Simulated visitors.")
@click.option("--model/--no-model", default=True, show_default=True, help="Let the embedded model write, too.")
@click.option("--log/--no-log", "log_", default=True, show_default=True, help=f"Replay Open Bandit `{LOG}`, too.")
@click.option("--port", type=int, help="Port to listen on (setting `port`).")
def demo(brief: str, visitors: int, port: int | None, *, once: bool, model: bool, log_: bool) -> None:
    """Run the whole loop: brief, variants, decisions, rewards, learning, report. Its visitors are simulated."""
    # All the visitors come from one address, this one, so a limit per address would only measure itself.
    settings = settings_of(port=port, rate_limit=0)
    _fetch(settings, model=model, log=log_)
    model = model and _model_here(settings)
    started = time.monotonic()
    console.print("Starting database and server …")
    with running(settings) as server:
        show = _Show(settings, server, started)
        try:
            asyncio.run(show.run(brief, visitors, model=model))
            if log_ and open_bandit_here(settings):
                asyncio.run(show.replay())
            if not once:
                show.invite()
                while True:
                    time.sleep(3600)
        except KeyboardInterrupt:
            console.print("\nEnding …")
    console.print("Arauto is down.")


def _model_here(settings: Settings) -> bool:
    return settings.text_engine == "openai" or ModelStore(settings).path(settings.local_model).exists()


def _fetch(settings: Settings, *, model: bool, log: bool) -> None:
    """Bring what the demo uses and is not here, told beforehand. Without a network it goes on with what is here."""
    wanted: list[tuple[str, Callable[[], object]]] = []
    store = ModelStore(settings)
    name = settings.local_model
    if model and not _model_here(settings):
        size = next((row.size for row in store.list() if row.name == name), 0)
        wanted.append((f"the language model {name}, {megabytes(size)}", lambda: fetch_model(store, name)))
    if log and not open_bandit_here(settings):
        wanted.append(("the Open Bandit logs of real impressions, 1.4 MB", lambda: pull_open_bandit(settings)))
    for what, pull in wanted:
        console.print(f"To fetch, once: {what}")
        try:
            pull()
        except ArautoError as error:
            console.print(f"[yellow]Going on without it.[/] {error}", soft_wrap=True)


class _Show:
    """One run of the demo against a server that is up."""

    def __init__(self, settings: Settings, server: Running, started: float) -> None:
        self.settings = settings
        self.server = server
        self.started = started

    async def run(self, brief: str, visitors: int, *, model: bool) -> None:
        """Brief to report, with simulated visitors."""
        async with Remote(self.server.url, key="", token=self.server.token) as admin:
            draft = await admin.draft(
                {"brief": {"prompt": brief}, "plan": {"simulated": True}, "write": WRITTEN if model else None}
            )
            campaign = await admin.move(draft.id, "live")
            key = next(site.key for site in await admin.sites() if site.id == campaign.site_id)
        async with Remote(self.server.url, key=key, token=self.server.token) as remote:
            first = await remote.decide(campaign.slug)
            self._tell(f"first decision: variant {first.variant}, “{first.copy.title}”")
            await self._visitors(remote, campaign, visitors, job=draft.job)
            report = await remote.report(campaign.id)
        self._write(report)

    async def replay(self) -> None:
        """A real log through the same path."""
        log = load_open_bandit(LOG, settings=self.settings)
        slug = f"open-bandit-{LOG}-{int(time.time())}"
        async with Remote(self.server.url, key="", token=self.server.token) as admin:
            key = (await admin.sites())[0].key
        async with Remote(self.server.url, key=key, token=self.server.token) as remote:
            with bar(f"Real log: Open Bandit {LOG}") as tell:
                result = await replay_log(log, remote, seed=0, slug=slug, progress=tell)
        show_replay(result, self.settings.language)

    def invite(self) -> None:
        """Tell where to look."""
        with arauto.open(self.settings) as app:
            code = app.login_code()
        console.print(f"\nDashboard: {self.server.url}/login?code={code}", soft_wrap=True)
        console.print(f"Demo shop: {self.server.url}/demo\nThe server stays up. Ctrl-C ends it.")

    async def _visitors(self, remote: Remote, campaign: Campaign, visitors: int, *, job: int | None) -> None:
        """Send visitors in rounds, showing the campaign in between, until all came and the model has written."""
        simulation = Simulation(remote, campaign.slug, seed=campaign.id)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        progress = Progress(*columns, console=console)
        task = progress.add_task("Simulated visitors", total=visitors)
        sent, writing = 0, job is not None
        with Live(progress, console=console, refresh_per_second=4) as live:
            while sent < visitors or writing:
                await simulation.run(ROUND, first=sent, progress=lambda _n, _of: progress.advance(task, STRIDE))
                sent += ROUND
                progress.update(task, completed=sent, total=max(visitors, sent))
                report = await remote.report(campaign.id)
                live.update(Group(report_view(report, self.settings.language), progress))
                if job is not None and writing:
                    writing = await self._look(remote, job)
                    # The model needs a core, and more visitors than wished for help nobody.
                    await asyncio.sleep(PAUSE_S)

    async def _look(self, remote: Remote, job: int) -> bool:
        """Whether the model is still writing; says when its first variant joined."""
        status = await remote.job(job)
        if status.done and not self._seen:
            self._seen = True
            self._tell(f"first variant written by the model joined ({status.note})")
        if status.state == "failed":
            console.print(f"[yellow]The model stopped writing:[/] {status.error}", soft_wrap=True)
        return status.state in ("waiting", "running")

    _seen = False

    def _tell(self, what: str) -> None:
        console.print(f"[dim]{time.monotonic() - self.started:5.1f} s[/]  {what}", highlight=False)

    def _write(self, report: Report) -> None:
        folder = self.settings.home / "reports"
        folder.mkdir(parents=True, exist_ok=True)
        page, data = folder / f"{report.slug}.html", folder / f"{report.slug}.json"
        page.write_text(render_report_html(report, self.settings.language), "utf-8")
        data.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
        self._tell(f"report: {page} and {data.name}")
