"""``arauto.open(…)``: the engine as an object of a program, without a server and without ``async``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from uuid import UUID

import msgspec
from anyio.from_thread import BlockingPortal, start_blocking_portal

from arauto.core.brief import Brief
from arauto.core.campaign import Campaign, CampaignPlan, CampaignState, Copy, Site, Variant
from arauto.core.clock import Clock, SystemClock
from arauto.core.door import from_data
from arauto.core.errors import ConflictError, EventError, NotFoundError
from arauto.core.events import DecideQuery, Device, EventType
from arauto.core.ids import uuid7
from arauto.core.settings import Secret, Settings, load_settings
from arauto.creative import load_brief
from arauto.loop.answers import DecideAnswer, EventsAnswer
from arauto.loop.campaigns import NewCampaign, create_campaign
from arauto.loop.experiment import Experiment, read_experiment
from arauto.loop.release import NewRelease, Release, ReleaseAction, latest_release, start_release, steer_release
from arauto.loop.report import Report, build_report
from arauto.loop.runtime import Runtime
from arauto.store import ModelRow

T = TypeVar("T")
_ACTOR = "program"
Consent = Literal["granted", "denied"]


def open(where: str | Path | Settings | None = None, **settings: Any) -> Arauto:  # noqa: A001
    """Open Arauto for a program: ``with arauto.open("folder or postgresql:// URL") as app: …``.

    Args:
        where: the folder that holds (or will hold) the embedded database, a PostgreSQL URL, or ready settings.
            Left out: as ``arauto.toml`` and the environment say.
        settings: single settings by name; they win over everything else.
    """
    if isinstance(where, Settings):
        return Arauto(msgspec.structs.replace(where, **settings))
    if isinstance(where, str) and where.startswith(("postgresql://", "postgres://")):
        settings["database_url"] = Secret(where)
    elif where is not None:
        settings["home"] = Path(where)
    return Arauto(load_settings(**settings))


class Arauto:
    """The whole engine in this process. Use it in a ``with`` block; its methods may be called from any thread.

    It stands on the same :class:`Runtime` as the server, and both may work on one database at once.
    """

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self._stack = ExitStack()
        self._portal: BlockingPortal
        self._runtime: Runtime

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._portal = stack.enter_context(start_blocking_portal())
            self._runtime = self._portal.call(lambda: Runtime.open(self.settings, clock=self.clock))
            stack.callback(lambda: self._portal.call(self._runtime.close))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def create(
        self,
        brief: str | Brief | dict[str, Any],
        *,
        slug: str | None = None,
        name: str | None = None,
        site: str | int | None = None,
        plan: CampaignPlan | None = None,
        copies: Sequence[Copy] | None = None,
        write: int | None = None,
        engine: str = "",
    ) -> Campaign:
        """Make a campaign of a brief: free words, a file's path, plain data or a :class:`Brief`.

        It gets template variants at once, or ``copies``; ``write`` asks for so many more, written in the background by
        ``engine`` wherever a server or ``arauto worker`` runs on the same database.

        Raises:
            BriefError: names the field, what was wrong and the mend.
            ConflictError: the slug is taken.
        """
        whole = load_brief(brief) if isinstance(brief, str) else brief
        data = {
            "brief": msgspec.to_builtins(whole),
            "site": site,
            "slug": slug,
            "name": name,
            "plan": None if plan is None else msgspec.to_builtins(plan),
            "copies": None if copies is None else msgspec.to_builtins(copies),
            "write": write,
            "engine": engine,
        }
        new = from_data(data, NewCampaign)
        store = self._runtime.store
        return self._call(lambda: create_campaign(store, self.settings, new, actor=_ACTOR)).campaign

    def launch(self, campaign: Campaign | str) -> Campaign:
        """Start to show a campaign, or go on after a pause."""
        return self.move(campaign, "live")

    def move(self, campaign: Campaign | str, state: CampaignState) -> Campaign:
        """Bring a campaign into a state: ``live``, ``paused`` or, for good, ``ended``."""
        campaign_id = self.campaign(campaign).id

        async def move() -> Campaign:
            moved = await self._runtime.store.catalogue.set_campaign_state(campaign_id, state, _ACTOR)
            await self._runtime.reload(campaign_id)
            return moved

        return self._call(move)

    def campaign(self, campaign: Campaign | str) -> Campaign:
        """The campaign as it is now, by its slug (or an earlier copy of it).

        Raises:
            NotFoundError: none has that slug.
            ConflictError: two sites have one; ask with the campaign itself.
        """
        if isinstance(campaign, Campaign):
            campaign_id = campaign.id
            return self._call(lambda: self._runtime.store.catalogue.campaign(campaign_id))
        found = [known for known in self.campaigns() if known.slug == campaign]
        if not found:
            raise NotFoundError(f"no campaign is called {campaign!r}", field="campaign", mend="arauto campaign list")
        if len(found) > 1:
            raise ConflictError(f"two sites have a campaign {campaign!r}", field="campaign", mend="rename one of them")
        return found[0]

    def campaigns(self) -> list[Campaign]:
        """All campaigns, of all sites."""
        return self._call(self._runtime.store.catalogue.campaigns)

    def variants(self, campaign: Campaign | str) -> list[Variant]:
        """The variants of a campaign, retired ones included."""
        campaign_id = self.campaign(campaign).id
        return self._call(lambda: self._runtime.store.catalogue.variants(campaign_id))

    def sites(self) -> list[Site]:
        """The sites, with the public key of each."""
        return self._call(self._runtime.store.catalogue.sites)

    def allow(self, site: str, origins: Sequence[str]) -> Site:
        """Make a site, or allow further origins (``https://shop.example``) to one."""
        return self._call(lambda: self._runtime.store.catalogue.ensure_site(site, list(origins)))

    def register_model(
        self, name: str, sha256: str, data_window: Mapping[str, Any], metrics: Mapping[str, Any]
    ) -> ModelRow:
        """Put a trained model into the registry; the same file again is the same model."""
        return self._call(
            lambda: self._runtime.store.catalogue.add_model(name, sha256, data_window=data_window, metrics=metrics)
        )

    def decide(
        self,
        campaign: Campaign | str,
        *,
        visitor: UUID | None = None,
        consent: Consent = "denied",
        device: Device | None = None,
    ) -> DecideAnswer:
        """Choose a variant for one visitor, from memory. Nothing is stored until :meth:`track`."""
        known = campaign if isinstance(campaign, Campaign) else self.campaign(campaign)
        key = self._site(known.site_id).key
        query = DecideQuery(key=key, campaign=known.slug, visitor=visitor, consent=consent, device=device)
        return msgspec.json.decode(self._call_sync(lambda: self._runtime.decide(query)), type=DecideAnswer)

    def track(
        self,
        decision: DecideAnswer,
        event: EventType,
        *,
        visitor: UUID | None = None,
        consent: Consent = "denied",
        **facts: Any,
    ) -> EventsAnswer:
        """Store what happened after a decision; committed when this returns. ``facts`` are those of the event type.

        Raises:
            EventError: the event cannot be used; names the field, what was wrong and the mend.
            StoreError: nothing is known to be stored.
        """
        now = self.clock.now_ms()
        row = {"type": event, "id": uuid7(now), "at": now, "receipt": decision.receipt, "visitor": visitor, **facts}
        key = self._site_of(decision).key
        body = msgspec.json.encode({"key": key, "consent": consent, "events": [row]})
        answer = self._call(lambda: self._runtime.ingest(body))
        if answer.refused:
            first = answer.refused[0]
            raise EventError(first.problem, field=first.field, mend=first.mend)
        return answer

    def report(self, campaign: Campaign | str) -> Report:
        """Where a campaign stands: every number with its interval."""
        campaign_id = self.campaign(campaign).id
        return self._call(lambda: build_report(self._runtime.store, campaign_id, clock=self.clock))

    def start_release(self, campaign: Campaign | str, new: NewRelease) -> Release:
        """Release a change step by step, watched by guardrails; it moves wherever a server (or this) takes events."""
        campaign_id = self.campaign(campaign).id

        async def start() -> Release:
            begun = await start_release(self._runtime.store, campaign_id, new, actor=_ACTOR)
            await self._runtime.reload(campaign_id)
            return begun

        return self._call(start)

    def release(self, campaign: Campaign | str) -> Release:
        """The campaign's last release, with its evidence as of now."""
        campaign_id = self.campaign(campaign).id
        return self._call(lambda: latest_release(self._runtime.store, campaign_id))

    def steer_release(self, campaign: Campaign | str, action: ReleaseAction) -> Release:
        """Hold, resume or roll back the campaign's last release."""
        last = self.release(campaign)

        async def steer() -> Release:
            steered = await steer_release(self._runtime.store, last.id, action, actor=_ACTOR)
            await self._runtime.reload(last.campaign_id)
            return steered

        return self._call(steer)

    def experiment(self, campaign: Campaign | str, *, control: str = "") -> Experiment:
        """Which variant is better, with the checks that must hold first."""
        campaign_id = self.campaign(campaign).id
        return self._call(lambda: read_experiment(self._runtime.store, campaign_id, control))

    def export_visitor(self, visitor: UUID) -> dict[str, Any]:
        """All that is kept of a visitor, ready for JSON."""
        return self._call(lambda: self._runtime.export(visitor))

    def erase_visitor(self, visitor: UUID) -> dict[str, int]:
        """Erase all that is kept of a visitor. Returns how many rows of each kind went."""
        return self._call(lambda: self._runtime.erase(visitor, _ACTOR))

    def first_admin_token(self) -> str | None:
        """The admin token when none was ever made: it is made now and shown this once. None afterwards."""
        return self._call(self._runtime.store.admin_token)

    def login_code(self) -> str:
        """A code that opens the dashboard once, within ten minutes."""
        return self._call(self._runtime.store.new_login_code)

    def _site(self, site_id: int) -> Site:
        return self._call(lambda: self._runtime.store.catalogue.site(site_id))

    def _site_of(self, decision: DecideAnswer) -> Site:
        campaign_id = self._runtime.book.read(decision.receipt).campaign_id
        return self._site(self._call(lambda: self._runtime.store.catalogue.campaign(campaign_id)).site_id)

    def _call(self, work: Callable[[], Awaitable[T]]) -> T:
        return self._portal.call(work)

    def _call_sync(self, work: Callable[[], T]) -> T:
        return self._portal.call(work)
