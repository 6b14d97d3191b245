"""One kit of texts and banners, made once; each test works on a copy of what it changes."""

import asyncio
import shutil

import pytest

from arauto.creative import read_brief
from arauto.creative.kit import make_kit

WATCH = {
    "product": "smartwatch",
    "language": "pt-BR",
    "focus": "saúde",
    "benefits": ["Monitora batimentos e sono", "Bateria de 7 dias"],
    "brand": {"name": "Vitalis", "colours": ["#0a66c2"]},
    "offer": {"price": "799.90", "was": "999.00", "discount": "20", "currency": "BRL", "deadline": "2026-11-30"},
    "disclaimers": ["Não substitui avaliação médica."],
    "call_to_action": "Ver detalhes",
    "link": "https://vitalis.example/relogio",
    "channels": ["text", "300x250", "728x90", "1080x1920", "640x640"],
}
SHOES = {
    "product": "running shoes",
    "language": "en",
    "focus": "everyday comfort",
    "benefits": ["Light foam sole", "Reflective details for night runs"],
    "brand": {"name": "Strider", "colours": ["#FF6B35"]},
    "offer": {"price": "99.00", "was": "129.00", "currency": "USD"},
    "call_to_action": "Shop now",
    "link": "https://strider.example/shoes",
    "channels": ["text", "320x50", "1080x1080"],
}


def make(data, out, **options):
    return asyncio.run(make_kit(read_brief(data), out, only=("text", "banner"), **options))


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("kit")
    return make(WATCH, out, seed=3), out


@pytest.fixture
def kit(made):
    return made[0]


@pytest.fixture
def folder(made, tmp_path):
    """A copy of the kit's files, to be harmed."""
    return shutil.copytree(made[1], tmp_path / "kit")
