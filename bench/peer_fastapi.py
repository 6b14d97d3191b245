"""The peer of the decide benchmark: FastAPI and uvicorn doing the same work in their usual way.

Body checked by pydantic, 32-arm Thompson sampling by numpy for each request, a UUIDv7, the same signed receipt, the answer
as JSON. It knows no rate limit, no campaigns, no origins and no exact propensity (it signs 1/32): what is left out is in
its favour. Run as ``uvicorn bench.peer_fastapi:app``.
"""

from __future__ import annotations

from typing import Literal
from uuid import UUID

import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel

from arauto.core.ids import uuid7
from arauto.core.receipts import ANONYMOUS, Receipt, ReceiptBook

ARMS = 32

app = FastAPI()
_book = ReceiptBook(b"p" * 32)
_rng = np.random.default_rng(0)
_successes = _rng.integers(5, 50, ARMS)
_failures = _rng.integers(500, 900, ARMS)
_copies = [
    {"title": f"t{arm}", "description": "a short description of the product", "image_suggestion": "x"}
    for arm in range(ARMS)
]


class Query(BaseModel):
    """The body of a decision."""

    key: str
    campaign: str
    visitor: UUID | None = None
    consent: Literal["granted", "denied"] = "denied"
    device: Literal["desktop", "mobile", "tablet"] | None = None


class Copy(BaseModel):
    """A text."""

    title: str
    description: str
    image_suggestion: str


class Answer(BaseModel):
    """A decision."""

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


@app.post("/v1/decide")
async def decide(query: Query) -> Answer:
    """Sample, sign, answer."""
    arm = int(_rng.beta(_successes, _failures).argmax())
    decision = uuid7()
    receipt = _book.sign(Receipt(decision, 1, arm, 1 / ARMS, 1, 1, ANONYMOUS))
    return Answer(
        decision=decision,
        campaign=query.campaign,
        variant=str(arm),
        copy_=Copy(**_copies[arm]),
        call_to_action="Saiba mais",
        link="",
        propensity=1 / ARMS,
        policy_version=1,
        receipt=receipt,
        simulated=False,
    )


@app.get("/readyz")
async def ready() -> dict[str, bool]:
    """Whether it is up."""
    return {"ready": True}
