"""What routes answer and programs read. The OpenAPI document is made from these types."""

from __future__ import annotations

from uuid import UUID

import msgspec

from arauto.core.campaign import Campaign, Copy, Variant
from arauto.core.errors import Problem


class DecideAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What to show, and the receipt that goes with every event of it.

    The page renders ``copy`` with ``call_to_action`` and ``link``.
    ``propensity`` is the exact probability with which ``variant`` was drawn under ``policy_version``.
    """

    decision: UUID
    campaign: str
    variant: str
    copy: Copy
    call_to_action: str
    link: str
    propensity: float
    policy_version: int
    receipt: str
    simulated: bool


class CandidatesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a device may choose from. Each event names the chance with which its candidate was chosen.

    ``candidates`` are distinct variants; ``shares`` (they sum to 1) are their parts of the draws that found them. The
    device chooses by probabilities of its own, each at least ``floor`` times the share. With one candidate there is
    nothing to choose, and nothing to name when ``floor`` is 1.
    """

    candidates: list[DecideAnswer]
    shares: list[float]
    floor: float


class EventsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a batch. What is counted here is committed; what was refused is not to be sent again."""

    stored: int
    duplicates: int
    refused: list[Problem]


class AllRefused(Problem, frozen=True, kw_only=True, omit_defaults=True):
    """The problem of a batch of which no event could be used: that of the first one, and the list of all."""

    refused: tuple[Problem, ...] = ()


class CampaignDetail(Campaign, frozen=True, kw_only=True):
    """A campaign and its variants; ``job`` is at work on more of them."""

    variants: list[Variant]
    job: int | None = None
