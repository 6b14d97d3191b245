"""What a screen is: one line of the table in :mod:`arauto.dashboard.screens`, and what its functions get.

A screen has a path, a role that may look, the values of its template, files to download (CSV) and actions. Its template
``screens/NAME.html`` is the part of the page that is renewed while one looks. It is computed once for all who look at
it (:mod:`arauto.dashboard.live`), so its values may depend on nothing but what :class:`View` holds.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from arauto.core.brief import Language
from arauto.core.people import Person, Role, may
from arauto.dashboard.words import Words
from arauto.loop import Runtime

Place = Literal["house", "campaign", "none"]
"""In which navigation a screen stands: the page's, that of one campaign, or neither."""
OWN = "/dashboard"
CAMPAIGN = f"{OWN}/campaigns/{{id:int}}"


@dataclass(frozen=True, kw_only=True)
class View:
    """What a screen may know of a request. ``query`` holds only the names that the screen declares, each a short text.

    ``role`` is the reader's: a template shows a form only to those who may send it (``may("approver")``).
    """

    runtime: Runtime
    language: Language
    role: Role
    params: Mapping[str, Any]
    query: Mapping[str, str]

    @property
    def words(self) -> Words:
        return Words(self.language)

    @property
    def id(self) -> int:
        """Of the campaign, or what else the path names."""
        return int(self.params["id"])

    def may(self, role: Role) -> bool:
        return may(self.role, role)


@dataclass(frozen=True, kw_only=True)
class Deed:
    """A form that somebody sent: who, what (every field a text), and on which screen."""

    runtime: Runtime
    language: Language
    person: Person
    params: Mapping[str, Any]
    form: Mapping[str, str]

    @property
    def id(self) -> int:
        return int(self.params["id"])


@dataclass(frozen=True)
class File:
    """A file to download; or, ``inline``, one that a page shows."""

    body: bytes
    name: str
    kind: str = "text/csv; charset=utf-8"
    inline: bool = False


@dataclass(frozen=True, kw_only=True)
class Done:
    """Where to send the browser after an action, and which message (``dashboard.done_NAME``) to show there.

    ``shown`` are values for the screen's template, when the answer is shown once and kept nowhere (an invitation):
    then the page is answered at once, without going elsewhere. ``file`` is a file to answer with instead.
    """

    to: str = ""
    told: str = ""
    shown: Mapping[str, Any] = field(default_factory=dict)
    file: File | None = None


Values = Callable[[View], Awaitable[dict[str, Any]]]
Do = Callable[[Deed], Awaitable[Done]]
Give = Callable[[View], Awaitable[File]]


@dataclass(frozen=True)
class Action:
    """What a form does, and the least role that may send it."""

    role: Role
    do: Do


@dataclass(frozen=True, kw_only=True)
class Screen:
    """One screen. Its words: ``dashboard.nav_NAME`` in the navigation, ``dashboard.title_NAME`` as its heading where
    the values give no ``heading``.

    ``query`` names what it reads of the address; ``live`` says whether it is renewed while one looks,
    and ``every`` how many seconds it rests at least.
    """

    name: str
    path: str
    values: Values
    role: Role = "viewer"
    place: Place = "house"
    live: bool = True
    every: float = 2.0
    query: tuple[str, ...] = ()
    files: Mapping[str, Give] = field(default_factory=dict)
    actions: Mapping[str, Action] = field(default_factory=dict)

    @property
    def template(self) -> str:
        return f"screens/{self.name}.html"

    def at(self, params: Mapping[str, Any]) -> str:
        """Its address, for these parameters of its path."""
        path = self.path
        for name, value in params.items():
            path = path.replace(f"{{{name}:int}}", str(value))
        return path


def csv_file(name: str, head: Sequence[str], lines: Sequence[Sequence[Any]]) -> File:
    """A table as CSV (RFC 4180); a text that a spreadsheet would take for a formula is marked as text."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(head)
    writer.writerows([[_plain(cell) if isinstance(cell, str) else cell for cell in line] for line in lines])
    return File(file.getvalue().encode(), name)


def _plain(text: str) -> str:
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
