"""``arauto kit …``: one brief becomes texts, banners, audio and video; checked, exported, shown."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import click
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from arauto.cli.common import as_json, console, print_json, settings_of
from arauto.core.brief import Brief, Language, check_link
from arauto.core.errors import ConflictError, InputError
from arauto.core.i18n import say
from arauto.core.kit import Finding, Kit, Medium
from arauto.creative import ModelStore, choose_engine, has_errors, load_brief
from arauto.creative.engines import choose_image
from arauto.creative.kit import (
    BUNDLES,
    PRESETS,
    Signer,
    Waiver,
    check_kit,
    export_kit,
    load_kit,
    load_waivers,
    make_kit,
    read_catalogue,
    save_gallery,
    save_waiver,
    with_preset,
)

_MEDIA = click.Choice(get_args(Medium))


@click.group()
def kit() -> None:
    """Kits: one brief in texts, banners, audio and video. Create, check, export, look."""


@kit.command()
@click.argument("brief")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the kit (kit-PRODUCT).")
@click.option("--only", multiple=True, type=_MEDIA, help="Make this medium alone; may be repeated.")
@click.option("--preset", type=click.Choice(list(PRESETS)), help="The placements of one purpose.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31), help="Same seed: same bytes.")
@click.option("--engine", type=click.Choice(["slot", "local", "openai", "hf"]), default="slot", show_default=True)
@click.option("--film", "films", multiple=True, type=click.Choice(["6", "15", "30"]), help="Seconds of a film (15).")
@click.option("--catalogue", type=click.Path(dir_okay=False, path_type=Path), help="A kit for each row (CSV or JSONL).")
@as_json
def create(
    brief: str,
    out: Path | None,
    only: Sequence[Medium],
    preset: str | None,
    seed: int,
    engine: str,
    films: Sequence[str],
    catalogue: Path | None,
    *,
    json_: bool,
) -> None:
    """Make the kit of BRIEF (a file, or the words themselves), check it, and write its gallery page."""
    wanted = load_brief(brief)
    if preset:
        wanted = with_preset(wanted, preset)
    folder = Path(brief).expanduser().parent if Path(brief).suffix and Path(brief).is_file() else Path.cwd()
    target = out or Path(f"kit-{_slug(wanted.product)}")
    jobs = (
        [(target / name, row) for name, row in read_catalogue(catalogue, wanted)] if catalogue else [(target, wanted)]
    )
    how = {"only": only, "seed": seed, "film_seconds": [float(film) for film in films] or [15.0]}
    made = asyncio.run(_create(jobs, folder, engine, how, quiet=json_))
    if json_:
        print_json([{"folder": str(path), "assets": one.assets, "findings": one.findings} for path, one in made])
    else:
        for path, one in made:
            _summary(path, one)
    bad = [str(path) for path, one in made if has_errors(one.findings)]
    if bad:
        raise ConflictError(
            f"errors are left in {', '.join(bad)}", field="kit", mend="see `arauto kit check`, mend the brief, or waive"
        )


@kit.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--waive", metavar="RULE[@ASSET]", help="Let a finding stand; needs --by and --reason.")
@click.option("--by", default="", help="Who waives.")
@click.option("--reason", default="", help="Why: eight letters at least.")
@as_json
def check(folder: Path, waive: str | None, by: str, reason: str, *, json_: bool) -> None:
    """Check every rule of the kit in FOLDER again, from its files."""
    one = load_kit(folder)
    if waive:
        rule, _, place = waive.partition("@")
        save_waiver(folder, Waiver(rule=rule, place=place, name=by, reason=reason))
    found = check_kit(one, folder, load_waivers(folder))
    if json_:
        print_json(found)
    else:
        _table(found, one.language)
    if has_errors(found):
        raise ConflictError(
            f"{sum(f.severity == 'error' and not f.waived_by for f in found)} errors are left",
            field=str(folder), mend="mend the brief and make the kit anew, or waive with a name and a reason",
        )  # fmt: skip


@kit.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--to", "kinds", multiple=True, type=click.Choice(list(BUNDLES)), help="All when left out.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Where to (FOLDER/export).")
@click.option("--base-url", default="", help="Where the files will be served from; stands in the manifests.")
@as_json
def export(folder: Path, kinds: Sequence[str], out: Path | None, base_url: str, *, json_: bool) -> None:
    """Write bundles for ad platforms from the kit in FOLDER, signed (C2PA), and its Ad Context Protocol manifest."""
    one = load_kit(folder)
    found = check_kit(one, folder, load_waivers(folder))
    if has_errors(found):
        raise ConflictError("errors are left in this kit", field=str(folder), mend="see `arauto kit check`")
    if base_url:
        check_link(base_url, "--base-url")
    signer = Signer(settings_of().home / "signing")
    base = {"base_url": base_url} if base_url else {}
    written = export_kit(one, folder, out or folder / "export", kinds or _possible(one), signer, **base)
    if json_:
        print_json([str(path) for path in written])
        return
    for path in written:
        console.print(str(path), highlight=False, soft_wrap=True)


@kit.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def gallery(folder: Path) -> None:
    """Write FOLDER/index.html: every asset of the kit on one page, with the report of the checks."""
    one = load_kit(folder)
    path = save_gallery(one, folder, check_kit(one, folder, load_waivers(folder)))
    console.print(str(path), highlight=False, soft_wrap=True)


async def _create(
    jobs: Sequence[tuple[Path, Brief]], folder: Path, engine: str, how: dict[str, Any], *, quiet: bool
) -> list[tuple[Path, Kit]]:
    settings = settings_of(text_engine=engine)
    text_engine = choose_engine(settings, ModelStore(settings)) if engine != "slot" else None
    image = choose_image(settings)
    made = []
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[step]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=quiet) as progress:
        try:
            for path, brief in jobs:
                bars: dict[str, TaskID] = {}

                def tell(
                    medium: Medium, step: str, share: float, bars: dict[str, TaskID] = bars, path: Path = path
                ) -> None:
                    name = f"{path.name} {medium}"
                    if medium not in bars:
                        bars[medium] = progress.add_task(name, total=1.0, step=step)
                    progress.update(bars[medium], completed=share, step=step)

                one = await make_kit(brief, path, folder=folder, engine=text_engine, image=image, progress=tell, **how)
                save_gallery(one, path, one.findings)
                made.append((path, one))
        finally:
            for one_engine in (text_engine, image):
                if one_engine is not None:
                    await one_engine.close()
    return made


def _summary(path: Path, one: Kit) -> None:
    counts = {medium: sum(asset.medium == medium for asset in one.assets) for medium in get_args(Medium)}
    said = ", ".join(f"{count} {say(f'kit.{medium}', one.language)}" for medium, count in counts.items() if count)
    console.print(f"[bold]{path}[/]: {said}", highlight=False, soft_wrap=True)
    _table(one.findings, one.language)
    console.print(say("kit.look", one.language, page=path / "index.html"), highlight=False, soft_wrap=True)


def _table(found: Sequence[Finding], language: Language) -> None:
    if not found:
        console.print(say("kit.clean", language))
        return
    table = Table(
        *(say(f"kit.{name}", language) for name in ("rule", "place", "problem", "mend")), box=None, pad_edge=False
    )
    for one in found:
        colour = "dim" if one.waived_by else "red" if one.severity == "error" else "yellow"
        waived = f" ({say('kit.waived', language, name=one.waived_by, reason=one.reason)})" if one.waived_by else ""
        table.add_row(f"[{colour}]{one.rule}[/]", one.place, f"{one.field}: {one.problem}{waived}", one.mend)
    console.print(table)


def _possible(one: Kit) -> list[str]:
    """The bundles that a kit has something for."""
    kinds = {asset.media_type for asset in one.assets}
    pictured = any(kind.startswith("image/") for kind in kinds)
    has = {
        "google-ads": pictured or "application/json" in kinds,
        "meta": "video/mp4" in kinds or any(asset.detail.get("channel") == "social" for asset in one.assets),
        "html5": "application/zip" in kinds,
        "adcp": True,
    }
    return [kind for kind, there in has.items() if there]


def _slug(name: str) -> str:
    slug = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name.lower()).strip("-")[:40]
    if not slug:
        raise InputError("has no letters for a folder's name", field="product", mend="give --out")
    return slug
