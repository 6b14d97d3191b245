"""Releases and tests in the terminal, and a user's own log."""

from __future__ import annotations

import csv
import json
import sys
from uuid import UUID

import numpy as np
import pytest

import arauto
from arauto.cli.table import read_columns
from arauto.core.campaign import CampaignPlan, Copy
from arauto.core.errors import InputError


def copy(title):
    return Copy(title=title, description="d", image_suggestion="i")


def test_a_release_from_the_terminal(run, home):
    with arauto.open() as app:
        plan = CampaignPlan(allocation="uniform", seed=1, refresh_ms=0)
        app.launch(app.create({"product": "chá"}, slug="cha", plan=plan, copies=[copy("one"), copy("two")]))
    assert "has had no release" in run("release", "show", "cha", code=4).stderr
    (home / "texts.json").write_text(json.dumps([{"title": "three", "description": "d", "image_suggestion": "i"}]))
    words = ["release", "start", "cha", "--texts", "texts.json", "--guardrail", "ctr=0.5", "--steps", "50,100"]
    begun = run(*words).stdout
    assert "Iniciada: 50%" in begun or "Fica em 50%" in begun
    assert "proteção" in begun
    with arauto.open() as app:
        for _ in range(150):
            decided = app.decide("cha")
            app.track(decided, "impression")
        assert {app.decide("cha").variant for _ in range(60)} == {"a", "b", "c"}
    held = json.loads(run("release", "hold", "cha", "--json").stdout)
    assert held["status"] == "held"
    assert held["exposures"] > 40
    assert "parada" in run("release", "show", "cha").stdout
    run("release", "resume", "cha")
    assert "revertida" in run("release", "rollback", "cha").stdout
    assert "is rolled_back" in run("release", "hold", "cha", code=5).stderr
    (home / "plan.yaml").write_text("allocation: top_two\nalpha: 0.1\n")
    again = json.loads(run("release", "start", "cha", "--plan", "plan.yaml", "--json").stdout)
    assert again["change"] == {"allocation": "top_two"}
    for bad in (["--steps", "x"], ["--guardrail", "ctr=x"], ["--guardrail", "fame"], ["--texts", "none.json"], []):
        run("release", "start", "cha", *bad, code=2)
    shown = run("experiment", "show", "cha", env={"ARAUTO_LANGUAGE": "en"}).stdout
    assert "Too early to tell" in shown
    assert "split p" in shown
    run("campaign", "end", "cha")
    assert json.loads(run("experiment", "show", "cha", "--json").stdout)["state"] == "ended"
    assert json.loads(run("release", "show", "cha", "--json").stdout)["id"] == again["id"]


def test_a_campaign_of_visitors_from_the_terminal(run, home):
    (home / "deal.yaml").write_text("allocation: uniform\nassignment: visitor\nholdout: 0.5\nseed: 1\nrefresh_ms: 0\n")
    made = json.loads(
        run("campaign", "create", "product: mate", "--slug", "mate", "--plan", "deal.yaml", "--json").stdout
    )
    assert (made["campaign"]["plan"]["assignment"], made["campaign"]["plan"]["holdout"]) == ("visitor", 0.5)
    run("campaign", "launch", "mate")
    with arauto.open() as app:
        for n in range(1, 31):
            visitor = UUID(int=n)
            for _ in range(2):
                decided = app.decide("mate", visitor=visitor, consent="granted")
                app.track(decided, "impression", visitor=visitor, consent="granted")
    shown = run("experiment", "show", "mate", env={"ARAUTO_LANGUAGE": "en"}).stdout
    assert "the first decision of each visitor" in shown
    assert "Holdout" in shown
    told = json.loads(run("experiment", "show", "mate", "--json").stdout)
    assert told["holdout"]["held"] + told["holdout"]["others"] == 30
    assert "visitante" in run("experiment", "show", "mate").stdout
    (home / "deal.yaml").write_text("holdout: 0.5\n")
    assert "assignment" in run("campaign", "create", "product: mate", "--plan", "deal.yaml", code=2).stderr
    run("campaign", "create", "product: mate", "--plan", "none.yaml", code=2)


@pytest.fixture(scope="module")
def test_log(home):
    """4,000 visitors: b converts 10 % against 5 %, at twice the value."""
    rng = np.random.default_rng(1)
    rows = []
    for n in range(4000):
        arm = "b" if rng.random() < 0.5 else "control"
        converted = rng.random() < (0.10 if arm == "b" else 0.05)
        rows.append({"visitor": f"v{n}", "arm": arm, "converted": int(converted), "revenue": 20.0 * converted})
    return rows


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_a_test_of_ones_own(run, home, test_log):
    write_csv(home / "test.csv", test_log)
    (home / "test.jsonl").write_text("\n".join(json.dumps(row) for row in test_log))
    import polars

    polars.DataFrame(test_log).write_parquet(home / "test.parquet")
    answers = [
        json.loads(run("experiment", "analyse", "--data", f"test.{kind}", "--json").stdout)
        for kind in ("csv", "jsonl", "parquet")
    ]
    assert answers[0] == answers[1] == answers[2]
    found = answers[0]
    assert (found["verdict"], found["arm"], found["control"], found["metric"]) == (
        "better",
        "b",
        "control",
        "converted",
    )
    assert {row["metric"] for row in found["results"]} == {"converted", "revenue"}
    assert found["health"]["sample_ratio_p_always"] >= 0.05
    assert "supera" in found["text"]["pt-BR"]
    shown = run(
        "experiment", "analyse", "--data", "test.csv", "--metric", "revenue/converted", "--metric", "converted",
        "--control", "control", "--share", "b=0.5", "--share", "control=0.5", "--expected", "0.5",
        env={"ARAUTO_LANGUAGE": "en"},
    ).stdout  # fmt: skip
    assert "revenue/converted" in shown
    run("experiment", "analyse", "--data", "test.csv", "--share", "b", code=2)
    run("experiment", "analyse", "--data", "test.csv", "--control", "z", code=2)


def test_another_policy_from_a_log(run, home):
    rng = np.random.default_rng(2)
    rows = []
    for n in range(3000):
        arm = "a" if rng.random() < 0.5 else "b"
        reward = int(rng.random() < (0.3 if arm == "a" else 0.1))
        rows.append(
            {
                "visitor": n,
                "arm": arm,
                "reward": reward,
                "propensity": 0.5,
                "target_a": 0.9,
                "target_b": 0.1,
                "x_age": n % 7,
            }
        )
    write_csv(home / "log.csv", rows)
    found = json.loads(run("experiment", "ope", "--data", "log.csv", "--json").stdout)
    assert found["value"] == pytest.approx(0.28, abs=0.03)
    assert found["low"] < 0.28 < found["high"]
    assert found["overlap"]["effective"] > 1000
    assert "teria rendido" in run("experiment", "ope", "--data", "log.csv").stdout
    write_csv(home / "few.csv", rows[:120])
    few = json.loads(run("experiment", "ope", "--data", "few.csv", "--json").stdout)
    assert (few["value"], few["low"]) == (None, None)
    assert "below 100" in few["abstains"]
    assert "menor que 100" in few["text"]["pt-BR"]
    assert "cannot tell" in run("experiment", "ope", "--data", "few.csv", env={"ARAUTO_LANGUAGE": "en"}).stdout


def test_files_that_cannot_be_read(run, home, monkeypatch):
    for name, content in (
        ("a.xls", "x"),
        ("empty.csv", ""),
        ("header.csv", "arm,x\n"),
        ("uneven.csv", "arm,x\na\n"),
        ("latin.csv", "arm\ncafé".encode("latin-1")),
        ("bad.jsonl", "{"),
        ("uneven.jsonl", '{"a": 1}\n{"b": 1}'),
        ("bad.parquet", "PAR"),
        ("words.csv", "x,y\n1,a\n"),
    ):
        path = home / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        if name != "words.csv":
            with pytest.raises(InputError) as refused:
                read_columns(path)
            assert refused.value.field == "data"
    with pytest.raises(InputError):
        read_columns(home / "none.csv")
    assert "arm" in run("experiment", "analyse", "--data", "words.csv", code=2).stderr
    (home / "mute.csv").write_text("arm,what\na,x\nb,y\n")
    run("experiment", "analyse", "--data", "mute.csv", code=2)
    (home / "flags.csv").write_text("arm,yes\na,true\nb,False\n")
    assert read_columns(home / "flags.csv")["yes"].tolist() == [1.0, 0.0]
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(InputError, match="not installed") as refused:
        read_columns(home / "bad.parquet")
    assert "arauto[data]" in refused.value.mend
