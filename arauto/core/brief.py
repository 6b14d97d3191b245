"""What the marketer says (Brief) and what is said once and rendered everywhere (Message)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from arauto.core.door import clean_text, from_data
from arauto.core.errors import BriefError, InputError

Language = Literal["pt-BR", "en"]

Name = Annotated[str, Meta(min_length=1, max_length=80)]
Line = Annotated[str, Meta(min_length=1, max_length=200)]
Paragraph = Annotated[str, Meta(max_length=2000)]
Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$")]
MAX_AMOUNT = 1_000_000_000
FileName = Annotated[str, Meta(max_length=200)]
Slug = Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9-]{0,63}$")]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A piece of a brief: immutable, and a misspelt field is an error."""


class Brand(_Part, frozen=True, kw_only=True):
    """Who speaks. ``fonts`` are family names, display first; ``logo`` is a file beside the brief."""

    name: Name
    colours: Annotated[tuple[Annotated[str, Meta(pattern="^#[0-9a-fA-F]{6}$")], ...], Meta(max_length=8)] = ()
    fonts: Annotated[tuple[Name, ...], Meta(max_length=2)] = ()
    logo: FileName = ""


class Style(_Part, frozen=True, kw_only=True):
    """How the brand speaks: the controls of a prompt, in words that a marketer has.

    ``voice`` is free ("as a trainer who never shouts"); ``words_to_use`` are liked when texts are ranked; ``examples``
    are ads of the brand's own past, to be followed and never copied.
    """

    voice: Annotated[str, Meta(max_length=200)] = ""
    formality: Literal["casual", "neutral", "formal"] = "neutral"
    energy: Literal["calm", "balanced", "lively"] = "balanced"
    reading_level: Literal["simple", "plain", "rich"] = "plain"
    words_to_use: Annotated[tuple[Name, ...], Meta(max_length=50)] = ()
    examples: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=500)], ...], Meta(max_length=12)] = ()


class Offer(_Part, frozen=True, kw_only=True):
    """What is on the table. Prices are in units of ``currency`` (ISO 4217), ``discount`` is in percent."""

    price: Decimal | None = None
    was: Decimal | None = None
    currency: Currency | None = None
    discount: Decimal | None = None
    deadline: date | None = None
    terms: Annotated[str, Meta(max_length=300)] = ""


class Claim(_Part, frozen=True, kw_only=True):
    """A statement of fact, and where its proof is (CDC art. 36; rule BR-02)."""

    text: Line
    evidence: Annotated[str, Meta(max_length=500)] = ""


class Brief(_Part, frozen=True, kw_only=True):
    """What to make, for whom and why. ``prompt`` holds the marketer's own free words; the other fields win over it.

    ``channels`` are the placements that a kit is made for (empty: all). ``pictures`` and ``footage`` are the marketer's
    own files, named relative to the brief's folder; only a kit made on the same machine reads them.
    """

    product: Name
    language: Language = "pt-BR"
    prompt: Paragraph = ""
    description: Paragraph = ""
    focus: Annotated[str, Meta(max_length=120)] = ""
    benefits: Annotated[tuple[Line, ...], Meta(max_length=12)] = ()
    audience: Annotated[str, Meta(max_length=200)] = ""
    age_range: tuple[int, int] | None = None
    goal: Literal["click", "purchase", "rating"] = "click"
    tone: Annotated[str, Meta(max_length=200)] = ""
    brand: Brand | None = None
    offer: Offer | None = None
    claims: Annotated[tuple[Claim, ...], Meta(max_length=12)] = ()
    call_to_action: Annotated[str, Meta(max_length=40)] = ""
    link: Annotated[str, Meta(max_length=2000)] = ""
    image_hint: Annotated[str, Meta(max_length=300)] = ""
    disclaimers: Annotated[tuple[Line, ...], Meta(max_length=8)] = ()
    words_to_avoid: Annotated[tuple[Name, ...], Meta(max_length=50)] = ()
    style: Style | None = None
    channels: Annotated[tuple[Name, ...], Meta(max_length=20)] = ()
    pictures: Annotated[tuple[FileName, ...], Meta(max_length=20)] = ()
    footage: Annotated[tuple[FileName, ...], Meta(max_length=20)] = ()


class Message(_Part, frozen=True, kw_only=True):
    """What is said once. Every asset takes these facts from here; a model never writes them (architecture, decision 6).

    The facts are ready to print in the brief's language: ``price`` is ``"R$ 1.299,90"``, not a number.
    """

    language: Language
    product: str
    brand: str = ""
    price: str = ""
    was: str = ""
    discount: str = ""
    deadline: str = ""
    terms: str = ""
    claims: tuple[str, ...] = ()
    call_to_action: str
    link: str = ""
    disclaimers: tuple[str, ...] = ()


def check_brief(brief: Brief) -> Brief:
    """The rules that types cannot state. Returns the brief with its texts stripped, or raises :class:`BriefError`."""
    cleaned = _clean(brief, "")
    if cleaned.age_range is not None:
        low, high = cleaned.age_range
        if not 0 <= low <= high <= 120:
            raise BriefError(
                f"is {low} to {high}", field="age_range", mend="give the lower age first, both between 0 and 120"
            )
    if cleaned.link:
        check_link(cleaned.link, "link")
    if cleaned.offer is not None:
        _check_offer(cleaned.offer)
    return cleaned


def check_link(link: str, field: str) -> str:
    """An absolute http(s) URL, so that a click can never run a script."""
    try:
        parts = urlsplit(link)
        host = parts.hostname
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not host or any(c.isspace() or c in "<>\"'" for c in link):
        raise BriefError(
            f"{link[:80]!r} is not a web address", field=field, mend="give an absolute URL that starts with https://"
        )
    return link


def check_amount(amount: Decimal, field: str, error: type[InputError]) -> int:
    """An amount of money in cents: finite, from 0 to a billion, at most two decimals."""
    if not amount.is_finite() or not 0 <= amount <= MAX_AMOUNT:
        raise error(f"is {amount}", field=field, mend=f"give an amount from 0 to {MAX_AMOUNT}")
    cents = amount * 100
    if cents != cents.to_integral_value():
        raise error(f"{amount} has more than two decimals", field=field, mend="round it to cents")
    return int(cents)


def _check_offer(offer: Offer) -> None:
    for name in ("price", "was"):
        amount = getattr(offer, name)
        if amount is None:
            continue
        check_amount(amount, f"offer.{name}", BriefError)
        if amount == 0:
            raise BriefError("is zero", field=f"offer.{name}", mend="leave it out when there is no price")
        if offer.currency is None:
            raise BriefError("is missing", field="offer.currency", mend="add the ISO 4217 code, such as BRL or USD")
    if offer.discount is not None and not (offer.discount.is_finite() and 0 < offer.discount <= 100):
        raise BriefError(
            f"is {offer.discount}", field="offer.discount", mend="give a percentage above 0 and at most 100"
        )
    if offer.was is not None and (offer.price is None or offer.was <= offer.price):
        raise BriefError(
            "is not above the price", field="offer.was", mend="give the earlier, higher price, or leave it out"
        )


def _clean(value: Brief, path: str) -> Brief:
    """Strip every text of the brief, refusing control characters with the path of the field."""
    data = _clean_data(msgspec.to_builtins(value, builtin_types=(Decimal, date)), path)
    return from_data(data, Brief, error=BriefError)


def _clean_data(value: object, path: str) -> object:
    if isinstance(value, str):
        return clean_text(value, path, error=BriefError)
    if isinstance(value, dict):
        return {key: _clean_data(item, f"{path}.{key}" if path else key) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean_data(item, f"{path}[{place}]") for place, item in enumerate(value)]
    return value
