"""What leaves the house: bundles, signatures, manifests."""

import csv
import json
import re
import stat

import msgspec
import pytest

from arauto.core.errors import ConflictError, EngineError
from arauto.creative.kit import BUNDLES, Signer, export_kit
from arauto.creative.kit.adcp import creative_brief, manifests
from arauto.creative.kit.provenance import read_manifest


@pytest.fixture(scope="session")
def signer(tmp_path_factory):
    return Signer(tmp_path_factory.mktemp("home") / "signing")


@pytest.fixture(scope="session")
def exported(made, signer, tmp_path_factory):
    kit, folder = made
    out = tmp_path_factory.mktemp("export")
    return out, export_kit(kit, folder, out, list(BUNDLES), signer, base_url="https://cdn.vitalis.example/kit")


def test_a_signed_picture_says_how_it_was_made(kit, exported):
    out, _ = exported
    asset = next(asset for asset in kit.assets if asset.id == "banner-300x250-a")
    store = read_manifest((out / "google-ads" / "300x250-a.png").read_bytes(), "image/png")
    assert store["validation_state"] == "Valid"
    manifest = store["manifests"][store["active_manifest"]]
    action = manifest["assertions"][0]["data"]["actions"][0]
    assert action["action"] == "c2pa.created"
    assert action["digitalSourceType"].endswith("/algorithmicMedia")
    assert action["parameters"]["unsigned_sha256"] == asset.sha256
    assert (out / "provenance" / f"{asset.id}.c2pa").stat().st_size > 1000


def test_a_changed_picture_is_found_out(kit, made, signer):
    asset = next(asset for asset in kit.assets if asset.id == "banner-300x250-a")
    signed, _ = signer.sign((made[1] / asset.path).read_bytes(), asset)
    at = signed.index(b"IDAT") + 200
    changed = signed[:at] + bytes([signed[at] ^ 1]) + signed[at + 1 :]
    assert read_manifest(changed, "image/png")["validation_state"] == "Invalid"
    with pytest.raises(EngineError, match="no manifest"):
        read_manifest((made[1] / asset.path).read_bytes(), "image/png")


def test_the_key_is_its_owners(tmp_path):
    Signer(tmp_path / "signing")
    key = tmp_path / "signing" / "key.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    Signer(tmp_path / "signing")
    assert key.read_bytes() == before


def test_a_key_that_cannot_sign_says_so(kit, made, tmp_path):
    (tmp_path / "key.pem").write_text("no key")
    (tmp_path / "chain.pem").write_text("no certificate")
    asset = next(asset for asset in kit.assets if asset.id == "banner-300x250-a")
    with pytest.raises(EngineError, match="cannot be signed"):
        Signer(tmp_path).sign((made[1] / asset.path).read_bytes(), asset)


def test_tables_have_the_texts(kit, exported):
    out, written = exported
    rows = list(csv.DictReader((out / "google-ads" / "responsive-search.csv").read_text("utf-8-sig").splitlines()))
    parts = json.loads(next(a for a in kit.assets if a.placement == "google-rsa").detail["parts"])
    assert [rows[0][f"Headline {n}"] for n in range(1, 16)][: len(parts["headline"])] == parts["headline"]
    assert rows[0]["Final URL"] == kit.message.link
    ads = list(csv.DictReader((out / "meta" / "ads.csv").read_text("utf-8-sig").splitlines()))
    assert {row["File"] for row in ads} == {"1080x1920-a.png", "1080x1920-b.png"}
    assert len([path for path in written if path.suffix == ".zip"]) == 4


def test_a_formula_is_written_as_text(kit, made, signer, tmp_path):
    evil = msgspec.structs.replace(kit, message=msgspec.structs.replace(kit.message, call_to_action="=1+1"))
    export_kit(evil, made[1], tmp_path, ["meta"], signer)
    assert "'=1+1" in (tmp_path / "meta" / "ads.csv").read_text("utf-8-sig")


def test_manifests_have_the_shape_of_adcp_3_2(kit):
    """The benchmark holds them to the official schemas; here is what those ask for."""
    found = manifests(kit, "https://cdn.example/")
    assert set(found) == {asset.id for asset in kit.assets}
    for manifest in found.values():
        assert manifest["format_kind"] in {"image", "html5", "responsive_creative", "native_in_feed", "custom"}
        for slot, asset in manifest["assets"].items():
            assert re.fullmatch(r"[a-z0-9_]+", slot)
            for one in asset if isinstance(asset, list) else [asset]:
                assert one["asset_type"] in {"image", "zip", "text", "url"}
    brief = creative_brief(kit)
    assert brief["name"] == "smartwatch Vitalis"
    assert brief["compliance"]["required_disclosures"]


def test_nothing_to_export_is_said(kit, made, signer, tmp_path):
    texts = msgspec.structs.replace(kit, assets=tuple(asset for asset in kit.assets if asset.medium == "text"))
    with pytest.raises(ConflictError, match="html5"):
        export_kit(texts, made[1], tmp_path, ["html5"], signer)
