"""Who may do what: the one table of the dashboard's routes. The application is made from it, and so is its test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from arauto.core.people import Role
from arauto.dashboard.screen import OWN, Screen
from arauto.dashboard.screens import SCREENS

Kind = Literal["page", "live", "file", "action", "own"]


class Entry(NamedTuple):
    """A route: what it is, the least role (None: open to everyone), and the screen and the name of what it serves."""

    kind: Kind
    role: Role | None
    screen: Screen | None = None
    name: str = ""


Table = Mapping[tuple[str, str], Entry]


def table() -> Table:
    """Every route of the dashboard by ``(path, method)``."""
    routes: dict[tuple[str, str], Entry] = {
        ("/login", "GET"): Entry("own", None, name="login"),
        ("/login", "POST"): Entry("own", None, name="login"),
        ("/logout", "POST"): Entry("own", None, name="logout"),
        ("/invitation", "GET"): Entry("own", None, name="invitation"),
        ("/invitation", "POST"): Entry("own", None, name="invitation"),
        ("/demo", "GET"): Entry("own", None, name="demo"),
        (f"{OWN}/static/{{name}}", "GET"): Entry("own", None, name="static"),
    }
    for screen in SCREENS:
        routes[screen.path, "GET"] = Entry("page", screen.role, screen)
        if screen.live:
            routes[f"{screen.path}/live", "GET"] = Entry("live", screen.role, screen)
        for name in screen.files:
            routes[f"{screen.path}/{name}", "GET"] = Entry("file", screen.role, screen, name)
        for name, action in screen.actions.items():
            routes[f"{screen.path}/{name}", "POST"] = Entry("action", action.role, screen, name)
    return routes
