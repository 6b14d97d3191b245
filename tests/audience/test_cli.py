"""``arauto audience …`` as a user types it."""

import asyncio
import json
from uuid import UUID

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from arauto.audience import Encoder, Recipe, VisitorIndex, code_of, fit, pack, touch_of
from arauto.cli import main
from arauto.store import Remembered, Store
from tests.audience.planted import START, event, filled, log, shop, visitor


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def call(*arguments, code=0):
        done = CliRunner().invoke(main, ["audience", *map(str, arguments)], catch_exceptions=False)
        assert done.exit_code == code, done.output
        return done.stdout

    return call


def test_evaluate_prints_models_metrics_and_intervals(run, tmp_path):
    pl.DataFrame(shop()).write_parquet(tmp_path / "log.parquet")
    found = json.loads(run("evaluate", "--data", "log.parquet", "--json"))
    assert {row["model"] for row in found["rows"]} >= {"arauto", "ease", "item_knn", "popularity", "popular_lately"}
    one = found["rows"][0]["quality"]["ndcg"]
    assert one["low"] <= one["value"] <= one["high"]
    assert (found["users"], found["items"]) == (80, 40)
    told = run("evaluate", "--data", "log.parquet", "--no-tune")
    assert "arauto" in told
    assert "NDCG@10" in told


def test_train_writes_an_encoder_that_loads(run, tmp_path):
    pl.DataFrame(shop()).write_csv(tmp_path / "log.csv")
    told = json.loads(run("train", "--data", "log.csv", "--out", "e.npz", "--dimensions", 8, "--ridge", 10, "--json"))
    encoder = Encoder.load(tmp_path / "e.npz")
    assert (told["items"], encoder.dimensions, encoder.about.recipe.ridge) == (40, 8, 10.0)
    assert json.loads(run("encoder", "e.npz", "--json"))["items"] == 40
    assert "version" in run("encoder", "e.npz")
    assert told["sha256"] in run("train", "--data", "log.csv", "--out", "e.npz", "--dimensions", 8, "--ridge", 10)


def test_index_files_are_told_of_and_written_for_faiss(run, tmp_path):
    index = VisitorIndex(4)
    index.put(np.arange(30), np.random.default_rng(0).normal(size=(30, 4)))
    index.save(tmp_path / "i.npz")
    assert json.loads(run("index", "i.npz", "--out", "i.faiss", "--json"))["vectors"] == 30
    assert json.loads(run("index", "i.faiss", "--json"))["dimensions"] == 4
    assert "30" in run("index", "i.faiss")
    (tmp_path / "a.ann").write_bytes(
        b"".join(np.int32([1, 0, 0]).tobytes() + np.ones(3, "<f4").tobytes() for _ in "ab")
    )
    assert json.loads(run("index", "a.ann", "--dimensions", 3, "--json"))["vectors"] == 2
    run("index", "a.ann", code=2)


def test_errors_end_with_their_code(run, tmp_path):
    (tmp_path / "x.csv").write_text("user_id,item_id\n1,2\n")
    run("evaluate", "--data", "x.csv", code=2)
    run("select", "age < 18", code=2)
    (tmp_path / "seeds").write_text("not an id\n")
    run("lookalikes", "--seeds", "seeds", code=2)
    run("encoder", "absent.npz", code=7)


def test_the_audience_of_an_installation_is_told(run, tmp_path, settings, monkeypatch):
    monkeypatch.setenv("ARAUTO_DATABASE_URL", settings.database_url.reveal())
    monkeypatch.setenv("ARAUTO_HOME", str(tmp_path / "home"))
    assert json.loads(run("segments", "--json"))["segments"] == []
    assert run("segments")
    assert json.loads(run("select", "views > 0", "--json")) == []
    (tmp_path / "seeds").write_text(f"{UUID(int=1)}\n")
    run("lookalikes", "--seeds", "seeds", code=2)
    run("train", code=2)
    fit(log(), Recipe()).save(tmp_path / "home" / "audience" / "encoder.npz")
    assert json.loads(run("segments", "--json"))["encoder"]


def test_everyone_is_encoded_into_an_index_file(run, tmp_path, settings, monkeypatch):
    monkeypatch.setenv("ARAUTO_DATABASE_URL", settings.database_url.reveal())
    monkeypatch.setenv("ARAUTO_HOME", str(tmp_path / "home"))
    run("encode", "--out", "v.npz", code=7)
    encoder = fit(log(), Recipe(), dimensions=8)
    encoder.save(tmp_path / "e.npz")
    visitors = filled(encoder)
    strange = visitor(500), pack([touch_of(event(1), START, "view", code_of("nothing of ours"))])
    kept = [Remembered(who, packed, f"tomb {who}") for who, packed in [*visitors.states(), strange]]

    async def remember():
        async with await Store.open(settings) as store:
            await store.states.save(kept, {}, 0)

    asyncio.run(remember())
    told = json.loads(run("encode", "--encoder", "e.npz", "--out", "v.npz", "--json"))
    assert (told["visitors"], told["vectors"], told["dimensions"]) == (81, 80, 8)
    index = VisitorIndex.load(tmp_path / "v.npz")
    assert index.version == encoder.version
    with np.load(tmp_path / "v.npz", allow_pickle=False) as arrays:
        for key, row in enumerate(arrays["visitors"]):
            wanted = visitors.vector(UUID(bytes=row.tobytes()))
            assert index.vectors(key)[0] == pytest.approx(wanted, abs=1e-6)
    assert "80" in run("encode", "--encoder", "e.npz", "--out", "again.npz")
