"""The tools of the tests, and what needs no browser to be seen of arauto.js."""

import gzip

import pytest

from tests.browser.stub import STATIC
from tools.browser import SETTING, find_browser
from tools.typescript import NoCompilerError, check_types

SNIPPET = STATIC / "arauto.js"


def test_the_snippet_is_under_four_kilobytes_gzipped():
    assert len(gzip.compress(SNIPPET.read_bytes(), 9)) < 4000


def test_the_snippet_evaluates_nothing_and_writes_no_html():
    source = SNIPPET.read_text("utf-8")
    for word in ("eval(", "Function(", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "cookie"):
        assert word not in source


def test_the_types_of_the_snippet_hold(tmp_path):
    wrong = tmp_path / "wrong.js"
    wrong.write_text('export const n = /** @type {number} */ ("one");\n')
    try:
        assert check_types(SNIPPET, SNIPPET.with_suffix(".types.d.ts")) == ""
        assert "TS2352" in check_types(wrong), "the compiler finds what is wrong"
    except NoCompilerError as reason:
        pytest.skip(str(reason))


def test_a_browser_that_does_not_start_is_an_error_and_never_a_skip(monkeypatch, tmp_path):
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    for path in (broken, tmp_path / "nothing"):
        monkeypatch.setenv(SETTING, str(path))
        with pytest.raises(SystemExit, match="Mend:"):
            find_browser()
