"""The catalogue: sites, campaigns with their briefs, kits and variants; models and releases; who did what."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

import msgspec
import psycopg
from psycopg.rows import DictRow

from arauto.core.brief import Brief, Message
from arauto.core.campaign import Campaign, CampaignPlan, CampaignState, Copy, Origin, Site, Variant, VariantState
from arauto.core.clock import Clock
from arauto.core.errors import ConflictError, NotFoundError
from arauto.store.database import Connection, Database
from arauto.store.notices import send
from arauto.store.records import AuditEntry, FirstKit, ModelRow, ReleaseRow

_MOVES: dict[CampaignState, tuple[CampaignState, ...]] = {
    "draft": ("live", "ended"),
    "live": ("paused", "ended"),
    "paused": ("live", "ended"),
    "ended": (),
}
_SITE: LiteralString = "SELECT id, name, key, origins FROM sites"
_CAMPAIGN: LiteralString = (
    "SELECT c.id, site_id, slug, name, b.content::text AS brief, message::text, plan::text, state, c.created_ms,"
    " launched_ms, ended_ms FROM campaigns c JOIN briefs b ON b.id = c.brief_id"
)
_VARIANT: LiteralString = "SELECT id, campaign_id, name, copy::text, origin::text, state FROM variants"


class Catalogue:
    """What exists. Every change is written to the audit log, and told to every process when it touches a campaign."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def ensure_site(self, name: str, origins: Sequence[str] = (), *, actor: str = "system") -> Site:
        """The site of that name, made if need be, with these origins."""
        async with self._database.transaction() as connection:
            row = await _one(
                connection,
                "INSERT INTO sites AS kept (name, key, origins, created_ms) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT (name) DO UPDATE SET origins = EXCLUDED.origins"
                " RETURNING new.id, new.name, new.key, new.origins, old.origins AS old_origins",
                [name, f"site_{secrets.token_urlsafe(18)}", list(origins), self._clock.now_ms()],
            )
            if row["old_origins"] != row["origins"]:
                await self._audit(connection, actor, "site.set", f"site:{row['id']}", {"origins": list(origins)})
        return _site(row)

    async def site(self, site_id: int) -> Site:
        """Raises :class:`NotFoundError`."""
        row = await self._database.fetch_one(_SITE + " WHERE id = %s", [_key(site_id)])
        if row is None:
            raise NotFoundError(f"there is no site {site_id}", field="site_id", mend="list the sites")
        return _site(row)

    async def sites(self) -> list[Site]:
        return [_site(row) for row in await self._database.fetch(_SITE + " ORDER BY id")]

    async def site_by_key(self, key: str) -> Site | None:
        """The site of a public key; None when no site has it."""
        row = await self._database.fetch_one(_SITE + " WHERE key = %s", [key.replace("\0", "")])
        return None if row is None else _site(row)

    async def create_campaign(
        self,
        site_id: int,
        slug: str,
        name: str,
        brief: Brief,
        message: Message,
        plan: CampaignPlan,
        actor: str,
        *,
        kit: FirstKit | None = None,
    ) -> Campaign:
        """A new draft, and its first kit with it: both are there afterwards, or neither is.

        Raises:
            ConflictError: the site has a campaign of that slug.
            NotFoundError: there is no such site.
        """
        now = self._clock.now_ms()
        async with self._database.transaction() as connection:
            brief_id = await self._keep_brief(connection, brief, now)
            try:
                row = await _one(
                    connection,
                    "INSERT INTO campaigns (site_id, slug, name, brief_id, message, plan, attribution_ms, state,"
                    " created_ms) VALUES (%s, %s, %s, %s, %s, %s, %s, 'draft', %s) RETURNING id",
                    [_key(site_id), slug, name, brief_id, _json(message), _json(plan), plan.attribution_ms, now],
                )
            except psycopg.errors.UniqueViolation:
                raise ConflictError(
                    f"the site has a campaign {slug!r} already", field="slug", mend="choose another slug"
                ) from None
            await self._changed(connection, row["id"], actor, "campaign.create", {"slug": slug})
            if kit is not None:
                await self._add_kit(connection, row["id"], kit.copies, kit.report, actor)
        return await self.campaign(row["id"])

    async def campaign(self, campaign_id: int) -> Campaign:
        """Raises :class:`NotFoundError`."""
        row = await self._database.fetch_one(_CAMPAIGN + " WHERE c.id = %s", [_key(campaign_id)])
        if row is None:
            raise _no_campaign(campaign_id)
        return _campaign(row)

    async def campaign_by_slug(self, site_id: int, slug: str) -> Campaign:
        """Raises :class:`NotFoundError`."""
        row = await self._database.fetch_one(_CAMPAIGN + " WHERE site_id = %s AND slug = %s", [_key(site_id), slug])
        if row is None:
            raise NotFoundError(f"the site has no campaign {slug!r}", field="campaign", mend="list the campaigns")
        return _campaign(row)

    async def campaigns(self, site_id: int | None = None) -> list[Campaign]:
        """All campaigns, or a site's, oldest first."""
        rows = await self._database.fetch(
            _CAMPAIGN + " WHERE site_id = coalesce(%s::integer, site_id) ORDER BY c.id", [site_id]
        )
        return [_campaign(row) for row in rows]

    async def set_campaign_state(self, campaign_id: int, state: CampaignState, actor: str) -> Campaign:
        """Launch (draft → live), pause, resume or end. Setting the state it has changes nothing.

        Raises:
            ConflictError: the campaign cannot go there from where it is.
        """
        now = self._clock.now_ms()
        async with self._database.transaction() as connection:
            found = await connection.execute(
                "SELECT state FROM campaigns WHERE id = %s FOR UPDATE", [_key(campaign_id)]
            )
            row = await found.fetchone()
            if row is None:
                raise _no_campaign(campaign_id)
            before: CampaignState = row["state"]
            if before != state:
                if state not in _MOVES[before]:
                    ways = " or ".join(_MOVES[before]) or "nothing"
                    raise ConflictError(
                        f"the campaign is {before} and cannot become {state}",
                        field="state",
                        mend=f"from {before} it can become {ways}",
                    )
                await connection.execute(
                    "UPDATE campaigns SET state = %(state)s,"
                    " launched_ms = coalesce(launched_ms, CASE %(state)s WHEN 'live' THEN %(now)s END),"
                    " ended_ms = CASE %(state)s WHEN 'ended' THEN %(now)s ELSE ended_ms END WHERE id = %(id)s",
                    {"state": state, "now": now, "id": campaign_id},
                )
                await self._changed(connection, campaign_id, actor, f"campaign.{state}", {"from": before})
        return await self.campaign(campaign_id)

    async def add_kit(
        self,
        campaign_id: int,
        copies: Sequence[tuple[Copy, Origin]],
        report: Mapping[str, Any],
        actor: str,
        *,
        state: VariantState = "live",
    ) -> list[Variant]:
        """Add variants; a copy that the campaign has already is not added twice. Returns the new ones."""
        async with self._database.transaction() as connection:
            found = await connection.execute("SELECT FROM campaigns WHERE id = %s FOR UPDATE", [_key(campaign_id)])
            if await found.fetchone() is None:
                raise _no_campaign(campaign_id)
            return await self._add_kit(connection, campaign_id, copies, report, actor, state)

    async def variants(self, campaign_id: int) -> list[Variant]:
        """A campaign's variants, in the order they were added."""
        rows = await self._database.fetch(_VARIANT + " WHERE campaign_id = %s ORDER BY id", [_key(campaign_id)])
        return [_variant(row) for row in rows]

    async def untouched(self, campaign_id: int) -> bool:
        """Whether the campaign has shown the same variants since its launch, and has had no release."""
        row = await self._database.fetch_one(
            "SELECT EXISTS (SELECT FROM rollouts WHERE campaign_id = %(id)s) OR EXISTS (SELECT FROM audit_log"
            " WHERE target = %(target)s AND (action = 'kit.add' OR action LIKE 'variant.%%') AND id > (SELECT min(id)"
            " FROM audit_log WHERE target = %(target)s AND action = 'campaign.live')) AS touched",
            {"id": campaign_id, "target": f"campaign:{campaign_id}"},
        )
        return row is not None and not row["touched"]

    async def change_draft(
        self, campaign_id: int, *, name: str, brief: Brief, message: Message, plan: CampaignPlan, actor: str
    ) -> Campaign:
        """Give a draft another name, brief, message and plan. Raises :class:`NotFoundError`, and
        :class:`ConflictError` once it was launched."""
        async with self._database.transaction() as connection:
            brief_id = await self._keep_brief(connection, brief, self._clock.now_ms())
            found = await connection.execute(
                "UPDATE campaigns SET name = %s, brief_id = %s, message = %s, plan = %s, attribution_ms = %s"
                " WHERE id = %s AND state = 'draft' RETURNING id",
                [name, brief_id, _json(message), _json(plan), plan.attribution_ms, _key(campaign_id)],
            )
            if await found.fetchone() is None:
                raise await _no_draft(connection, campaign_id)
            await self._changed(connection, campaign_id, actor, "campaign.change", {})
        return await self.campaign(campaign_id)

    async def change_copy(self, campaign_id: int, name: str, copy: Copy, origin: Origin, actor: str) -> Variant:
        """Give a variant of a draft another text: nobody has seen it yet, so it stays the same variant.

        Raises:
            NotFoundError: there is no such campaign or variant.
            ConflictError: the campaign was launched, or has that text already.
        """
        sha256 = hashlib.sha256(msgspec.json.encode(copy)).hexdigest()
        async with self._database.transaction() as connection:
            if await _state(connection, campaign_id) != "draft":
                raise await _no_draft(connection, campaign_id)
            try:
                found = await connection.execute(
                    "UPDATE variants SET copy = %s, copy_sha256 = %s, origin = %s"
                    " WHERE campaign_id = %s AND name = %s RETURNING id",
                    [_json(copy), sha256, _json(origin), _key(campaign_id), name],
                )
            except psycopg.errors.UniqueViolation:
                raise ConflictError(
                    "the campaign has that text already", field="title", mend="write another, or leave this one out"
                ) from None
            row = await found.fetchone()
            if row is None:
                raise NotFoundError(f"has no variant {name!r}", field="variant", mend="list the variants")
            await self._changed(connection, campaign_id, actor, "variant.change", {"variant": name})
            return _variant(await _one(connection, _VARIANT + " WHERE id = %s", [row["id"]]))

    async def set_variant_state(self, variant_id: int, state: VariantState, actor: str) -> Variant:
        """Retire a variant, or bring it back. Raises :class:`NotFoundError`."""
        async with self._database.transaction() as connection:
            found = await connection.execute(
                "UPDATE variants SET state = %s WHERE id = %s RETURNING campaign_id, name", [state, _key(variant_id)]
            )
            row = await found.fetchone()
            if row is None:
                raise NotFoundError(f"there is no variant {variant_id}", field="variant_id", mend="list the variants")
            await self._changed(connection, row["campaign_id"], actor, f"variant.{state}", {"variant": row["name"]})
            return _variant(await _one(connection, _VARIANT + " WHERE id = %s", [variant_id]))

    async def audit(self, actor: str, action: str, target: str, detail: Mapping[str, Any]) -> None:
        """Write down who did what to what."""
        async with self._database.connection() as connection:
            await self._audit(connection, actor, action, target, detail)

    async def audit_log(self, limit: int = 100, before_id: int | None = None) -> list[AuditEntry]:
        """The newest entries first; ``before_id`` goes on from an earlier answer."""
        rows = await self._database.fetch(
            "SELECT id, at_ms, actor, action, target, detail FROM audit_log"
            " WHERE id < coalesce(%s::bigint, 9223372036854775807) ORDER BY id DESC LIMIT %s",
            [before_id, limit],
        )
        return [AuditEntry(**row) for row in rows]

    async def add_model(
        self,
        name: str,
        sha256: str,
        parent: int | None = None,
        data_window: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Any] | None = None,
    ) -> ModelRow:
        """Register a trained model; the same file again is the same model."""
        async with self._database.connection() as connection:
            row = await _one(
                connection,
                "INSERT INTO models (name, sha256, parent, data_window, metrics, created_ms)"
                " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (sha256) DO UPDATE SET name = models.name RETURNING *",
                [name, sha256, parent, _json(data_window or {}), _json(metrics or {}), self._clock.now_ms()],
            )
        return msgspec.convert(row, ModelRow)

    async def models(self) -> list[ModelRow]:
        return msgspec.convert(await self._database.fetch("SELECT * FROM models ORDER BY id"), list[ModelRow])

    async def add_release(self, model_id: int, stage: str, share: float, note: str, actor: str) -> ReleaseRow:
        """Write down a step of a model's release: from now on it has ``share`` (0 to 1) of the traffic."""
        async with self._database.transaction() as connection:
            row = await _one(
                connection,
                "INSERT INTO releases (model_id, stage, share, note, actor, created_ms)"
                " VALUES (%s, %s, %s, %s, %s, %s) RETURNING *",
                [_key(model_id), stage, share, note, actor, self._clock.now_ms()],
            )
            await self._audit(connection, actor, f"release.{stage}", f"model:{model_id}", {"share": share})
        return msgspec.convert(row, ReleaseRow)

    async def releases(self) -> list[ReleaseRow]:
        return msgspec.convert(await self._database.fetch("SELECT * FROM releases ORDER BY id"), list[ReleaseRow])

    async def _keep_brief(self, connection: Connection, brief: Brief, now: int) -> int:
        """The id of the brief, and of its brand; the same brief again is the same row."""
        brand_id = None
        if brief.brand is not None:
            brand = await _one(
                connection,
                "INSERT INTO brands (name, colours, created_ms) VALUES (%s, %s, %s)"
                " ON CONFLICT (name) DO UPDATE SET colours = EXCLUDED.colours RETURNING id",
                [brief.brand.name, list(brief.brand.colours), now],
            )
            brand_id = brand["id"]
        content = msgspec.json.encode(brief)
        row = await _one(
            connection,
            "INSERT INTO briefs (sha256, brand_id, content, created_ms) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (sha256) DO UPDATE SET brand_id = EXCLUDED.brand_id RETURNING id",
            [hashlib.sha256(content).hexdigest(), brand_id, content.decode(), now],
        )
        return int(row["id"])

    async def _add_kit(
        self,
        connection: Connection,
        campaign_id: int,
        copies: Sequence[tuple[Copy, Origin]],
        report: Mapping[str, Any],
        actor: str,
        state: VariantState = "live",
    ) -> list[Variant]:
        now = self._clock.now_ms()
        kit = await _one(
            connection,
            "INSERT INTO kits (campaign_id, report, actor, created_ms) VALUES (%s, %s, %s, %s) RETURNING id",
            [campaign_id, _json(report), actor, now],
        )
        count = await _one(connection, "SELECT count(*) AS n FROM variants WHERE campaign_id = %s", [campaign_id])
        place, names = count["n"], []
        for copy, origin in copies:
            sha256 = hashlib.sha256(msgspec.json.encode(copy)).hexdigest()
            made = await connection.execute(
                "INSERT INTO variants (campaign_id, kit_id, name, copy, copy_sha256, origin, state, created_ms)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
                " ON CONFLICT (campaign_id, copy_sha256) DO NOTHING RETURNING name",
                [campaign_id, kit["id"], variant_name(place), _json(copy), sha256, _json(origin), state, now],
            )
            if (row := await made.fetchone()) is not None:
                place += 1
                names.append(row["name"])
        await self._changed(connection, campaign_id, actor, "kit.add", {"kit": kit["id"], "variants": names})
        rows = await connection.execute(_VARIANT + " WHERE kit_id = %s ORDER BY id", [kit["id"]])
        return [_variant(row) for row in await rows.fetchall()]

    async def _changed(
        self, connection: Connection, campaign_id: int, actor: str, action: str, detail: Mapping[str, Any]
    ) -> None:
        await self._audit(connection, actor, action, f"campaign:{campaign_id}", detail)
        await send(connection, "campaign", campaign_id)

    async def _audit(
        self, connection: Connection, actor: str, action: str, target: str, detail: Mapping[str, Any]
    ) -> None:
        await connection.execute(
            "INSERT INTO audit_log (at_ms, actor, action, target, detail) VALUES (%s, %s, %s, %s, %s)",
            [self._clock.now_ms(), actor, action, target, _json(detail)],
        )


def variant_name(place: int) -> str:
    """``a`` to ``z``, then ``aa``, ``ab`` …"""
    name = ""
    place += 1
    while place:
        place, letter = divmod(place - 1, 26)
        name = chr(ord("a") + letter) + name
    return name


def _key(number: int) -> int:
    """A number that can be a key; one out of range finds nothing, like any other unknown one."""
    return number if 0 < number < 2**31 else 0


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


async def _one(connection: Connection, query: LiteralString, params: Sequence[Any]) -> DictRow:
    """The row of a statement that always gives one."""
    rows = await (await connection.execute(query, params)).fetchall()
    return rows[0]


async def _state(connection: Connection, campaign_id: int) -> str | None:
    """The state of a campaign, which then stays so until the transaction ends."""
    found = await connection.execute("SELECT state FROM campaigns WHERE id = %s FOR UPDATE", [_key(campaign_id)])
    row = await found.fetchone()
    return None if row is None else str(row["state"])


async def _no_draft(connection: Connection, campaign_id: int) -> NotFoundError | ConflictError:
    state = await _state(connection, campaign_id)
    if state is None:
        return _no_campaign(campaign_id)
    return ConflictError(
        f"the campaign is {state}, no draft any more", field="state", mend="release the change step by step instead"
    )


def _no_campaign(campaign_id: int) -> NotFoundError:
    return NotFoundError(f"there is no campaign {campaign_id}", field="campaign_id", mend="list the campaigns")


def _site(row: DictRow) -> Site:
    return Site(id=row["id"], name=row["name"], key=row["key"], origins=tuple(row["origins"]))


def _campaign(row: DictRow) -> Campaign:
    return Campaign(
        **{
            **row,
            "brief": msgspec.json.decode(row["brief"], type=Brief),
            "message": msgspec.json.decode(row["message"], type=Message),
            "plan": msgspec.json.decode(row["plan"], type=CampaignPlan),
        }
    )


def _variant(row: DictRow) -> Variant:
    return Variant(
        **{
            **row,
            "copy": msgspec.json.decode(row["copy"], type=Copy),
            "origin": msgspec.json.decode(row["origin"], type=Origin),
        }
    )
