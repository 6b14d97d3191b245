"""The deployment files name settings, commands and routes that exist."""

import re
from pathlib import Path

import click
import yaml

from arauto.cli import main
from arauto.core.settings import Settings
from arauto.server.routes import ROUTES

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
