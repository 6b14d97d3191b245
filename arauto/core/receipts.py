"""Receipts: what a decision was, signed, so that nothing need be stored until the visitor really saw something.

A receipt is 50 bytes of facts and 16 of keyed BLAKE2b (RFC 7693, section 2.9: a MAC by itself), in base64url: 88
characters. The page carries it from decide to its events; only the holder of the secret can make one.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from base64 import urlsafe_b64decode
from binascii import b2a_base64
from uuid import UUID

import msgspec

from arauto.core.errors import ReceiptError
from arauto.core.events import SEGMENTS

_VERSION, _CANDIDATE = 2, 3
_FACTS = struct.Struct(">B16sIIdIBI8s")
_MAC_BYTES = 16
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_LENGTH = 88  # base64 of 66 bytes
ANONYMOUS = b"\0" * 8


class Receipt(msgspec.Struct, frozen=True):
    """The facts of one decision. ``visitor_tag`` is :func:`visitor_tag` of its visitor, or :data:`ANONYMOUS`.

    ``stage`` tells under which step and on which side of a release it was made (docs/decisions/0006); 0: none.
    ``drawn`` of ``candidates`` independent draws gave this variant; the device chooses between all of them
    (docs/decisions/0028).
    """

    decision_id: UUID
    campaign_id: int
    variant_id: int
    propensity: float
    policy_version: int
    segment: int
    visitor_tag: bytes = ANONYMOUS
    stage: int = 0
    candidates: int = 1
    drawn: int = 1

    @property
    def decided_ms(self) -> int:
        """When it was decided, in Unix milliseconds: the decision id is a UUIDv7."""
        return self.decision_id.int >> 80


class ReceiptBook:
    """Signs and checks receipts with one secret of at least 32 bytes."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < 32:
            raise ValueError("a receipt secret has at least 32 bytes")
        self._secret = secret[:64]
        # Keyed once; each MAC starts from a copy.
        self._keyed = hashlib.blake2b(digest_size=_MAC_BYTES, key=self._secret, person=b"arauto-receipt")

    def __repr__(self) -> str:
        return "ReceiptBook(***)"

    def sign(self, receipt: Receipt) -> str:
        """The receipt as the page carries it: 88 characters of base64url."""
        return self.sign_facts(
            receipt.decision_id.bytes,
            receipt.campaign_id,
            receipt.variant_id,
            receipt.propensity,
            receipt.policy_version,
            receipt.segment,
            receipt.visitor_tag,
            receipt.stage,
            (receipt.candidates, receipt.drawn),
        ).decode("ascii")

    def sign_facts(
        self,
        decision: bytes,
        campaign: int,
        variant: int,
        propensity: float,
        version: int,
        segment: int,
        tag: bytes,
        stage: int = 0,
        of: tuple[int, int] = (1, 1),
    ) -> bytes:
        """:meth:`sign` for the hot path, with no object in between. ``of``: candidates, and drawn."""
        layout = _VERSION
        if of[0] > 1:
            # No candidate is of a release, so their place is free.
            layout, stage = _CANDIDATE, of[0] << 8 | of[1]
        facts = _FACTS.pack(layout, decision, campaign, variant, propensity, version, segment, stage, tag)
        return b2a_base64(facts + self._mac(facts), newline=False).translate(_URL_SAFE)

    def read(self, token: str) -> Receipt:
        """The facts of ``token``.

        Raises:
            ReceiptError: when it is no receipt, or was not signed by us, or was altered.
        """
        if len(token) != _LENGTH:
            raise _not_ours("has the wrong length")
        try:
            raw = urlsafe_b64decode(token)
        except (ValueError, UnicodeError):
            raise _not_ours("is not base64url") from None
        facts, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        # The decoder skips foreign characters, so a shorter result means that the token was altered.
        if len(facts) != _FACTS.size:
            raise _not_ours("is not base64url")
        if not hmac.compare_digest(self._mac(facts), mac):
            raise _not_ours("was not signed by this installation, or was altered")
        version, decision, campaign, variant, propensity, policy, segment, stage, tag = _FACTS.unpack(facts)
        if version not in (_VERSION, _CANDIDATE) or segment >= len(SEGMENTS):
            raise _not_ours("is of another version")
        if version == _CANDIDATE:
            of, drawn = divmod(stage, 256)
            return Receipt(UUID(bytes=decision), campaign, variant, propensity, policy, segment, tag, 0, of, drawn)
        return Receipt(UUID(bytes=decision), campaign, variant, propensity, policy, segment, tag, stage)

    def _mac(self, facts: bytes) -> bytes:
        mac = self._keyed.copy()
        mac.update(facts)
        return mac.digest()

    def visitor_tag(self, visitor: UUID) -> bytes:
        """Eight bytes that tie a receipt to its visitor and say nothing of who it is."""
        return hashlib.blake2b(visitor.bytes, digest_size=8, key=self._secret, person=b"arauto-tag").digest()

    def tomb(self, visitor: UUID) -> str:
        """The keyed hash under which an erased visitor is remembered, so that late events are refused."""
        return hashlib.blake2b(visitor.bytes, digest_size=16, key=self._secret, person=b"arauto-tomb").hexdigest()


def _not_ours(problem: str) -> ReceiptError:
    return ReceiptError(problem, field="receipt", mend="send the receipt that decide answered with, unchanged")
