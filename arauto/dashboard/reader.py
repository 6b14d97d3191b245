"""The reader of a page, as far as its request tells: language, colours, what a form says, whether it is ours."""

from __future__ import annotations

from starlette.requests import Request

from arauto.core.brief import Language
from arauto.core.errors import TooLargeError
from arauto.core.i18n import LANGUAGES, choose_language

LANGUAGE_COOKIE = "arauto_language"
THEME_COOKIE = "arauto_theme"
THEMES = ("light", "dark", "auto")
FORM_LIMIT = 65_536
FIELDS = 100


def language_of(request: Request) -> Language:
    """What the reader chose, now (``?lang=``) or before, else what the browser asks for."""
    for chosen in (request.query_params.get("lang"), request.cookies.get(LANGUAGE_COOKIE)):
        for language in LANGUAGES:
            if language == chosen:
                return language
    return choose_language(request.headers.get("accept-language", ""))


def theme_of(request: Request) -> str:
    """``light``, ``dark``, or ``auto``: as the system has it."""
    for chosen in (request.query_params.get("theme"), request.cookies.get(THEME_COOKIE)):
        if chosen in THEMES:
            return chosen
    return "auto"


def same_origin(request: Request) -> bool:
    """Whether a form came from a page of ours: a browser always says where a POST is from, and no page can lie."""
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return False
    return request.headers.get("origin", "").partition("://")[2] == request.headers.get("host")


async def fields(request: Request) -> dict[str, str]:
    """The text fields of a form; of several with one name, their values with a blank between.

    Raises:
        TooLargeError: it has more than :data:`FORM_LIMIT` bytes, or does not say how many.
    """
    told = request.headers.get("content-length", "")
    if not told.isdigit() or int(told) > FORM_LIMIT:
        raise TooLargeError(f"the form has more than {FORM_LIMIT} bytes", field="$", mend="send less at a time")
    found: dict[str, str] = {}
    async with request.form(max_files=0, max_fields=FIELDS) as form:
        for name, value in form.multi_items():
            if isinstance(value, str):
                found[name] = f"{found[name]} {value}" if name in found else value
    return found


def peer_of(request: Request) -> str:
    """The address of the machine at the other end of the line."""
    return request.client.host if request.client else ""
