"""What is said once: the facts of a brief, ready to print."""

from __future__ import annotations

from arauto.core import i18n
from arauto.core.brief import Brief, Language, Message, Offer


def compose_message(brief: Brief) -> Message:
    """The facts of ``brief`` as every asset prints them, in the brief's language.

    A claim without evidence is left out: no asset may state it (rule BR-02). An amount needs its currency, which
    :func:`~arauto.core.brief.check_brief` has made sure of.
    """
    offer, language = brief.offer or Offer(), brief.language
    currency = offer.currency or ""
    return Message(
        language=language,
        product=brief.product,
        brand=brief.brand.name if brief.brand else "",
        price="" if offer.price is None else i18n.money(offer.price, currency, language),
        was="" if offer.was is None else i18n.money(offer.was, currency, language),
        discount="" if offer.discount is None else _percent(offer, language),
        deadline="" if offer.deadline is None else i18n.day(offer.deadline, language),
        terms=offer.terms,
        claims=tuple(claim.text for claim in brief.claims if claim.evidence),
        call_to_action=brief.call_to_action or i18n.say(f"writer.cta_{brief.goal}", language),
        link=brief.link,
        disclaimers=brief.disclaimers,
    )


def _percent(offer: Offer, language: Language) -> str:
    """``20%`` or ``12,5%``: as many decimals as were given, two at most."""
    given = (offer.discount or 0) % 1
    decimals = 0 if given == 0 else 1 if given * 10 % 1 == 0 else 2
    return i18n.percent(float(offer.discount or 0) / 100, language, decimals)
