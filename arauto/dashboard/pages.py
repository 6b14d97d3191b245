"""Templates and their files, as this room ships them."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from arauto.core.brief import Language
from arauto.dashboard.view import page_of
from arauto.dashboard.words import Words
from arauto.loop import Report

FILES = {
    "dashboard.css": "text/css; charset=utf-8",
    "dashboard.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""What a browser may ask for by name, and its type."""


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("arauto.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def file(name: str) -> bytes:
    """A file of ``static/``."""
    return resources.files("arauto.dashboard").joinpath("static", name).read_bytes()


@cache
def version() -> str:
    """Changes when any of the files does, so that a browser may keep them."""
    return hashlib.sha256(b"".join(file(name) for name in sorted(FILES))).hexdigest()[:12]


def render(template: str, language: Language, **values: Any) -> str:
    """A page in a language. ``w`` is there for its words."""
    return _environment().get_template(template).render(**{"w": Words(language), **values})


def render_report(report: Report, language: Language, *, links: bool) -> dict[str, Any]:
    """The values of a report's templates; ``links`` when the files beside it can be asked for."""
    return {**page_of(report, Words(language)), "links": links}


def render_report_html(report: Report, language: Language) -> str:
    """The report as one HTML file that needs nothing else: to send to a client, to keep, to print."""
    css = Markup(file("dashboard.css").decode("utf-8"))  # noqa: S704 -- our own file
    return render("report.html", language, css=css, **render_report(report, language, links=False))
