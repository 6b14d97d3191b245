from base64 import urlsafe_b64decode, urlsafe_b64encode
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arauto.core.errors import ReceiptError
from arauto.core.events import SEGMENTS
from arauto.core.ids import uuid7, uuid7_ms
from arauto.core.receipts import ANONYMOUS, Receipt, ReceiptBook

BOOK = ReceiptBook(b"a secret of the test, 32 bytes or more")

receipts = st.builds(
    Receipt,
    decision_id=st.integers(0, 2**48 - 1).map(uuid7),
    campaign_id=st.integers(0, 2**32 - 1),
    variant_id=st.integers(0, 2**32 - 1),
    propensity=st.floats(0, 1),
    policy_version=st.integers(0, 2**32 - 1),
    segment=st.integers(0, len(SEGMENTS) - 1),
    visitor_tag=st.binary(min_size=8, max_size=8),
    stage=st.integers(0, 2**32 - 1),
)


@given(receipts)
def test_a_receipt_reads_back(receipt):
    token = BOOK.sign(receipt)
    assert len(token) == 88
    assert BOOK.read(token) == receipt
    assert receipt.decided_ms == uuid7_ms(receipt.decision_id)


@given(receipts, st.integers(0, 66 * 8 - 1))
def test_any_flipped_bit_is_refused(receipt, bit):
    raw = bytearray(urlsafe_b64decode(BOOK.sign(receipt)))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ReceiptError):
        BOOK.read(urlsafe_b64encode(raw).decode())


@given(st.text(max_size=100) | st.text("ABCab01-_=+/ ", min_size=88, max_size=88))
def test_noise_is_refused(token):
    with pytest.raises(ReceiptError) as caught:
        BOOK.read(token)
    assert caught.value.field == "receipt"


def test_another_secret_is_refused():
    token = ReceiptBook(b"another secret, also of 32 bytes ...").sign(Receipt(uuid7(), 1, 2, 0.5, 3, 0))
    with pytest.raises(ReceiptError, match="not signed by this installation"):
        BOOK.read(token)


def test_a_short_secret_is_a_programming_error():
    with pytest.raises(ValueError, match="32 bytes"):
        ReceiptBook(b"short")


def test_a_segment_of_a_later_version_is_refused():
    with pytest.raises(ReceiptError, match="another version"):
        BOOK.read(BOOK.sign(Receipt(uuid7(), 1, 2, 0.5, 3, len(SEGMENTS))))


def test_visitors_leave_only_keyed_hashes():
    visitor = uuid4()
    assert BOOK.visitor_tag(visitor) != ANONYMOUS
    assert len(BOOK.tomb(visitor)) == 32
    assert BOOK.tomb(visitor) != ReceiptBook(b"another secret, also of 32 bytes ...").tomb(visitor)
    assert "secret" not in repr(BOOK)
