"""The terminal: ``arauto …``. Each command is a few lines over the loop; errors come as one line and a code."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

import arauto
from arauto.core.errors import ArautoError, InputError

COMMANDS = {
    "archive": "keep",
    "audience": "audience",
    "backup": "keep",
    "campaign": "campaign",
    "datasets": "data",
    "demo": "demo",
    "doctor": "keep",
    "down": "serve",
    "edge": "edge",
    "experiment": "experiment",
    "federated": "federated",
    "gpo": "gpo",
    "kit": "kit",
    "login": "visitor",
    "models": "models",
    "release": "release",
    "replay": "data",
    "report": "campaign",
    "restore": "keep",
    "simulate": "data",
    "site": "campaign",
    "status": "status",
    "up": "serve",
    "visitor": "visitor",
    "worker": "serve",
    "write": "models",
}
"""Each command's module beside this one, imported when the command is given: a terminal answers at once."""
EXTRAS = {"federated": "federated", "kit": "kit"}
"""Commands that cannot even be told about without an extra."""


class _Main(click.Group):
    """Turns our errors into one line on stderr and their exit code; anything else is a fault and shows its trace."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ArautoError as error:
            Console(stderr=True).print(f"[bold red]arauto:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
            sys.exit(error.exit_code)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        try:
            module = import_module(f"arauto.cli.{COMMANDS[cmd_name]}")
        except ModuleNotFoundError as missing:
            if cmd_name not in EXTRAS or (missing.name or "arauto").startswith("arauto"):
                raise
            return _lacking(cmd_name, EXTRAS[cmd_name], str(missing.name))
        command: click.Command = getattr(module, cmd_name)
        return command


@click.group(cls=_Main, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(arauto.__version__, prog_name="arauto")
def main() -> None:
    """Arauto: marketing that improves itself. `arauto demo` shows the whole loop."""


def _lacking(name: str, extra: str, package: str) -> click.Command:
    """In place of a command whose packages are not there: one that says how to get them."""

    def say() -> None:
        raise InputError(f"{package} is not installed", field=name, mend=f"pip install 'arauto[{extra}]'")

    return click.Command(
        name,
        callback=say,
        help=f"Needs `pip install 'arauto[{extra}]'`.",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
