"""The commands on a folder of their own, as a person types them; no server runs."""

from __future__ import annotations

import json
from uuid import UUID, uuid4

import pytest

import arauto
from arauto.core.errors import EventError, NotFoundError

WORDS = "Crie um anúncio digital para um smartwatch focado em saúde, com público-alvo entre 25 e 40 anos."


def test_a_campaign_from_words_to_report(run):
    made = json.loads(run("campaign", "create", WORDS, "--json").stdout)
    assert made["campaign"]["slug"] == "smartwatch"
    assert len({variant["copy"]["title"] for variant in made["variants"]}) >= 4
    shown = run("campaign", "create", "product: chá\nlanguage: pt-BR", "--slug", "cha", "--goal", "purchase").stdout
    assert "arauto campaign launch cha" in shown
    snippet = run("campaign", "launch", "smartwatch").stdout
    assert '<div data-arauto="smartwatch">' in snippet
    assert "arauto.js" in snippet
    run("campaign", "pause", "smartwatch")
    listed = json.loads(run("campaign", "list", "--json").stdout)
    assert {row["slug"]: row["state"] for row in listed} == {"smartwatch": "paused", "cha": "draft"}
    assert "smartwatch" in run("campaign", "list").stdout
    assert "smartwatch" in run("report", "smartwatch").stdout
    assert json.loads(run("report", "smartwatch", "--json").stdout)["totals"]["impressions"] == 0
    told = run("status", "--once").stdout
    assert "smartwatch" in told
    assert [one["slug"] for one in json.loads(run("status", "--json").stdout)] == ["smartwatch", "cha"]
    run("report", "smartwatch", "--html", "report.html")
    run("campaign", "end", "smartwatch")
    assert "ended" in run("campaign", "launch", "smartwatch", code=5).stderr


def test_sites(run):
    allowed = run("site", "allow", "shop", "https://shop.example").stdout
    assert "https://shop.example" in allowed
    sites = json.loads(run("site", "list", "--json").stdout)
    assert ["https://shop.example"] in [site["origins"] for site in sites]
    assert "shop" in run("site", "list").stdout


def test_a_visitor_is_exported_and_erased(run):
    visitor = str(uuid4())
    assert "nothing is kept" in run("visitor", "export", visitor, code=4).stderr
    with arauto.open() as app:
        app.launch(app.create({"product": "chá"}, slug="kept"))
        who = {"visitor": UUID(visitor), "consent": "granted"}
        app.track(app.decide("kept", **who), "impression", **who)
    assert json.loads(run("visitor", "export", visitor).stdout)["visitor"] == visitor
    assert sum(json.loads(run("visitor", "erase", "--yes", visitor).stdout).values()) > 0
    run("visitor", "export", visitor, code=4)
    run("visitor", "export", "not-a-uuid", code=2)


def test_login_prints_a_link(run):
    assert "/login?code=" in run("login").stdout


def test_errors_are_one_line_and_a_code(run):
    missing = run("report", "nothing", code=4)
    assert "Mend:" in missing.stderr
    assert run("campaign", "create", "product: [1", code=2).stderr.startswith("arauto:")
    assert "admin_token" in run("simulate", "smartwatch", code=3).stderr
    assert "datasets pull" in run("replay", "men", code=4).stderr
    assert run("models", "verify", code=7).stderr


def test_writing_without_a_campaign(run):
    written = json.loads(run("write", "--engine", "slot", "--json", "-n", "3", WORDS).stdout)
    assert len(written["variants"]) == 3
    assert set(written["variants"][0]) == {"title", "description", "image_suggestion"}
    assert "slot" in run("write", "--engine", "slot", "-n", "2", WORDS).stdout


def test_what_can_be_fetched(run):
    models = json.loads(run("models", "list", "--json").stdout)
    assert all(model["size"] > 0 for model in models)
    assert "MB" in run("models", "list").stdout
    assert "open-bandit" in run("datasets", "list").stdout
    assert "no" in run("down").stdout.lower()


def test_the_library_alone_runs_the_loop(home):
    with arauto.open(home / "library") as app:
        campaign = app.create({"product": "tea", "language": "en"}, plan=arauto.CampaignPlan(refresh_ms=0, seed=3))
        with pytest.raises(NotFoundError):
            app.decide(campaign)
        app.launch(campaign.slug)
        visitor = uuid4()
        decision = app.decide("tea", visitor=visitor, consent="granted", device="mobile")
        assert app.track(decision, "impression", visitor=visitor, consent="granted").stored == 1
        assert app.track(decision, "impression").duplicates == 1
        bought = app.track(decision, "purchase", value="10.50", currency="BRL", order="1", consent="granted")
        assert bought.stored == 1
        with pytest.raises(EventError) as caught:
            app.track(decision, "purchase", value="10.505", currency="BRL")
        assert "value" in caught.value.field
        totals = app.report(campaign).totals
        assert (totals.impressions, totals.purchases, totals.revenue_cents) == (1, 1, 1050)
        assert app.export_visitor(visitor)["exposures"]
        app.erase_visitor(visitor)
        assert app.report(campaign).totals.impressions == 0
        assert len(app.variants("tea")) >= 4
        with pytest.raises(NotFoundError):
            app.campaign("coffee")
