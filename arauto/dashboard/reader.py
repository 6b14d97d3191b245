"""The reader of a page, as far as its request tells: which language."""

from __future__ import annotations

from starlette.requests import Request

from arauto.core.brief import Language
from arauto.core.i18n import LANGUAGES, choose_language

LANGUAGE_COOKIE = "arauto_language"


def language_of(request: Request) -> Language:
    """What the reader chose, now (``?lang=``) or before, else what the browser asks for."""
    for chosen in (request.query_params.get("lang"), request.cookies.get(LANGUAGE_COOKIE)):
        for language in LANGUAGES:
            if language == chosen:
                return language
    return choose_language(request.headers.get("accept-language", ""))
