"""A new campaign: say it in a sentence; drafts to go on with."""

from __future__ import annotations

from typing import Any

from arauto.core.errors import BriefError
from arauto.dashboard.screen import OWN, Action, Deed, Done, Screen, View
from arauto.loop import NewCampaign, create_campaign

PROMPT_MOST = 2000


async def values(view: View) -> dict[str, Any]:
    """The drafts that nobody has launched yet, the newest first."""
    drafts = [one for one in reversed(await view.runtime.store.catalogue.campaigns()) if one.state == "draft"]
    return {"drafts": drafts, "typed": "", "fault": None}


async def start(deed: Deed) -> Done:
    """Understand the sentence and begin a draft of it; what it did not say is asked next."""
    typed = deed.form.get("prompt", "")
    try:
        new = NewCampaign(brief={"prompt": typed[:PROMPT_MOST]}, copies=())
        made = await create_campaign(deed.runtime.store, deed.runtime.settings, new, actor=deed.person.actor)
    except BriefError as fault:
        return Done(shown={"typed": typed, "fault": fault})
    return Done(to=f"{OWN}/campaigns/{made.campaign.id}/brief")


SCREEN = Screen(
    name="new", path=f"{OWN}/new", values=values, role="editor", live=False, actions={"start": Action("editor", start)}
)
