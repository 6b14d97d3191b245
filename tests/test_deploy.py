"""The deployment files name settings, commands and routes that exist."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest
import yaml

from arauto.cli import main
from arauto.core.settings import Settings
from arauto.server.main import KILL_S
from arauto.server.meters import BOUNDS, Snapshot, exposition
from arauto.server.routes import ROUTES
from arauto.server.sockets import HEAD_S

DEPLOY = Path(__file__).parent.parent / "deploy"
FILES = sorted(DEPLOY.iterdir())
OF_COMPOSE = {"ARAUTO_PASSWORD"}


def test_they_name_only_settings_and_routes_that_exist():
    known = {f"ARAUTO_{name.upper()}" for name in Settings.__struct_fields__} | OF_COMPOSE
    paths = {route.path for route in ROUTES}
    for file in FILES:
        text = file.read_text("utf-8")
        assert set(re.findall(r"ARAUTO_[A-Z_]+", text)) <= known, file.name
        assert set(re.findall(r"/(?:readyz|healthz|metrics)\b", text)) <= paths, file.name


def test_they_start_commands_that_exist():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    started = [part["command"] for name, part in compose["services"].items() if name != "database"]
    deployments = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text("utf-8")))[:2]
    started += [one["spec"]["template"]["spec"]["containers"][0]["args"] for one in deployments]
    started.append((DEPLOY / "arauto.service").read_text("utf-8").split("bin/arauto ")[1].split("\n")[0].split())
    assert len(started) == 5
    for command, *options in started:
        known = {word for option in main.get_command(click.Context(main), command).params for word in option.opts}
        assert {word for word in options if word.startswith("--")} <= known


def test_a_deployments_labels_select_its_pods():
    for one in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text("utf-8")):
        if one["kind"] == "Deployment":
            assert one["spec"]["selector"]["matchLabels"] == one["spec"]["template"]["metadata"]["labels"]


def test_the_board_asks_for_metrics_that_are_told():
    snapshot = Snapshot(
        requests={"POST /v1/decide 200": 1},
        seconds={"POST /v1/decide": [1.0] * (len(BOUNDS) + 2)},
        events={"stored": 1},
        decisions={"shop/watch": 1},
    )
    told = exposition(snapshot, database_up=True, workers=2).decode()
    names = set(re.findall(r"^(\w+)(?:\{| )", told, re.MULTILINE))
    labels = {(name, label) for name, inner in re.findall(r"^(\w+)\{(.*)\}", told, re.MULTILINE)
              for label in re.findall(r"(\w+)=", inner)}  # fmt: skip
    board = json.loads((DEPLOY / "grafana.json").read_text("utf-8"))
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert len(asked) >= 8
    for expression in asked:
        used = set(re.findall(r"arauto_\w+", expression))
        assert used, expression
        assert used <= names, expression
        for name, inner in re.findall(r"(arauto_\w+)\{(.*?)\}", expression):
            assert {(name, label) for label in re.findall(r'(\w+)=~?"', inner)} <= labels, expression
        for group in re.findall(r"by \(([^)]*)\)", expression):
            assert set(group.split(", ")) <= {label for name, label in labels if name in used}, expression
    places = [(one["gridPos"]["x"], one["gridPos"]["y"]) for one in board["panels"]]
    assert len(set(places)) == len(places)


def test_the_balancer_asks_what_the_server_answers():
    text = (DEPLOY / "haproxy.cfg").read_text("utf-8")
    assert "option httpchk GET /readyz" in text
    kept = int(re.search(r"timeout http-keep-alive (\d+)s", text)[1])
    assert kept < HEAD_S, "else it sends on a connection that the server just closed"
    admin = re.search(r"acl admin path_beg (.*)", text)[1].split()
    for route in ROUTES:
        if route.auth == "admin" and not route.path.startswith("/v1/visitors/"):
            assert any(route.path.startswith(prefix) for prefix in admin), route.path
        elif route.auth != "admin":
            assert not any(route.path.startswith(prefix) for prefix in admin), route.path
    served = re.findall(r"^    server (\w+) ", text, re.MULTILINE)
    assert len(served) == len(set(served)) == 2


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="HAProxy is not installed")
def test_the_balancer_takes_its_file():
    done = subprocess.run(["haproxy", "-c", "-f", DEPLOY / "haproxy.cfg"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_end_is_told_to_the_server_alone_and_given_time():
    unit = (DEPLOY / "arauto.service").read_text("utf-8")
    assert "KillMode=mixed" in unit, "else its processes hear of the end before a balancer does"
    pod = next(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text("utf-8")))["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    drain = float(next(one["value"] for one in container["env"] if one["name"] == "ARAUTO_DRAIN_S"))
    assert container["readinessProbe"]["periodSeconds"] * 2 < drain < pod["terminationGracePeriodSeconds"] - KILL_S
