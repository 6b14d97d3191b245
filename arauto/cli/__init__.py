"""The terminal: ``arauto …``. Each command is a few lines over the loop; errors come as one line and a code."""

from __future__ import annotations

import sys
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

import arauto
from arauto.cli.audience import audience
from arauto.cli.campaign import campaign, report, site
from arauto.cli.data import datasets, replay, simulate
from arauto.cli.demo import demo
from arauto.cli.edge import edge
from arauto.cli.experiment import experiment
from arauto.cli.gpo import gpo
from arauto.cli.keep import backup, doctor, restore
from arauto.cli.models import models, write
from arauto.cli.release import release
from arauto.cli.serve import down, up, worker
from arauto.cli.visitor import login, visitor
from arauto.core.errors import ArautoError, InputError


class _Group(click.Group):
    """Turns our errors into one line on stderr and their exit code; anything else is a fault and shows its trace."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ArautoError as error:
            Console(stderr=True).print(f"[bold red]arauto:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
            sys.exit(error.exit_code)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(arauto.__version__, prog_name="arauto")
def main() -> None:
    """Arauto: marketing that improves itself. `arauto demo` shows the whole loop."""


def _kit() -> click.Command:
    """The commands of kits; without the extra that draws and films, one that says how to get it."""
    try:
        from arauto.cli.kit import kit
    except ModuleNotFoundError as missing:
        lacking = missing.name or ""
        if lacking.startswith("arauto"):
            raise

        @click.command("kit", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
        def kit_is_lacking() -> None:
            """Kits: needs `pip install 'arauto[kit]'`."""
            raise InputError(f"{lacking} is not installed", field="kit", mend="pip install 'arauto[kit]'")

        return kit_is_lacking
    return kit


for _command in (
    audience,
    backup,
    campaign,
    datasets,
    demo,
    doctor,
    down,
    _kit(),
    edge,
    experiment,
    gpo,
    edge,
    login,
    models,
    release,
    replay,
    report,
    restore,
    simulate,
    site,
    up,
    visitor,
    worker,
    write,
):
    main.add_command(_command)
