"""``arauto kit …`` from end to end."""

import json

import pytest
from click.testing import CliRunner

from arauto.cli import main

BRIEF = """
product: smartwatch
language: en
benefits: [Tracks heart rate and sleep, Seven days of battery]
brand: {name: Vitalis}
offer: {price: 199.00, currency: USD}
call_to_action: See details
link: https://vitalis.example/watch
channels: [google-rsa, meta, 300x250]
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "brief.yaml").write_text(BRIEF, "utf-8")

    def command(*words, code=0):
        result = CliRunner().invoke(main, ["kit", *words])
        assert result.exit_code == code, result.output
        return result.output

    return command


def test_create_check_export_gallery(run, tmp_path):
    out = run("create", "brief.yaml", "--out", "kit", "--only", "text", "--only", "banner", "--seed", "2")
    assert "2 texts" in out
    assert (tmp_path / "kit" / "index.html").is_file()
    assert "No rule was broken." in run("check", "kit")
    assert json.loads(run("check", "kit", "--json")) == []
    written = json.loads(run("export", "kit", "--to", "html5", "--to", "adcp", "--json"))
    assert "export/html5/300x250-a.zip" in " ".join(written)
    assert "google-ads" in run("export", "kit", "--base-url", "https://cdn.example/kit")
    assert "index.html" in run("gallery", "kit")


def test_a_broken_kit_is_an_error_until_waived(run, tmp_path):
    run("create", "brief.yaml", "--out", "kit", "--only", "text", "--preset", "search")
    (tmp_path / "kit" / "text" / "google-rsa.json").unlink()
    assert "KIT-FILE" in run("check", "kit", code=5)
    run("export", "kit", code=5)
    run("check", "kit", "--waive", "KIT-FILE", code=2)
    out = run("check", "kit", "--waive", "KIT-FILE@text-google-rsa", "--by", "Ana", "--reason", "sent by hand")
    assert "Ana" in out


def test_a_catalogue_makes_a_kit_a_row(run, tmp_path):
    (tmp_path / "products.csv").write_text("product,price\nsmartwatch,99\nsmart ring,149\n", "utf-8")
    out = run("create", "brief.yaml", "--out", "kits", "--only", "text", "--catalogue", "products.csv", "--json")
    assert [row["folder"] for row in json.loads(out)] == ["kits/smartwatch", "kits/smart-ring"]
    assert "$149.00" in (tmp_path / "kits" / "smart-ring" / "text" / "google-rsa.json").read_text("utf-8")


def test_films_have_the_lengths_that_were_asked_for(run, monkeypatch):
    asked = []

    async def render(work, out, progress, *, lengths):
        asked.append(lengths)
        return []

    monkeypatch.setattr("arauto.creative.kit.make.renderer_of", lambda medium, engine, reward: render)
    run("create", "brief.yaml", "--only", "video")
    run("create", "brief.yaml", "--only", "video", "--film", "6", "--film", "30")
    run("create", "brief.yaml", "--only", "video", "--film", "7", code=2)
    assert asked == [(15.0,), (6.0, 30.0)]


def test_the_folder_is_named_by_the_product(run, tmp_path):
    run("create", BRIEF.strip(), "--only", "text", "--preset", "search")
    assert (tmp_path / "kit-smartwatch" / "kit.json").is_file()
