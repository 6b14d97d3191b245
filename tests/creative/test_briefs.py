"""Briefs from files, from plain data, from words."""

import pytest

from arauto.core.brief import Brand, Brief, Claim
from arauto.core.errors import BriefError
from arauto.creative import compose_message, load_brief, read_brief

from .briefs import COFFEE, README_WORDS, SHOES

YAML = """
# our spring campaign
product: smartwatch
focus: saúde
age_range: [25, 40]
benefits:
  - monitoramento de batimentos
offer: {price: 1299.90, currency: BRL, deadline: 2026-11-30}
"""


def test_words_and_files_of_words(tmp_path):
    path = tmp_path / "brief.txt"
    path.write_text(README_WORDS, "utf-8")
    assert load_brief(README_WORDS) == load_brief(path) == load_brief(str(path))


@pytest.mark.parametrize("end", [".yaml", ".yml"])
def test_a_yaml_file(tmp_path, end):
    path = tmp_path / f"brief{end}"
    path.write_text(YAML, "utf-8")
    brief = load_brief(path)
    assert (brief.product, brief.age_range) == ("smartwatch", (25, 40))
    assert str(brief.offer.price) == "1299.9"
    assert str(brief.offer.deadline) == "2026-11-30"


def test_yaml_and_json_as_text():
    assert load_brief(YAML) == load_brief(YAML.strip())
    assert load_brief('{"product": "smartwatch", "language": "en"}') == Brief(product="smartwatch", language="en")


def test_the_fields_win_over_the_prompt():
    brief = read_brief({"prompt": README_WORDS, "focus": "estilo", "brand": {"name": "Pulso"}})
    assert (brief.product, brief.focus, brief.brand) == ("smartwatch", "estilo", Brand(name="Pulso"))
    assert (
        read_brief({"prompt": "An ad for a bike", "language": "pt-BR", "product": "bicicleta"}).product == "bicicleta"
    )


def test_a_timestamp_of_yaml_is_its_day():
    assert str(load_brief("product: chá\noffer:\n  deadline: 2026-11-30 10:00:00").offer.deadline) == "2026-11-30"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("product: smartwatch\nfocsu: saúde", "focsu"),
        ("product: ''", "product"),
        ("focus: saúde", "product"),
        ("product: smartwatch\noffer: {price: abc}", "offer.price"),
        ("product: [1, 2", "brief"),
        ("product: &a smartwatch\nfocus: *a", "brief"),
        ("--- \n- um\n- dois", "brief"),
        ('{"product": ', "brief"),
        ("{" * 5000, "brief"),
        ("product: " + "[" * 1000, "brief"),
        ("product: x" + " " * 70_000, "brief"),
        ("product: smartwatch\nlanguage: pt", "language"),
        ("product: smartwatch\nprompt: [a]", "prompt"),
    ],
)
def test_a_bad_brief_names_its_field(text, field):
    with pytest.raises(BriefError) as caught:
        load_brief(text)
    assert caught.value.field == field
    assert caught.value.mend


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(BriefError, match="no such file"):
        load_brief("nowhere.yaml")
    (tmp_path / "large.txt").write_bytes(b"a" * 70_000)
    with pytest.raises(BriefError, match="larger"):
        load_brief(tmp_path / "large.txt")
    (tmp_path / "latin.txt").write_bytes(b"an\xfancio")
    with pytest.raises(BriefError, match="UTF-8"):
        load_brief(tmp_path / "latin.txt")


def test_the_message_prints_the_facts_in_its_language():
    message = compose_message(SHOES)
    assert (message.price, message.was, message.discount) == ("R$ 399,90", "R$ 599,90", "33%")
    assert (message.deadline, message.brand, message.call_to_action) == ("30/11/2026", "Passo Firme", "Saiba mais")
    offer = {"price": 1299.9, "currency": "USD", "discount": 12.25, "deadline": "2026-11-30", "terms": "in store"}
    english = compose_message(read_brief({"product": "mug", "language": "en", "goal": "purchase", "offer": offer}))
    assert (english.price, english.discount, english.deadline) == ("$1,299.90", "12.25%", "Nov 30, 2026")
    assert (english.call_to_action, english.terms) == ("Buy now", "in store")


def test_the_message_leaves_out_what_nothing_proves():
    assert compose_message(COFFEE).claims == ("o melhor café da feira de Serra Alta",)
    assert compose_message(Brief(product="chá", claims=(Claim(text="cura"),))).claims == ()
