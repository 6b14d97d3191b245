"""What the pages say of findings, in both languages, figures included."""

import re

import pytest

from arauto.core.i18n import LANGUAGES, catalogue
from arauto.core.kit import Finding
from arauto.creative import rules
from arauto.creative.audio import media_rules
from arauto.creative.kit import kit_rules, policies
from arauto.dashboard.words import Words

OURS = {**rules(), **policies(), **kit_rules(), **media_rules()}
MADE_UP = {
    name: "12.5" if name in ("found", "wanted", "most", "least", "length", "limit") else "x"
    for rule in (*kit_rules().values(), *media_rules().values())
    for name in re.findall(r"{(\w+)", rule.problem + rule.mend)
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_rule_has_its_sentence(language):
    missing = [name for name in OURS if f"rules.{name}" not in catalogue(language)]
    assert missing == []
    for rule in (*kit_rules().values(), *media_rules().values()):
        told = Words(language).rule(rule.finding("path", **MADE_UP))
        assert "{" not in told
        assert not (language == "pt-BR" and rule.problem in told)


def test_figures_are_written_as_the_reader_writes_them():
    heavy = kit_rules()["BAN-WEIGHT"].finding("path", found="1234.5", most=150)
    assert Words("pt-BR").rule(heavy) == "Pesa 1.234,5 kB, mais do que 150; use uma imagem mais simples."
    other = kit_rules()["COH-FACT"].finding("path", name="price", found="R$ 10", wanted="R$ 20")
    assert "Diz “R$ 10”, a mensagem diz “R$ 20”" in Words("pt-BR").rule(other)
    alone = kit_rules()["COH-CLAIM"].finding("path", found="o melhor")
    assert Words("pt-BR").rule(alone).endswith("(“o melhor”)")


def test_what_an_earlier_version_found_is_told_in_its_words():
    old = Finding(rule="BAN-WEIGHT", severity="error", field="path", problem="too heavy", mend="make it light")
    assert Words("en").rule(old) == "too heavy; make it light"
    gone = Finding(rule="GONE-1", severity="warn", field="path", problem="odd", mend="mend it")
    assert Words("en").rule(gone) == "odd; mend it"
