"""An image engine in a kit: its pictures stand in banners, are said to be a model's, and give way to our drawings."""

import asyncio
import io

import msgspec
import numpy as np
import pytest
from PIL import Image

from arauto.core.campaign import Copy
from arauto.core.errors import EngineError
from arauto.creative import has_errors, read_brief
from arauto.creative.engines import ScriptedImage
from arauto.creative.kit import check_kit, load_kit, make_kit
from arauto.creative.kit.pictures import picture_prompts
from tests.creative.kit.conftest import SHOES

PINK = (255, 0, 170)
BRIEF = SHOES | {"channels": ["google-rsa", "300x250", "320x50"], "image_hint": "A runner at dawn."}


def picture(colour=PINK, kind="PNG"):
    buffer = io.BytesIO()
    Image.new("RGB", (512, 512), colour).save(buffer, kind)
    return buffer.getvalue()


def make(out, script, **changes):
    engine = ScriptedImage(script)
    brief = read_brief(BRIEF | changes)
    return asyncio.run(make_kit(brief, out, seed=1, only=("text", "banner"), image=engine)), engine


def share_of(path, colour):
    with Image.open(path) as opened:
        pixels = np.asarray(opened.convert("RGB"), int)
    return (np.abs(pixels - colour).max(axis=-1) < 8).mean()


def test_pictures_of_a_model_stand_in_banners_and_say_so(tmp_path):
    kit, engine = make(tmp_path, [picture(), picture((0, 200, 60), "WEBP")])
    assert not has_errors(kit.findings), kit.findings
    assert [ask.seed for ask in engine.asks] == [1, 2]
    assert engine.asks[0].prompt.startswith("A runner at dawn. ")
    assert "$" not in "".join(ask.prompt for ask in engine.asks)
    banners = {asset.id: asset for asset in kit.assets if asset.media_type.startswith("image/")}
    for letter, colour in (("a", PINK), ("b", (0, 200, 60))):
        asset = banners[f"banner-300x250-{letter}"]
        assert asset.made.source_type == "compositeWithTrainedAlgorithmicMedia"
        assert (asset.made.engine, asset.made.model, asset.detail["picture"]) == ("scripted", "script", "engine")
        assert "Image made with AI." in asset.words
        assert share_of(tmp_path / asset.path, colour) > 0.04
    # A strip has no room for the note: it shows our own drawing.
    strip = banners["banner-320x50-a"]
    assert (strip.made.engine, strip.detail["picture"]) == ("typst", "shoe")
    assert "made with AI" not in strip.words
    assert share_of(tmp_path / strip.path, PINK) == 0
    again, _ = make(tmp_path / "again", [picture(), picture((0, 200, 60), "WEBP")])
    assert again == kit


def test_a_model_that_is_not_named_is_found_out(tmp_path):
    kit, _ = make(tmp_path, [picture(), picture()], channels=["300x250"])
    assets = tuple(
        msgspec.structs.replace(asset, words=asset.words.replace("Image made with AI.", "")) for asset in kit.assets
    )
    found = check_kit(msgspec.structs.replace(load_kit(tmp_path), assets=assets), tmp_path)
    assert "BR-13" in {one.rule for one in found if one.severity == "error"}


@pytest.mark.parametrize("answer", [EngineError("the endpoint answered 500", mend="later"), b"<svg/>", b""])
def test_without_a_picture_our_drawings_stand_and_it_is_said(tmp_path, answer):
    kit, _ = make(tmp_path, [answer], channels=["300x250"])
    assert not has_errors(kit.findings)
    assert "KIT-PICTURE" in {one.rule for one in kit.findings}
    assert {asset.detail["picture"] for asset in kit.assets if asset.medium == "banner"} == {"shoe"}


def test_one_picture_serves_when_the_next_fails(tmp_path):
    kit, _ = make(tmp_path, [picture(), EngineError("spent", mend="more")], channels=["300x250"])
    assert {asset.detail["picture"] for asset in kit.assets if asset.medium == "banner"} == {"engine"}
    assert not [one for one in kit.findings if one.rule == "KIT-PICTURE"]


def test_the_marketers_own_pictures_win(tmp_path):
    (tmp_path / "own.png").write_bytes(picture())
    engine = ScriptedImage([])
    brief = read_brief(BRIEF | {"pictures": ["own.png"], "channels": ["300x250"]})
    kit = asyncio.run(make_kit(brief, tmp_path / "kit", folder=tmp_path, seed=1, only=("text", "banner"), image=engine))
    assert engine.asks == []
    assert {asset.detail["picture"] for asset in kit.assets if asset.medium == "banner"} == {"own"}


def test_prompts_say_what_the_copies_suggest_each_once():
    brief = read_brief(SHOES)
    copies = [Copy(title="A", description="B", image_suggestion="Feet on  gravel.") for _ in range(3)]
    first, second = picture_prompts(brief, copies)
    assert first.startswith("Feet on gravel. ")
    assert second.startswith("running shoes. ")
    assert "#ff6b35" in first.casefold()
