"""``arauto edge …``."""

import json
import threading
import urllib.error
import urllib.request

import pytest
from click.testing import CliRunner

from arauto.cli import main
from arauto.cli.edge import edge
from arauto.core.errors import InputError
from arauto.edge import POLICY, example, file_name, generate, load, serving, shipped


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "d.jsonl"
    rows = [one for one in generate(300, 8) if one.label]
    path.write_text(
        "\n".join(json.dumps({"text": r.text, "label": r.label, "corpus": r.corpus}) for r in rows), "utf-8"
    )
    return path


def run(*words, code=0):
    done = CliRunner().invoke(main, ["edge", *map(str, words)])
    assert done.exit_code == code, done.output
    return done.output


def test_evaluate_prints_each_corpus_and_all(data):
    found = json.loads(run("evaluate", "--data", data, "--json"))
    assert found["model"].startswith("sentiment ")
    assert set(found["corpora"]) == {"generated-pt", "generated-pt-talk", "generated-en"}
    assert found["overall"]["accuracy"] > 0.9
    assert "generated-pt" in run("evaluate", "--data", data)


def test_train_writes_a_model_that_evaluate_reads(data, tmp_path):
    out = tmp_path / "m.bin"
    found = json.loads(run("train", "--data", data, "--out", out, "--steps", 8, "--name", "mine", "--json"))
    assert found["release"]["sha256"] == load(out).sha256
    assert found["held_out"]["overall"]["n"] == found["release"]["metrics"]["texts"]
    assert json.loads(run("evaluate", "--data", data, "--model", out, "--json"))["model"] == "mine 1.0.0"
    assert "Written" in run("train", "--data", data, "--out", out, "--steps", 2, "--holdout", 0)


def test_export_writes_what_a_page_needs(tmp_path):
    told = json.loads(run("export", "--out", tmp_path / "site", "--json"))
    assert sorted(path.name for path in (tmp_path / "site").iterdir()) == sorted(told["files"])
    assert file_name(shipped()) in told["script"]
    assert "In the page" in run("export", "--out", tmp_path / "site")


@pytest.mark.parametrize(("kind", "main_file"), [("onnx", "model.onnx"), ("tfjs", "model.json")])
def test_export_for_other_runtimes(kind, main_file, tmp_path):
    told = json.loads(run("export", "--format", kind, "--out", tmp_path / "x", "--json"))
    assert main_file in told["files"]
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == told["files"]
    assert "arauto-edge-peers.js" in run("export", "--format", kind, "--out", tmp_path / "x")


def test_bench_says_the_download(data):
    assert json.loads(run("bench", "--texts", 20, "--json"))["download_gzipped"] <= 40_000
    assert "gzipped" in run("bench", "--texts", 20)


def test_serve_ends_by_itself_and_says_where():
    assert threading.current_thread() is threading.main_thread()
    assert "http://127.0.0.1:" in run("serve", "--port", 0, "--seconds", 0)


def test_what_the_site_serves():
    with serving(example()) as url:
        page = urllib.request.urlopen(url)
        assert page.headers["Content-Security-Policy"] == POLICY
        assert "unsafe" not in POLICY
        assert file_name(shipped()) in page.read().decode()
        model = urllib.request.urlopen(url + file_name(shipped()))
        assert "immutable" in model.headers["Cache-Control"]
        assert model.read() == shipped().to_bytes()
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(url + "none")
        with pytest.raises(InputError, match="choose another"):
            edge.main(["serve", "--port", url.rsplit(":", 1)[1][:-1]], standalone_mode=False)
