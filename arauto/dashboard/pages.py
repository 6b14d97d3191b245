"""Templates and their files, as this room ships them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from arauto.core.brief import Language
from arauto.dashboard.money import Changes, Costs
from arauto.dashboard.report import page_of
from arauto.dashboard.screen import OWN, Screen, View
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
    made = Environment(
        loader=PackageLoader("arauto.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals.update(version=version(), again=_again, own=OWN)
    return made


@cache
def file(name: str) -> bytes:
    """A file of ``static/``."""
    return resources.files("arauto.dashboard").joinpath("static", name).read_bytes()


@cache
def version() -> str:
    """Changes when any of the files does, so that a browser may keep them."""
    return hashlib.sha256(b"".join(file(name) for name in sorted(FILES))).hexdigest()[:12]


def render(template: str, language: Language, **values: Any) -> str:
    """A template in a language. ``w`` is there for its words."""
    return _environment().get_template(template).render(**{"w": Words(language), **values})


def render_part(screen: Screen, view: View, values: Mapping[str, Any]) -> str:
    """The part of a screen that changes. Its template also has ``may(role)``, ``query``, ``base`` (its own path)
    and ``sent``: the fields of a form that was just refused."""
    own = {
        "may": view.may,
        "query": view.query,
        "base": screen.at(view.params),
        "links": True,
        "shown": None,
        "sent": {},
    }
    return render(screen.template, view.language, **{**own, **values})


def render_page(screen: Screen, view: View, *, heading: str | None, **values: Any) -> str:
    """A whole page around a part."""
    words = Words(view.language)
    return render(
        "page.html",
        view.language,
        screen=screen,
        heading=heading or words(f"title_{screen.name}"),
        campaign_id=view.params.get("id") if screen.place == "campaign" else None,
        live_path=f"{values['path']}/live?{urlencode({**view.query, 'tag': values['tag']})}",
        **{**values, "part": Markup(values["part"])},  # noqa: S704 -- a template's own
    )


def render_report(
    report: Report,
    language: Language,
    *,
    links: bool,
    costs: Costs | None = None,
    changes: Changes | None = None,
) -> dict[str, Any]:
    """The values of a report's templates; ``links`` when the files beside it can be asked for."""
    return {**page_of(report, Words(language)), "links": links, "costs": costs, "changes": changes}


def render_report_html(report: Report, language: Language, costs: Costs | None = None) -> str:
    """The report as one HTML file that needs nothing else: to send to a client, to keep, to print."""
    css = Markup(file("dashboard.css").decode("utf-8"))  # noqa: S704 -- our own file
    return render("report.html", language, css=css, **render_report(report, language, links=False, costs=costs))


def _again(path: str, kept: Mapping[str, str], **changed: str) -> str:
    """The address of this page with other parameters; what a message said once is not said again."""
    rest = {name: value for name, value in kept.items() if name not in ("lang", "theme", "done")}
    return f"{path}?{urlencode(rest | changed)}"
