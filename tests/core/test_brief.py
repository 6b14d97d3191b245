from datetime import date
from decimal import Decimal

import pytest

from arauto.core.brief import Brand, Brief, Claim, Offer, check_amount, check_brief
from arauto.core.errors import BriefError, EventError


def test_a_good_brief_comes_back_stripped_and_equal():
    brief = Brief(
        product="  Café do Cerrado ",
        brand=Brand(name="Serra", colours=("#0a7f3f",)),
        offer=Offer(price=Decimal("29.90"), was=Decimal("39.9"), currency="BRL", deadline=date(2026, 12, 24)),
        claims=(Claim(text="Torrado toda semana", evidence="laudo 12/2026"),),
        age_range=(25, 40),
        link="https://example.com/cafe?x=1",
    )
    checked = check_brief(brief)
    assert checked.product == "Café do Cerrado"
    assert checked.offer == brief.offer
    assert check_brief(checked) == checked


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"product": "  "}, "product"),
        ({"product": "a\x07"}, "product"),
        ({"age_range": (40, 25)}, "age_range"),
        ({"age_range": (-1, 25)}, "age_range"),
        ({"link": "javascript:alert(1)"}, "link"),
        ({"link": "//example.com"}, "link"),
        ({"link": "https://exa mple.com"}, "link"),
        ({"link": "http://[::1"}, "link"),
        ({"offer": Offer(price=Decimal("9.999"), currency="BRL")}, "offer.price"),
        ({"offer": Offer(price=Decimal("NaN"), currency="BRL")}, "offer.price"),
        ({"offer": Offer(price=Decimal("-1"), currency="BRL")}, "offer.price"),
        ({"offer": Offer(price=Decimal("0"), currency="BRL")}, "offer.price"),
        ({"offer": Offer(price=Decimal("10"))}, "offer.currency"),
        ({"offer": Offer(price=Decimal("10"), was=Decimal("9"), currency="BRL")}, "offer.was"),
        ({"offer": Offer(discount=Decimal("101"))}, "offer.discount"),
        ({"offer": Offer(discount=Decimal("Infinity"))}, "offer.discount"),
        ({"claims": (Claim(text="ok"), Claim(text="mau\u202e"))}, "claims[1].text"),
    ],
)
def test_a_bad_brief_names_its_field(change, field):
    with pytest.raises(BriefError) as caught:
        check_brief(Brief(**{"product": "relógio", **change}))
    assert caught.value.field == field
    assert caught.value.mend


def test_money_becomes_whole_cents():
    assert check_amount(Decimal("1299.90"), "value", EventError) == 129_990
    assert check_amount(Decimal("1E+2"), "value", EventError) == 10_000
    with pytest.raises(EventError, match="1000000000"):
        check_amount(Decimal("1E+20"), "value", EventError)
