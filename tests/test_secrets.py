"""No key, token or password was ever put into a file of ours."""

import math
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHAPES = {
    "a private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{20}",
    "a cloud's key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[0-9A-Za-z_-]{35}\b",
    "a forge's token": r"\bgh[pousr]_[A-Za-z0-9]{36}\b|\bglpat-[A-Za-z0-9_-]{20}\b|\bpypi-AgE[A-Za-z0-9_-]{50}",
    "a model's key": r"\bsk-(?:ant-|proj-)?[A-Za-z0-9_-]{24,}\b|\bhf_[A-Za-z0-9]{30,}\b",
    "a chat's token": r"\bxox[abprs]-[A-Za-z0-9-]{10,}",
    "a signed token": r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.",
    "a password in an address": r"://[^\s:/@'\"]+:(?!\$|pass|p@|secret|\{|…)[^\s@/'\"{}$]{6,}@",
}
NAMED = re.compile(r"(?i)(?:secret|token|passw(?:or)?d|api_?key)\w*['\"]?\s*[:=]\s*['\"]([A-Za-z0-9+/_=-]{20,})['\"]")
KNOWN = {"docs/federated-protocol.md": 1, "tests/store/test_backup.py": 1}
"""Test vectors of a protocol; a password that a test makes sure is never told."""
RANDOM_BITS = 3.7
"""Entropy a character above which a named value is no word or name."""


def secrets_in(text):
    found = [f"{name}: {hit[0][:12]}…" for name, shape in SHAPES.items() for hit in re.finditer(shape, text)]
    return found + [f"named: {hit[1][:6]}…" for hit in NAMED.finditer(text) if bits(hit[1]) > RANDOM_BITS]


def bits(text):
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values())


def files():
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in listed.stdout.split("\n") if name]


def test_no_file_holds_a_secret():
    seen = 0
    for path in files():
        if not path.is_file() or path == Path(__file__) or path.stat().st_size > 2_000_000:
            continue
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        seen += 1
        found = secrets_in(text)
        assert len(found) == KNOWN.get(str(path.relative_to(ROOT)), 0), (path, found)
    assert seen > 200


@pytest.mark.parametrize(
    "planted",
    [
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7bq0X1x",
        "key = AKIAQ7EXAMPLE1234567",
        "ghp_" + "a1B2" * 9,
        "OPENAI_KEY=sk-proj-" + "Ab3dEf6h" * 4,
        "postgresql://arauto:hunter22x@db/arauto",
        'admin_token = "q7Zr0PpX3vLw9TnB5yKdE2"',
    ],
)
def test_a_planted_one_is_found(planted):
    assert secrets_in(planted)
