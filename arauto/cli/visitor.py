"""``arauto visitor …`` and ``arauto login``: a data-subject request, and a way into the dashboard."""

from __future__ import annotations

from uuid import UUID

import click

import arauto
from arauto.cli.common import console, print_json, settings_of


@click.group()
def visitor() -> None:
    """Answer a data-subject request (LGPD art. 18): export or erase."""


@visitor.command()
@click.argument("visitor_id", type=click.UUID)
def export(visitor_id: UUID) -> None:
    """Print all that is kept of a visitor, as JSON."""
    with arauto.open(settings_of()) as app:
        print_json(app.export_visitor(visitor_id))


@visitor.command()
@click.argument("visitor_id", type=click.UUID)
@click.confirmation_option(prompt="Erase all that is kept of this visitor, for good?")
def erase(visitor_id: UUID) -> None:
    """Erase all that is kept of a visitor, for good."""
    with arauto.open(settings_of()) as app:
        print_json(app.erase_visitor(visitor_id))


@click.command()
def login() -> None:
    """Print a link that opens the dashboard once, within ten minutes."""
    settings = settings_of()
    with arauto.open(settings) as app:
        console.print(f"http://{settings.host}:{settings.port}/login?code={app.login_code()}", soft_wrap=True)
