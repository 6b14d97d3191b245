"""`arauto federated …`, as a person types it."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from arauto.cli import main


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "140")

    def call(*words, code=0):
        done = CliRunner().invoke(main, ["federated", *words])
        assert done.exit_code == code, done.output
        return done

    return call


def write(path, count=1200, head="click,market_price,predicted_ctr"):
    draw = np.random.default_rng(count)
    ctr = draw.uniform(0.001, 0.2, count)
    rows = [f"{int(draw.random() < p)},{draw.integers(0, 200)},{p:.5f}" for p in ctr]
    path.write_text("\n".join([head, *rows]))


def test_bids_on_ones_own_auctions(run, tmp_path, monkeypatch):
    monkeypatch.setattr("arauto.federated.bids.FRACTIONS", (8,))
    for name in ("train.csv", "test.csv"):
        write(tmp_path / name)
    monkeypatch.setattr("arauto.cli.federated.FRACTIONS", (8,))
    found = json.loads(run("bids", "--train", "train.csv", "--test", "test.csv", "--regions", "3", "--json").stdout)
    rows = {one["method"]: one for one in found["results"]}
    assert {"linear", "ortb", "rl", "joint", "joint/federated", "joint/local"} == set(rows)
    assert {**rows["joint"], "method": ""} == {**rows["joint/federated"], "method": ""}
    assert all(one["cost"] <= one["budget"] and 0 <= one["win_rate"] <= 1 for one in rows.values())
    write(tmp_path / "other.csv", head="click,price,predicted_ctr")
    assert "market_price" in run("bids", "--train", "other.csv", "--test", "test.csv", code=2).stderr


def test_a_round_is_simulated(run):
    found = json.loads(
        run("simulate", "--clients", "30", "--dim", "16", "--vanish", "0.1", "--epsilon", "3", "--json").stdout
    )
    assert found["exact"]
    assert found["privacy"]["epsilon"] <= 3
    assert "exact" in run("simulate", "--clients", "5", "--dim", "4", "--vanish", "0").stdout
    assert "failed" in run("simulate", "--clients", "5", "--vanish", "1", code=2).stderr


def test_an_audit_prints_both_columns(run, monkeypatch):
    from arauto.federated import Finding

    told = [
        Finding("canary", "sum", 16, 3.0, auc=0.6, epsilon_lower=0.1),
        Finding("tamper", "all", 9, -1.0, refused=5, tried=5),
    ]
    monkeypatch.setattr("arauto.cli.federated.audit", lambda *_, **__: told)
    shown = run("audit").stdout
    assert "3.00" in shown
    assert "0.600" in shown
    assert "5 of 5" in shown
    assert json.loads(run("audit", "--json").stdout)[0]["auc"] == 0.6


def test_a_client_says_what_is_wrong(run, tmp_path):
    words = ("client", "--round", "00" * 16, "--url", "http://127.0.0.1:1", "--update", "u.json")
    assert "u.json: No such file" in run(*words, "--key", "00" * 32, code=2).stderr
    (tmp_path / "u.json").write_text('{"a": 1}')
    assert "a JSON list of numbers" in run(*words, "--key", "00" * 32, code=2).stderr
    (tmp_path / "u.json").write_text("[0.1]")
    for key in ("no", "00" * 31, "é" * 64):
        assert "64 hexadecimal digits" in run(*words, "--key", key, code=2).stderr
    assert "cannot be reached" in run(*words, "--key", "00" * 32, code=5).stderr
    for url in ("learn", "http://learn.example", "http://127.0.0.1:port"):
        assert "url" in run(*words, "--key", "00" * 32, "--url", url, code=2).stderr


def test_sites_and_what_is_told_of_tasks(run, settings, monkeypatch):
    import asyncio

    from arauto.federated import Rounds, noise_for, open_authority
    from arauto.store import Store

    monkeypatch.setenv("ARAUTO_DATABASE_URL", settings.database_url.reveal())
    monkeypatch.setenv("ARAUTO_HOME", str(settings.home))

    async def begin():
        async with await Store.open(settings) as store:
            rounds = Rounds(store, open_authority(settings))
            await rounds.new_task("taste", np.zeros(2), epsilon=3.0)
            await rounds.open(
                "taste", clients=9, quantum=1 / 4096, privacy=noise_for(3, 1e-6, 1, 1.0, 1 / 4096, 2, 5), live=5
            )

    assert "No task yet" in run("status").stdout
    asyncio.run(begin())
    told = run("site", "shop", "--quota", "5").stdout
    assert told.startswith("shop: ")
    assert len(told.split()[1]) > 30
    assert "nobody" in run("site", "shop", "--revoke").stdout
    assert "no site" in run("site", "none", "--revoke", code=4).stderr
    assert "ε = 0.00 of 3" in run("status").stdout
    (task,) = json.loads(run("status", "--json").stdout)
    assert [one["phase"] for one in task["rounds"]] == ["join"]
    assert "0 campaigns" in run("release", "taste", "shoes", code=4).stderr


def test_a_coordinator_holds_what_is_asked_against_the_task(run, settings, monkeypatch):
    import asyncio
    import socket

    from arauto.federated import Rounds, open_authority
    from arauto.store import Store

    monkeypatch.setenv("ARAUTO_DATABASE_URL", settings.database_url.reveal())
    monkeypatch.setenv("ARAUTO_HOME", str(settings.home))

    async def begin():
        async with await Store.open(settings) as store:
            await Rounds(store, open_authority(settings)).new_task("taste", np.zeros(2), epsilon=3.0)

    asyncio.run(begin())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
        words = ("coordinator", "--task", "taste", "--clients", "9", "--dim")
        assert "another with --port" in run(*words, "2", "--port", port, code=2).stderr
    assert "--dim 2" in run(*words, "3", "--port", port, code=5).stderr
    assert "--epsilon 3" in run(*words, "2", "--epsilon", "2", "--port", port, code=5).stderr
    assert "takes tokens" in run(*words, "2", "--free", "--port", port, code=5).stderr
