"""Pages and files made of a report."""

import csv
import io
import re
from html.parser import HTMLParser
from typing import get_args

import pytest

from arauto.core.campaign import CampaignState, Goal
from arauto.core.events import SEGMENTS
from arauto.core.i18n import LANGUAGES
from arauto.dashboard import render_demo, render_report_html
from arauto.dashboard.pages import file
from arauto.dashboard.report import page_of, shares_csv, variants_csv
from arauto.dashboard.words import Words
from arauto.loop.report import Estimate
from tests.dashboard import made

VOID = {"meta", "link", "input", "br", "img"}


class Page(HTMLParser):
    """What a reader sees, what a page would fetch, and whether its elements are well nested."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(html)
        assert self.open == []
        self.text = re.sub(r"\s+", " ", " ".join(self.texts))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script", "title"} & set(self.open):
            self.texts.append(data)


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("pt-BR", ["3.234", "170", "5,26%", "R$ 2.697,00", "simulado", "escrito por modelos de frase", "celular"]),
        ("en", ["3,234", "170", "5.26%", "R$2,697.00", "simulated", "written by local: small-model", "phone"]),
    ],
)
def test_a_report_says_its_numbers_in_the_language(language, said):
    page = Page(render_report_html(made.busy(simulated=True), language))
    for words in said:
        assert words in page.text
    assert ("html", {"lang": language}) in page.tags


@pytest.mark.parametrize("goal", ["click", "purchase", "rating"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_goal_has_its_chart_with_the_same_numbers_in_words_and_table(goal, language):
    report = made.busy(goal=goal)
    rates = page_of(report, Words(language))["rates"]
    page = Page(str(rates.wide))
    label = next(attributes["aria-label"] for tag, attributes in page.tags if tag == "svg")
    assert len(rates.rows) == 2
    for row in rates.rows:
        assert f"{row['name']}: {row['text']} (" in label
        assert row["text"] in page.text


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_report_of_nothing_explains_itself(language):
    words = Words(language)
    nothing = Page(render_report_html(made.report(variants=[]), language))
    assert words("no_variants") in nothing.text
    assert words("rates_empty") in nothing.text
    assert words("shares_empty") in nothing.text
    assert not [tag for tag, attributes in nothing.tags if "chart" in (attributes.get("class") or "")]
    assert words("rates_empty_rating") in Page(render_report_html(made.report(goal="rating"), language)).text


def test_a_report_file_needs_nothing_else():
    page = Page(render_report_html(made.busy(), "en"))
    assert not [tag for tag, attributes in page.tags if {"src", "href", "action"} & attributes.keys()]
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "img")]


def test_the_word_simulated_is_there_only_when_it_is():
    assert "simulated" not in Page(render_report_html(made.busy(), "en")).text


def test_copy_is_escaped_everywhere():
    evil = "<script>alert(1)</script>\"'"
    variants = [made.variant(0, title=evil, description=evil, image_suggestion=evil, name="<i>"), made.variant(1)]
    html = render_report_html(
        made.report(variants=variants, rows=[made.totals(0, 10, 1)], history=[made.weights(0, 0.5, 0.5)]), "en"
    )
    assert "<script" not in html
    assert "<i>" not in html
    assert "<script>alert(1)</script>" in Page(html).text


@pytest.mark.parametrize(("state", "told"), [("retired", "retired"), ("staged", "staged")])
def test_a_variant_that_is_not_live_says_so(state, told):
    variants = [made.variant(0), made.variant(1, state=state)]
    html = render_report_html(made.report(variants=variants, rows=[made.totals(1, 10, 1)]), "en")
    assert Page(html).text.count(told) == 2


def read(body):
    return list(csv.DictReader(io.StringIO(body.decode())))


def test_the_comparison_as_a_file():
    first, second = read(variants_csv(made.busy()))
    assert (first["variant"], first["impressions"], first["revenue"], first["currency"]) == (
        "a",
        "1234",
        "2697.00",
        "BRL",
    )
    assert float(second["ctr"]) == pytest.approx(0.065)
    assert float(second["ctr_low"]) < 0.065 < float(second["ctr_high"])
    assert float(first["load_p75_ms"]) > 0
    assert second["load_p75_ms"] == ""


def test_a_title_is_no_formula():
    (line,) = read(variants_csv(made.report(variants=[made.variant(0, title="=HYPERLINK(1)")])))
    assert line["title"] == "'=HYPERLINK(1)"
    assert line["ctr"] == ""


def test_the_shares_as_a_file():
    lines = read(shares_csv(made.busy()))
    assert [(line["a"], line["b"]) for line in lines] == [("0.5", "0.5"), ("0.3", "0.7"), ("0.1", "0.9")]
    assert lines[0]["at"].endswith("+00:00")


def test_a_long_history_is_drawn_in_few_points_the_last_among_them():
    many = made.report(
        rows=[made.totals(0, 9, 1)], history=[made.weights(n / 100, 1 - n / 999, n / 999) for n in range(900)]
    )
    shares = page_of(many, Words("en"))["shares"]
    assert str(shares.wide).count("V") < 130 * 2 * 2
    assert shares.rows[0]["shares"][1] == "90.0%"


def test_words_write_what_is_not_there():
    words = Words("en")
    assert [words.rate(None), words.mean(None), words.percent(None), words.milliseconds(None), words.chance(None)] == [
        "–"
    ] * 5
    assert words.rate_interval(None) == words.mean_interval(None) == words.time_interval(None) == ""
    assert (words.chance(0.00001), words.chance(0.5), words.chance(0.99999)) == ("< 0.1%", "50.0%", "> 99.9%")
    assert (words.milliseconds(85), words.milliseconds(1234)) == ("85 ms", "1.23 s")
    assert [words.elapsed(s) for s in (0, 30, 300, 7200, 172_800, 90)] == ["0", "30 s", "5 min", "2 h", "2 d", "90 s"]
    assert words.mean_interval(Estimate(4, 3.5, 4.5)) == "3.50 to 4.50"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_segment_state_and_goal_has_its_word(language):
    words = Words(language)
    keys = [f"segment_{segment}" for segment in SEGMENTS]
    keys += [f"state_{state}" for state in get_args(CampaignState)] + [f"goal_{goal}" for goal in get_args(Goal)]
    assert len({words(key) for key in keys}) == len(keys)


def luminance(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def palettes():
    pairs = re.findall(r"--(\w[\w-]*): light-dark\((#[0-9a-f]+), (#[0-9a-f]+)\)", file("dashboard.css").decode())
    return {"light": {name: one for name, one, _ in pairs}, "dark": {name: one for name, _, one in pairs}}


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_colours_have_the_contrast_that_wcag_aa_asks_for(mode):
    colours = palettes()[mode]
    for text, ground in (
        ("ink", "paper"), ("ink", "card"), ("ink", "track"), ("soft", "paper"), ("soft", "card"), ("accent", "paper"),
        ("accent", "card"), ("on-accent", "accent"), ("warm", "warm-paper"), ("good", "good-paper"),
        ("bad", "bad-paper"),
    ):  # fmt: skip
        assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for place in range(10):
        assert contrast(colours[f"v{place}"], colours["card"]) >= 3, place


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_demo_page_holds_key_and_slug_and_nothing_foreign(language):
    html = render_demo('pk_"x', "smart<watch", language).decode()
    page = Page(html)
    assert ("script", {"type": "module", "src": "/arauto.js", "data-key": 'pk_"x'}) in page.tags
    assert [attributes for _, attributes in page.tags if attributes.get("data-arauto") == "smart<watch"]
    sources = [attributes.get("src") or attributes.get("href") or "" for _, attributes in page.tags]
    assert not [source for source in sources if not source.startswith(("", "#", "?", "/arauto.js")) or "//" in source]
    reject = [place for place, (_, attributes) in enumerate(page.tags) if attributes.get("id") == "reject"]
    accept = [place for place, (_, attributes) in enumerate(page.tags) if attributes.get("id") == "accept"]
    assert reject < accept, "the no comes first, on the same level"
