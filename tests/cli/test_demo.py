"""`arauto demo`: what `make run ONCE=1` does, with the template writer alone."""

import json
import os
import subprocess
import sys
from pathlib import Path


def test_the_whole_loop_ends_in_a_report(tmp_path):
    tmp_path.chmod(0o755)
    done = subprocess.run(
        [Path(sys.executable).parent / "arauto", "demo", "--once", "--no-model", "--no-log", "--visitors", "200"],
        cwd=tmp_path, env=os.environ | {"ARAUTO_PORT": "0", "ARAUTO_LANGUAGE": "en", "COLUMNS": "120"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "first decision" in done.stdout
    assert "SIMULATED" in done.stdout
    report = json.loads((tmp_path / ".arauto" / "reports" / "smartwatch.json").read_text())
    assert report["simulated"] is True
    assert len(report["variants"]) >= 4
    assert 150 <= report["totals"]["impressions"] <= 200
    assert sum(variant["impressions"] for variant in report["variants"]) == report["totals"]["impressions"]
    page = (tmp_path / ".arauto" / "reports" / "smartwatch.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "simulated" in page
