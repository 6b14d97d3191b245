"""What a route is, what a handler gets, and the bodies that only the server knows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.requests import Request

from arauto.core.brief import Name
from arauto.core.campaign import CampaignState, Copy, VariantState
from arauto.core.errors import ArautoError
from arauto.core.people import Role
from arauto.core.settings import Settings
from arauto.dashboard import Live
from arauto.loop import ReleaseAction, Runtime
from arauto.server.meters import Board, Meters, Snapshot
from arauto.server.pressure import Drain, Overload

Auth = Literal["open", "public", "admin"]
"""``open``: anyone, and no limit. ``public``: anyone, within the rate limit. ``admin``: the token, or the session of
somebody whose role reaches the route's."""
RowId = Annotated[int, Meta(ge=1, lt=2**31)]
JobId = Annotated[int, Meta(ge=1, le=2**63 - 1)]
WebOrigin = Annotated[str, Meta(pattern=r"^https?://[A-Za-z0-9.\-\[\]:]+$", max_length=255)]


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table. ``path`` has its parameters in braces; ``params`` gives their types.

    ``answers`` holds a type (or None: no JSON) by status, ``errors`` every error that can come. A ``hot`` route has no
    handler here: the front answers it itself. ``role`` is the least one whose session may ask an ``admin`` route, or is
    taken for an administrator's at a ``public`` one.
    """

    method: str
    path: str
    name: str
    summary: str
    auth: Auth
    role: Role = "admin"
    answers: Mapping[int, Any]
    errors: tuple[type[ArautoError], ...]
    handler: Callable[[Desk, Call], Awaitable[Any]] | None = None
    params: Mapping[str, Any] = {}
    query: Any = None
    body: Any = None
    limit: int = 1_048_576
    media: str = "application/json"
    hot: bool = False


class Desk:
    """What handlers share in one process."""

    def __init__(
        self, settings: Settings, runtime: Runtime, meters: Meters, board: Board, overload: Overload, drain: Drain
    ) -> None:
        self.settings = settings
        self.runtime = runtime
        self.store = runtime.store
        self.meters = meters
        self.board = board
        self.overload = overload
        self.drain = drain
        self.live = Live()
        """What open dashboards look at."""
        self.document = b""
        """The OpenAPI document, ready to send."""

    def snapshot(self) -> Snapshot:
        """Everything that this process has counted."""
        return self.meters.snapshot(self.runtime.counts, self.runtime.served(), self.overload.refused)


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request, checked: who asks (``actor``, empty when nobody known), and what."""

    request: Request
    actor: str
    params: Mapping[str, Any]
    query: Any
    body: Any


class Answered(msgspec.Struct, frozen=True):
    """An answer with a status of its own."""

    status: int
    content: Any


class NewSite(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A site to make, or to give other ``origins``: those of the pages that may use its key."""

    name: Name
    origins: Annotated[tuple[WebOrigin, ...], Meta(max_length=50)] = ()


class NewState(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where a campaign is to go: draft → live ↔ paused → ended."""

    state: CampaignState


class NewReleaseMove(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a person does to a release."""

    action: ReleaseAction


class NewVariantState(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whether a variant takes part."""

    state: VariantState


class NewVariants(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Either texts to add (``copies``), or how many to ``write``, by ``engine`` (of the settings, when empty)."""

    copies: Annotated[tuple[Copy, ...], Meta(max_length=200)] = ()
    write: Annotated[int, Meta(ge=1, le=50)] | None = None
    engine: Annotated[str, Meta(max_length=40)] = ""


class SiteQuery(msgspec.Struct, frozen=True, kw_only=True):
    """``site``: only that one's."""

    site: RowId | UnsetType = UNSET


class AuditQuery(msgspec.Struct, frozen=True, kw_only=True):
    """At most ``limit`` entries, older than the entry ``before``."""

    limit: Annotated[int, Meta(ge=1, le=500)] = 100
    before: JobId | UnsetType = UNSET


class ControlQuery(msgspec.Struct, frozen=True, kw_only=True):
    """``control``: the name of the variant that the others are compared with; the first one when left out."""

    control: Annotated[str, Meta(max_length=16)] = ""


class KeyQuery(msgspec.Struct, frozen=True, kw_only=True):
    """``key``: the site's public key; not needed by an administrator."""

    key: Annotated[str, Meta(max_length=64)] = ""


class NearQuery(msgspec.Struct, frozen=True, kw_only=True):
    """``k`` neighbours, of one ``segment`` only, active within ``days``."""

    k: Annotated[int, Meta(ge=1, le=1000)] = 10
    segment: Annotated[int, Meta(ge=0, lt=2**31)] | UnsetType = UNSET
    days: Annotated[int, Meta(ge=1, le=3650)] | UnsetType = UNSET


class OffersQuery(msgspec.Struct, frozen=True, kw_only=True):
    """At most ``count`` offers, and as many items."""

    count: Annotated[int, Meta(ge=1, le=50)] = 3


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """That it is alive."""

    status: Literal["ok", "ready"]
    version: str


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows of each kind were erased."""

    erased: dict[str, int]


VISITOR: Mapping[str, Any] = {"id": UUID}
CAMPAIGN: Mapping[str, Any] = {"id": RowId}
JOB: Mapping[str, Any] = {"id": JobId}
EDGE_FILE: Mapping[str, Any] = {"name": Annotated[str, Meta(max_length=200)]}
