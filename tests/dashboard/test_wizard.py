"""From an empty database to a launched campaign, over the pages' forms."""

import re

import pytest

from arauto.core.brief import Brief
from arauto.dashboard.brief_form import FIELDS, form_of, read_form
from arauto.dashboard.screens.launch import _origin
from arauto.dashboard.words import RefusedError
from arauto.loop import register_jobs
from tests.dashboard.conftest import HOST
from tests.dashboard.test_app import launch

FROM_HERE = {"Origin": HOST}
PROMPT = "Crie um anúncio para um smartwatch focado em saúde, de R$ 1.299,90, até 30/11/2027."
SCRIPT = "<script>alert(1)</script>"


async def begin(web, prompt=PROMPT):
    answer = await web.post("/dashboard/new/start", data={"prompt": prompt}, headers=FROM_HERE)
    assert answer.status_code == 303, answer.text
    return re.search(r"/campaigns/(\d+)/brief", answer.headers["location"])[1]


async def send(web, path, **fields):
    return await web.post(path, data=fields, headers=FROM_HERE, follow_redirects=True)


async def test_a_campaign_goes_from_a_sentence_to_a_page_that_shows_it(inside, runtime):
    web, store = inside, runtime.store
    assert "No draft is open" in (await web.get("/dashboard/new")).text
    number = await begin(web)
    at = f"/dashboard/campaigns/{number}"
    page = await web.get(f"{at}/brief")
    assert 'value="1299,90"' in page.text
    form = form_of((await store.catalogue.campaign(int(number))).brief)
    typed = {**form, "link": "shop.example", "offer.was": "1"}
    await send(web, f"{at}/brief/keep", **typed)
    page = await web.get(f"{at}/brief")
    assert 'value="shop.example"' in page.text
    assert "Give the whole address" in page.text
    assert "Fields to mend: 2" in page.text
    refused = await send(web, f"{at}/brief/apply", **typed)
    assert refused.status_code == 422
    assert "fields to mend, 2" in refused.text
    texts = await send(web, f"{at}/brief/apply", **{**form, "link": "https://shop.example"})
    assert texts.url.path == f"{at}/texts"
    assert "Texts to be shown: 4 of 4" in texts.text
    assert (await store.catalogue.campaign(int(number))).brief.link == "https://shop.example"

    bad = {
        "variant": "a",
        "title": "O melhor smartwatch do mundo",
        "description": "Um smartwatch.",
        "image_suggestion": "Um pulso",
    }
    await send(web, f"{at}/texts/keep", **bad)
    assert "O melhor smartwatch do mundo" in (await web.get(f"{at}/texts")).text
    refused = await send(web, f"{at}/texts/save", **bad)
    assert refused.status_code == 422
    assert "A superlative without evidence" in refused.text
    good = {
        "variant": "a",
        "title": "Smartwatch que acompanha você",
        "description": "O smartwatch que cabe na sua rotina.",
        "image_suggestion": "Pessoa correndo num parque com um relógio no pulso",
    }
    assert "Saved" in (await send(web, f"{at}/texts/save", **good)).text
    out = await send(web, f"{at}/texts/choose", variant="d", **{"in": "no"})
    assert "Texts to be shown: 3 of 4" in out.text
    typed = await send(web, f"{at}/texts/choose", **{**good, "variant": "d", "title": "Meio escrito", "in": "no"})
    assert 'value="Meio escrito"' in typed.text, "an edit stays that was not kept yet"
    kept = await store.catalogue.variants(int(number))
    assert kept[0].copy.title == good["title"]
    assert kept[0].origin.engine == "given"

    plan = {"allocation": "thompson", "assignment": "decision", "holdout": "0", "attribution": "7", "ramp": "steps", "baseline": "a",  # noqa: E501
            "steps": "10 50 100", "budget": "5", "rails": "ctr"}  # fmt: skip
    refused = await send(web, f"{at}/plan/apply", **{**plan, "steps": "50 10"})
    assert refused.status_code == 422
    assert "Rising percentages that end in 100" in refused.text
    over = await send(web, f"{at}/plan/apply", **plan)
    assert over.url.path == f"{at}/launch"
    assert "text a for all; others coming in: 2" in over.text
    live = await send(web, f"{at}/launch/go")
    assert "The campaign is live" in live.text
    assert "data-arauto=" in live.text
    assert "Waiting for the first impression" in live.text
    rollout = await store.rollouts.latest(int(number))
    assert len(rollout.candidates) == 2
    assert (await send(web, f"{at}/launch/go")).status_code == 422
    allowed = await send(web, f"{at}/launch/site", origin="www.shop.example/watches?a=1")
    assert "https://www.shop.example</code>" in allowed.text
    assert (await send(web, f"{at}/launch/site", origin="javascript:alert(1)")).status_code == 422


async def test_texts_of_the_engine_come_in_while_one_looks(inside, runtime):
    number = await begin(inside)
    at = f"/dashboard/campaigns/{number}"
    form = form_of((await runtime.store.catalogue.campaign(int(number))).brief)
    await send(inside, f"{at}/brief/apply", **form)
    said = await send(inside, f"{at}/texts/more", amount="2", by="engine")
    assert "waiting for its turn" in said.text
    settings = runtime.settings
    register_jobs(runtime.store, settings)
    await runtime.store.jobs.run_worker(wait=False)
    after = await inside.get(f"{at}/texts")
    assert "Writing texts:</b> done" in after.text
    assert "of 6" in after.text
    more = await send(inside, f"{at}/texts/more", amount="2", by="patterns")
    assert "of 8" in more.text
    assert (await send(inside, f"{at}/texts/more", amount="99")).status_code == 422


async def test_a_script_in_any_field_stays_text(inside, runtime):
    number = await begin(inside)
    at = f"/dashboard/campaigns/{number}"
    nasty = {name: f"{SCRIPT}{name}" for name in FIELDS}
    await send(inside, f"{at}/brief/keep", **nasty)
    await send(inside, f"{at}/texts/keep", variant="new", title=SCRIPT, description=SCRIPT, image_suggestion=SCRIPT)
    await send(
        inside,
        f"{at}/plan/keep",
        ramp="steps",
        steps=SCRIPT,
        budget=SCRIPT,
        holdout=SCRIPT,
        baseline=SCRIPT,
        attribution=SCRIPT,
    )
    free = {name: f"{SCRIPT}{name}" for name in ("product", "focus", "audience", "tone", "description", "benefits")}
    brief = form_of((await runtime.store.catalogue.campaign(int(number))).brief)
    await send(inside, f"{at}/brief/apply", **{**brief, **free})
    for step in ("brief", "texts", "plan", "launch"):
        page = await inside.get(f"{at}/{step}")
        assert page.status_code == 200
        assert SCRIPT not in page.text, step
    for path in ("/dashboard", "/dashboard/new", at):
        assert SCRIPT not in (await inside.get(path)).text
    answer = await send(inside, "/dashboard/new/start", prompt=SCRIPT)
    assert SCRIPT not in answer.text


async def test_what_is_launched_no_longer_changes_here(inside, runtime):
    campaign = await launch(runtime)
    at = f"/dashboard/campaigns/{campaign.id}"
    form = form_of(campaign.brief)
    assert (await send(inside, f"{at}/brief/apply", **form)).status_code == 409
    for action, fields in (
        ("texts/save", {"variant": "a", "title": "t"}),
        ("texts/choose", {"variant": "a", "in": "no"}),
        ("texts/more", {"amount": "2"}),
        ("launch/go", {}),
    ):
        assert (await send(inside, f"{at}/{action}", **fields)).status_code == 422, action
    assert "through a release" in (await inside.get(f"{at}/texts")).text


async def test_a_sentence_that_names_nothing_is_asked_again(inside):
    answer = await send(inside, "/dashboard/new/start", prompt="   ")
    assert "does not say what is being advertised" in answer.text
    assert (await send(inside, "/dashboard/campaigns/9/brief/keep", product="x")).status_code == 404


FULL = Brief(
    product="watch", benefits=("a", "b"), age_range=(25, 40), link="https://a.example", words_to_avoid=("cheap",)
)


def test_a_form_gives_back_the_brief_it_was_made_of():
    assert read_form(form_of(FULL), FULL) == (FULL, {})


@pytest.mark.parametrize(
    ("name", "typed", "faulty"),
    [
        ("product", "", "product"), ("link", "javascript:alert(1)", "link"), ("age_low", "60", "age_low"), ("age_low", "x", "age_low"),  # noqa: E501
        ("offer.price", "12,345", "offer.price"), ("offer.price", "10", "offer.currency"), ("offer.currency", "real", "offer.currency"),  # noqa: E501
        ("offer.discount", "200", "offer.discount"), ("offer.deadline", "soon", "offer.deadline"), ("brand.colours", "red", "brand.colours"),  # noqa: E501
        ("claims", "| proof", "claims"), ("goal", "fame", "goal"), ("focus", "\u202e", "focus"),
    ],
)  # fmt: skip
def test_each_fault_is_told_at_its_field(name, typed, faulty):
    _, faults = read_form(form_of(FULL) | {name: typed}, FULL)
    assert faulty in faults


def test_many_faults_are_told_at_once():
    brief, faults = read_form(form_of(FULL) | {"link": "x", "age_high": "500", "goal": "fame"}, FULL)
    assert set(faults) == {"link", "age_low", "goal"}
    assert brief.product == "watch"


@pytest.mark.parametrize(
    ("typed", "language", "price"),
    [
        ("1.299,90", "pt-BR", "1299.90"), ("1,299.90", "pt-BR", "1299.90"), ("R$ 99", "pt-BR", "99"),
        ("1.299", "pt-BR", "1299"), ("1299,9", "en", "1299.9"), ("1,299", "en", "1299"),
        ("1,299,000.5", "en", "1299000.5"),
    ],
)  # fmt: skip
def test_amounts_are_read_as_either_language_writes_them(typed, language, price):
    form = form_of(FULL) | {"offer.price": typed, "offer.currency": "brl", "language": language}
    brief, faults = read_form(form, FULL)
    assert not faults
    assert str(brief.offer.price) == price


@pytest.mark.parametrize(
    ("typed", "origin"),
    [("https://Shop.example/x", "https://shop.example"), ("shop.example:8080", "https://shop.example:8080"), ("http://[::1]:80/", "http://[::1]:80")],  # noqa: E501
)  # fmt: skip
def test_an_address_becomes_an_origin(typed, origin):
    assert _origin(typed) == origin


@pytest.mark.parametrize("typed", ["", "ftp://a", "https://a b", "https://é.example", "https://a:x"])
def test_what_is_no_address_is_refused(typed):
    with pytest.raises(RefusedError):
        _origin(typed)


async def test_a_draft_is_launched_as_its_plan_says(inside, runtime):
    number = await begin(inside)
    path = f"/dashboard/campaigns/{number}"
    form = form_of((await runtime.store.catalogue.campaign(int(number))).brief)
    await send(inside, f"{path}/brief/apply", **form)
    page = (await inside.get(path)).text
    assert f'href="{path}/launch"' in page
    assert 'value="live"' not in page
    await runtime.store.forms.keep(int(number), "plan", {"ramp": "steps", "steps": "5 100"})
    done = await inside.post(f"{path}/state", data={"state": "live"}, headers=FROM_HERE)
    assert done.headers["location"].endswith("?done=launched")
    states = [one.state for one in await runtime.store.catalogue.variants(int(number))]
    assert states.count("live") == 1
    assert "Hold here" in (await inside.get(f"{path}/rollout")).text


@pytest.mark.parametrize(
    ("typed", "product"),
    [
        ("Crie um anúncio para um smartwatch focado em saúde.", "smartwatch"),
        ("Assinatura de café, R$ 49,90 por mês, até 24/12/2027.", "assinatura de café"),
        ("Minha loja vende bolsas de couro", "bolsas de couro"),
        ("Quero anunciar meu curso de violão", "curso de violão"),
        ("We sell handmade leather bags", "handmade leather bags"),
    ],
)
async def test_a_sentence_may_begin_with_the_product(inside, runtime, typed, product):
    number = await begin(inside, typed)
    brief = (await runtime.store.catalogue.campaign(int(number))).brief
    assert (brief.product, brief.prompt) == (product, typed)


async def test_a_draft_is_discarded(inside, runtime):
    path = f"/dashboard/campaigns/{await begin(inside)}"
    assert "Discard the draft" in (await inside.get(path)).text
    assert (await send(inside, f"{path}/state", state="ended")).status_code == 422
    done = await inside.post(f"{path}/state", data={"state": "ended", "sure": "yes"}, headers=FROM_HERE)
    assert done.headers["location"] == f"{path}?done=campaign_ended"
    assert "No draft is open" in (await inside.get("/dashboard/new")).text


async def test_what_a_thousand_impressions_cost_is_part_of_the_plan(inside, runtime):
    number = await begin(inside)
    at = f"/dashboard/campaigns/{number}"
    await send(inside, f"{at}/brief/apply", **form_of((await runtime.store.catalogue.campaign(int(number))).brief))
    plan = {"allocation": "thompson", "assignment": "decision", "holdout": "0", "attribution": "7", "ramp": "all"}
    refused = await send(inside, f"{at}/plan/apply", **plan, cpm="dear")
    assert "zero to a million" in refused.text
    await send(inside, f"{at}/plan/apply", **plan, cpm="18,50")
    assert (await runtime.store.catalogue.campaign(int(number))).plan.cpm == 18.5
