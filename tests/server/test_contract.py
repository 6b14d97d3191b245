"""The OpenAPI document against the running server: schemathesis makes the requests, and holds the answers to it."""

import subprocess
import sys
from pathlib import Path

import httpx
import msgspec
import pytest

from arauto.server import running

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,negative_data_rejection,unsupported_method,allow_header_conformance,ignored_auth"
)
CONFIG = Path(__file__).with_name("schemathesis.toml")


@pytest.mark.long
def test_the_server_does_what_its_document_says(settings):
    with running(msgspec.structs.replace(settings, port=0, rate_limit=0), timeout=300) as server:
        admin = {"authorization": f"Bearer {server.token}"}
        made = httpx.post(f"{server.url}/v1/campaigns", json={"brief": {"product": "watch"}}, headers=admin, timeout=60)
        assert made.status_code == 201
        run = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", CONFIG),
                *("run", f"{server.url}/openapi.json"),
                *("-H", f"Authorization: {admin['authorization']}", "--checks", CHECKS, "--seed", "7", "--no-color"),
                *("--phases", "coverage,fuzzing", "--exclude-operation-id", "events"),
                *("--suppress-health-check", "all", "--warnings", "off"),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=settings.home.parent,
        )
        assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
        assert "No issues found" in run.stdout
