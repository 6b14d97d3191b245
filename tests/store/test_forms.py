"""Half-filled forms, and drafts that change until they are launched."""

import pytest

from arauto.core.brief import Brief, Message
from arauto.core.campaign import CampaignPlan, Copy, Origin
from arauto.core.errors import ConflictError, NotFoundError

BRIEF, OTHER = Brief(product="watch"), Brief(product="clock", goal="purchase")
MESSAGE = Message(language="en", product="watch", call_to_action="Look")
GIVEN = Origin(engine="given")


def copy(title):
    return Copy(title=title, description="d", image_suggestion="i")


@pytest.fixture
async def draft(store):
    site = await store.catalogue.ensure_site("shop")
    made = await store.catalogue.create_campaign(site.id, "watch", "watch", BRIEF, MESSAGE, CampaignPlan(), "test")
    await store.catalogue.add_kit(made.id, [(copy(title), GIVEN) for title in "xy"], {}, "test")
    return made


async def test_a_form_is_kept_for_whoever_goes_on(store, draft):
    assert await store.forms.get(draft.id) == {}
    await store.forms.keep(draft.id, "brief", {"product": "wat\0ch"})
    await store.forms.keep(draft.id, "brief", {"product": "clock"})
    await store.forms.keep(draft.id, "text:a", {"title": "<b>"})
    assert await store.forms.get(draft.id) == {"brief": {"product": "clock"}, "text:a": {"title": "<b>"}}
    await store.forms.drop(draft.id, "brief")
    assert list(await store.forms.get(draft.id)) == ["text:a"]
    await store.forms.keep(draft.id, "brief", {"product": "wat\0ch"})
    assert (await store.forms.get(draft.id))["brief"] == {"product": "watch"}
    for nobody in (0, 999, 2**40):
        with pytest.raises(NotFoundError):
            await store.forms.keep(nobody, "brief", {})


async def test_a_draft_changes_and_what_was_launched_does_not(store, draft):
    catalogue = store.catalogue

    async def change(number):
        plan = CampaignPlan(goal="purchase", attribution_ms=3_600_000)
        return await catalogue.change_draft(number, name="clock", brief=OTHER, message=MESSAGE, plan=plan, actor="test")

    changed = await change(draft.id)
    assert (changed.name, changed.brief, changed.plan.goal) == ("clock", OTHER, "purchase")
    edited = await catalogue.change_copy(draft.id, "a", copy("z"), GIVEN, "test")
    assert (edited.name, edited.copy.title) == ("a", "z")
    with pytest.raises(ConflictError, match="has that text already"):
        await catalogue.change_copy(draft.id, "a", copy("y"), GIVEN, "test")
    with pytest.raises(NotFoundError, match="has no variant"):
        await catalogue.change_copy(draft.id, "q", copy("q"), GIVEN, "test")
    told = [entry.action for entry in await catalogue.audit_log(2)]
    assert told == ["variant.change", "campaign.change"]
    for nobody in (0, 999):
        with pytest.raises(NotFoundError, match="no campaign"):
            await change(nobody)
        with pytest.raises(NotFoundError, match="no campaign"):
            await catalogue.change_copy(nobody, "a", copy("q"), GIVEN, "test")
    await catalogue.set_campaign_state(draft.id, "live", "test")
    with pytest.raises(ConflictError, match="is live"):
        await change(draft.id)
    with pytest.raises(ConflictError, match="is live"):
        await catalogue.change_copy(draft.id, "a", copy("q"), GIVEN, "test")
    assert (await catalogue.variants(draft.id))[0].copy.title == "z"
