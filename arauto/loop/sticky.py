"""The coins of a campaign that are tossed once for each visitor: by hash, so that nothing need be remembered.

The hash is of the receipt's tag, which only the holder of the secret can make: nobody can choose an id for its arm.
The coins of layer, holdout, release and variant are independent of each other.
"""

from __future__ import annotations

from arauto.core.campaign import Campaign
from arauto.core.receipts import ANONYMOUS
from arauto.experiments import arm_of, held_out, in_part, place_of
from arauto.loop.policy import Mix


class Sticky:
    """How a campaign's visitors are dealt out, while the release of number ``release`` is on its way (0: none)."""

    def __init__(self, campaign: Campaign, release: int) -> None:
        plan = campaign.plan
        self.layered = bool(plan.layer)
        self._layer = f"layer:{campaign.site_id}:{plan.layer}"
        self._part = plan.layer_part
        self._holdout = plan.holdout
        self._group = str(campaign.site_id)
        self._arms = f"campaign:{campaign.id}"
        self._side = f"release:{release}"

    def inside(self, tag: bytes) -> bool:
        """Whether the campaign may be shown to them. Who cannot be told apart is in no part of a layer."""
        return not self.layered or (tag != ANONYMOUS and in_part(tag.hex(), self._layer, self._part))

    def held(self, tag: bytes) -> bool:
        """Whether they are in the holdout, which is the same for all campaigns of a site that hold out as many."""
        return self._holdout > 0.0 and held_out(tag.hex(), self._holdout, self._group)

    def draw(self, tag: bytes, mix: Mix) -> int:
        """Their place in ``mix``: first the side of a release, whose share only grows, then a variant of that side."""
        visitor = tag.hex()
        change = sum(draw.chance for draw in mix if draw.stage & 1)
        side = 1 if change and place_of(visitor, self._side) < change else 0
        places = {draw.variant_id: place for place, draw in enumerate(mix) if draw.stage & 1 == side}
        share = change if side else 1.0 - change
        return places[arm_of(visitor, self._arms, {arm: mix[place].chance / share for arm, place in places.items()})]
