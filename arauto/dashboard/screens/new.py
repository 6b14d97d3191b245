"""A new campaign: say it in a sentence; drafts to go on with."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from arauto.core.brief import Language
from arauto.core.errors import BriefError
from arauto.creative import language_of, understand
from arauto.dashboard.screen import OWN, Action, Deed, Done, Screen, View
from arauto.loop import NewCampaign, create_campaign

PROMPT_MOST = 2000
OPENINGS: Mapping[str, Language] = {"Anúncio de": "pt-BR", "Anúncio para": "pt-BR", "An ad for": "en"}
_OPENING = re.compile(
    r"^(?:(?:o )?(?:meu|nosso) produto é|(?:a )?(?:minha|nossa) (?:loja|empresa) vende|(?:nós )?vendemos"
    r"|(?:eu )?quer(?:o|emos) (?:anunciar|divulgar)|(?:my|our) (?:product is|(?:shop|company) sells)|we sell"
    r"|(?:i|we) want to (?:advertise|promote))\s+(?:(?:uma?|o|a|meu|minha|nosso|nossa|an?|the|my|our)\s+)?",
    re.IGNORECASE,
)


async def values(view: View) -> dict[str, Any]:
    """The drafts that nobody has launched yet, the newest first."""
    drafts = [one for one in reversed(await view.runtime.store.catalogue.campaigns()) if one.state == "draft"]
    return {"drafts": drafts, "typed": "", "fault": None}


async def start(deed: Deed) -> Done:
    """Understand the sentence and begin a draft of it; what it did not say is asked next."""
    typed = deed.form.get("prompt", "")
    try:
        new = NewCampaign(brief=await asyncio.to_thread(_understood, typed[:PROMPT_MOST]), copies=())
        made = await create_campaign(deed.runtime.store, deed.runtime.settings, new, actor=deed.person.actor)
    except BriefError as fault:
        return Done(shown={"typed": typed, "fault": fault})
    return Done(to=f"{OWN}/campaigns/{made.campaign.id}/brief")


def _understood(typed: str) -> dict[str, str]:
    """The brief of what was typed. Asked what is to be advertised, people begin with the product: then it is read as
    what an advertisement is for."""
    try:
        understand(typed)
    except BriefError:
        rest = _OPENING.sub("", typed.strip())
        # A short text does not say its language surely.
        for opening in sorted(OPENINGS, key=lambda one: OPENINGS[one] != language_of(typed)):
            with suppress(BriefError):
                product = understand(f"{opening} {rest}", OPENINGS[opening]).product
                # A capital that only the beginning of the sentence gave.
                plain = rest.startswith(product) and product[1:] == product[1:].lower()
                return {"prompt": typed, "product": product[:1].lower() + product[1:] if plain else product}
    return {"prompt": typed}


SCREEN = Screen(
    name="new", path=f"{OWN}/new", values=values, role="editor", live=False, actions={"start": Action("editor", start)}
)
