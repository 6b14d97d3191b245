"""The peer of ``bench/http.py``: the same endpoint as one writes it with FastAPI, run by uvicorn[standard].

Body and answer are pydantic models; the arm is drawn by Thompson sampling with numpy over the same 32 arms, a fresh
draw from each posterior per request; the receipt is signed by the same code. Neither side looks at limits or origins.
"""

from __future__ import annotations

from typing import Literal
from uuid import UUID

import numpy as np
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict

from arauto.core.events import SEGMENTS
from arauto.core.ids import uuid7
from arauto.core.receipts import ANONYMOUS, Receipt, ReceiptBook

ARMS = 32
KEY, CAMPAIGN = "site_of_the_benchmark", "watch"
TITLE, DESCRIPTION, IMAGE = "Title number {}", "A short description of the product, as long as usual.", "A watch"


class Query(BaseModel):
    """What a page asks."""

    model_config = ConfigDict(extra="forbid")

    key: str
    campaign: str
    visitor: UUID | None = None
    consent: Literal["granted", "denied"] = "denied"
    device: Literal["desktop", "mobile", "tablet"] | None = None


class Copy(BaseModel):
    """The text of a variant."""

    title: str
    description: str
    image_suggestion: str


class Answer(BaseModel):
    """What a page shows."""

    decision: UUID
    campaign: str
    variant: str
    copy_: Copy
    call_to_action: str
    link: str
    propensity: float
    policy_version: int
    receipt: str
    simulated: bool


app = FastAPI()
book = ReceiptBook(b"the same length as a real secret")
rng = np.random.default_rng(1)
copies = [Copy(title=TITLE.format(arm), description=DESCRIPTION, image_suggestion=IMAGE) for arm in range(ARMS)]
alpha, beta = np.ones(ARMS), np.ones(ARMS)


@app.post("/v1/decide")
async def decide(query: Query) -> Answer:
    """Which variant to show."""
    if query.key != KEY or query.campaign != CAMPAIGN:
        raise HTTPException(404)
    arm = int(rng.beta(alpha, beta).argmax())
    decision = uuid7()
    granted = query.visitor is not None and query.consent == "granted"
    receipt = book.sign(
        Receipt(
            decision_id=decision,
            campaign_id=1,
            variant_id=arm,
            propensity=1 / ARMS,
            policy_version=1,
            segment=SEGMENTS.index(query.device or "unknown"),
            visitor_tag=book.visitor_tag(query.visitor) if granted and query.visitor else ANONYMOUS,
        )
    )
    return Answer(
        decision=decision,
        campaign=CAMPAIGN,
        variant=f"v{arm}",
        copy_=copies[arm],
        call_to_action="Saiba mais",
        link="https://shop.example/watch",
        propensity=1 / ARMS,
        policy_version=1,
        receipt=receipt,
        simulated=False,
    )
