"""``arauto campaign …``, ``arauto site …`` and ``arauto report``."""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Table

import arauto
from arauto.cli.common import as_json, console, print_json, read_yaml, settings_of
from arauto.cli.show import show_report
from arauto.core.campaign import CampaignPlan, Goal
from arauto.core.door import from_data


@click.group()
def campaign() -> None:
    """Campaigns: create, launch, pause, end, list."""


@campaign.command()
@click.argument("brief")
@click.option("--slug", help="Its name in pages; made from the product when left out.")
@click.option("--name", help="Its name for people.")
@click.option("--site", help="The site it belongs to; `default` when left out.")
@click.option("--goal", type=click.Choice(["click", "purchase", "rating"]), help="What counts as success.")
@click.option(
    "--plan",
    "plan_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Allocation, assignment, layer, holdout …: a JSON or YAML file (docs/experiments.md).",
)
@click.option(
    "--write", type=click.IntRange(1, 50), help="So many more variants by the text engine, in the background."
)
@as_json
def create(
    brief: str,
    slug: str | None,
    name: str | None,
    site: str | None,
    goal: Goal | None,
    plan_file: Path | None,
    write: int | None,
    *,
    json_: bool,
) -> None:
    """Make a campaign of BRIEF: a YAML, JSON or text file, or the words themselves."""
    given = {**(read_yaml(plan_file) if plan_file else {}), **({"goal": goal} if goal else {})}
    plan = from_data(given, CampaignPlan) if given else None
    with arauto.open(settings_of()) as app:
        made = app.create(brief, slug=slug, name=name, site=site, plan=plan, write=write)
        variants = app.variants(made)
    if json_:
        print_json({"campaign": made, "variants": variants})
        return
    table = Table("variant", "title", "description", "image", box=None, pad_edge=False)
    for variant in variants:
        table.add_row(variant.name, variant.copy.title, variant.copy.description, variant.copy.image_suggestion)
    console.print(table)
    console.print(f"\nCampaign [bold]{made.slug}[/] is a draft. Show it: arauto campaign launch {made.slug}")


@campaign.command()
@click.argument("slug")
def launch(slug: str) -> None:
    """Start to show a campaign, and print the snippet for the page."""
    settings = settings_of()
    with arauto.open(settings) as app:
        live = app.launch(slug)
        site = next(site for site in app.sites() if site.id == live.site_id)
    address = f"http://{settings.host}:{settings.port}"
    console.print(f"Campaign [bold]{live.slug}[/] is live. Paste this into the page:\n")
    click.echo(f'<script type="module" src="{address}/arauto.js" data-key="{site.key}"></script>')
    click.echo(f'<div data-arauto="{live.slug}">What is shown until then, and whenever anything fails</div>\n')
    if not site.origins:
        console.print(f"And allow the page's origin: arauto site allow {site.name} https://your-shop.example")


@campaign.command()
@click.argument("slug")
def pause(slug: str) -> None:
    """Stop to show a campaign for now; pages show their own content."""
    with arauto.open(settings_of()) as app:
        console.print(f"Campaign [bold]{app.move(slug, 'paused').slug}[/] is paused.")


@campaign.command()
@click.argument("slug")
def end(slug: str) -> None:
    """End a campaign for good. Its results stay readable."""
    with arauto.open(settings_of()) as app:
        console.print(f"Campaign [bold]{app.move(slug, 'ended').slug}[/] has ended.")


@campaign.command("list")
@as_json
def list_(*, json_: bool) -> None:
    """Show all campaigns."""
    with arauto.open(settings_of()) as app:
        campaigns = app.campaigns()
    if json_:
        print_json(campaigns)
        return
    if not campaigns:
        console.print('No campaign yet. Make one: arauto campaign create "…"')
        return
    table = Table("campaign", "name", "state", "goal", box=None, pad_edge=False)
    for row in campaigns:
        table.add_row(row.slug, row.name, row.state, row.plan.goal)
    console.print(table)


@click.group()
def site() -> None:
    """Sites: who may ask for decisions."""


@site.command("list")
@as_json
def list_sites(*, json_: bool) -> None:
    """Show the sites, their public keys and the origins that may use them."""
    with arauto.open(settings_of()) as app:
        sites = app.sites()
    if json_:
        print_json(sites)
        return
    table = Table("site", "key", "origins", box=None, pad_edge=False)
    for row in sites:
        table.add_row(row.name, row.key, ", ".join(row.origins) or "only pages of this server")
    console.print(table)


@site.command()
@click.argument("name")
@click.argument("origins", nargs=-1)
def allow(name: str, origins: tuple[str, ...]) -> None:
    """Make site NAME, or allow it further ORIGINS, such as https://shop.example."""
    with arauto.open(settings_of()) as app:
        row = app.allow(name, origins)
    console.print(f"{row.name}: key {row.key}, origins {', '.join(row.origins) or 'none'}")


@click.command()
@click.argument("slug")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page that stands alone.")
@click.option("--pdf", type=click.Path(dir_okay=False, path_type=Path), help="Print that page to a PDF (Chromium).")
@as_json
def report(slug: str, html: Path | None, pdf: Path | None, *, json_: bool) -> None:
    """Show where a campaign stands: every number with its always-valid interval."""
    settings = settings_of()
    with arauto.open(settings) as app:
        built = app.report(slug)
    if html is not None or pdf is not None:
        from arauto.dashboard import render_report_html, write_pdf

        page = render_report_html(built, settings.language)
        if html is not None:
            html.write_text(page, "utf-8")
            console.print(f"Written: {html}")
        if pdf is not None:
            write_pdf(page, pdf)
            console.print(f"Written: {pdf}")
    elif json_:
        print_json(built)
    else:
        show_report(built, settings.language)
