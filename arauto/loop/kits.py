"""The kit of a campaign: its brief and its chosen texts in four media, made in the background."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, get_args

from arauto.core.brief import Brief
from arauto.core.campaign import Campaign, Copy
from arauto.core.errors import EngineError
from arauto.core.kit import Finding, Kit, Medium
from arauto.core.settings import Settings
from arauto.core.tasks import end
from arauto.creative import Ask, Draft, compose_message
from arauto.creative.engines import choose_image
from arauto.store import JobContext, Store

if TYPE_CHECKING:
    from arauto.creative.kit import Waiver

KIT_JOB = "make_kit"
TOLD_S = 0.5
_STEPS = 1000


class _Chosen:
    """The engine that says a campaign's own texts, each once."""

    name = "given"
    model = ""

    def __init__(self, copies: Sequence[Copy]) -> None:
        self._copies = copies

    async def write(self, ask: Ask) -> Draft:
        if not self._copies:
            raise EngineError("the campaign has no text", field="campaign", mend="choose at least one")
        return Draft(copy=self._copies[ask.turn % len(self._copies)])

    async def close(self) -> None:
        return


def _kits() -> ModuleType:
    """The room of kits, whose packages a server need not have."""
    try:
        from arauto.creative import kit
    except ModuleNotFoundError as failure:
        raise EngineError(
            f"kits need the package {failure.name}", field="kit", mend="pip install 'arauto[kit]'"
        ) from None
    return kit


def brief_findings(brief: Brief) -> list[Finding]:
    """What the rules say of a brief before anything is made of it; nothing without the packages of kits."""
    try:
        kits = _kits()
    except EngineError:
        return []
    bare = Kit(brief=brief, message=compose_message(brief), seed=0, assets=(), language=brief.language)
    found: list[Finding] = kits.check_kit(bare, Path())
    return [one for one in found if one.field.startswith("brief.") or one.rule.startswith(("KIT-LINK", "KIT-HTTPS"))]


def kit_folder(settings: Settings, campaign_id: int) -> Path:
    """Where the kit of a campaign lies, on the machine that does the jobs."""
    return settings.home / "kits" / str(campaign_id)


async def make_kit_later(store: Store, campaign: Campaign, media: Sequence[Medium], *, actor: str) -> int:
    """Have the kit of a campaign made anew in the background, of these media. Returns the job's id."""
    job = await store.jobs.defer(KIT_JOB, {"campaign": campaign.id, "media": list(media), "actor": actor})
    await store.forms.keep(campaign.id, "kit", {"job": str(job)})
    return job


def read_kit(settings: Settings, campaign_id: int) -> tuple[Kit, list[Finding], list[Waiver]] | None:
    """The kit of a campaign as it was made, what the checks said (with its waivers), and the waivers; None: no kit.

    Raises:
        InputError: the kit's file cannot be read.
        EngineError: the packages of kits are not installed.
    """
    folder = kit_folder(settings, campaign_id)
    if not folder.is_dir():
        return None
    kits = _kits()
    kit, waivers = kits.load_kit(folder), kits.load_waivers(folder)
    return kit, kits.waive(kit.findings, waivers), waivers


async def waive_finding(
    store: Store, settings: Settings, campaign_id: int, *, rule: str, place: str, name: str, reason: str, actor: str
) -> None:
    """Let the findings of a rule stand, on the asset ``place`` or (empty) in the whole kit.

    Raises:
        InputError: the name or the reason is missing or too short.
        NotFoundError: there is no kit.
    """
    kits, folder = _kits(), kit_folder(settings, campaign_id)
    await asyncio.to_thread(kits.load_kit, folder)
    detail = {"rule": rule, "place": place, "name": name, "reason": reason}
    await asyncio.to_thread(kits.save_waiver, folder, kits.Waiver(**detail))
    await store.catalogue.audit(actor, "waiver.add", f"campaign:{campaign_id}", detail)


async def unwaive(store: Store, settings: Settings, campaign_id: int, rule: str, place: str, *, actor: str) -> None:
    """Take a waiver back. Raises :class:`~arauto.core.errors.NotFoundError` when there is none."""
    await asyncio.to_thread(_kits().drop_waiver, kit_folder(settings, campaign_id), rule, place)
    await store.catalogue.audit(actor, "waiver.drop", f"campaign:{campaign_id}", {"rule": rule, "place": place})


async def run_kit_job(store: Store, settings: Settings, context: JobContext, args: dict[str, Any]) -> None:
    """The job: make the kit beside the old one, then put it in its place; waivers stay."""
    campaign = await store.catalogue.campaign(args["campaign"])
    variants = await store.catalogue.variants(campaign.id)
    engine = _Chosen([one.copy for one in variants if one.state != "retired"])
    folder = kit_folder(settings, campaign.id)
    fresh = folder.with_name(f"{folder.name}.new")
    await asyncio.to_thread(shutil.rmtree, fresh, ignore_errors=True)
    shares: dict[str, float] = {}
    now = {"step": ""}

    def tell(medium: Medium, step: str, share: float) -> None:
        shares[medium] = share
        now["step"] = f"{medium}: {step}"

    media: list[Medium] = args["media"]
    ticker = asyncio.create_task(_tell(context, shares, now, len(media)))
    image = choose_image(settings)
    try:
        await _kits().make_kit(
            campaign.brief,
            fresh,
            folder=settings.home / "brief-files",
            seed=campaign.plan.seed or 0,
            # All: then one that cannot be made here is a warning, and the others are there.
            only=() if len(media) == len(get_args(Medium)) else media,
            engine=engine,
            image=image,
            progress=tell,
        )
    finally:
        await end(ticker)
        if image is not None:
            await image.close()
    await asyncio.to_thread(_put, fresh, folder)
    await context.progress(_STEPS, _STEPS)
    await store.catalogue.audit(args["actor"], "kit.make", f"campaign:{campaign.id}", {"media": media})


async def _tell(context: JobContext, shares: dict[str, float], now: dict[str, str], media: int) -> None:
    while True:
        done = round(_STEPS * sum(shares.values()) / media)
        await context.progress(min(done, _STEPS - 1), _STEPS, now["step"])
        await asyncio.sleep(TOLD_S)


def _put(fresh: Path, folder: Path) -> None:
    """The new kit where the old one was, with the old one's waivers."""
    kits = _kits()
    for waiver in kits.load_waivers(folder):
        kits.save_waiver(fresh, waiver)
    old = folder.with_name(f"{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
