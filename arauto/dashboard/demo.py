"""The demonstration shop: one page that uses the snippet as any page would."""

from __future__ import annotations

import hashlib
from base64 import b64encode

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from arauto.core.brief import Language
from arauto.core.i18n import catalogue
from arauto.dashboard.pages import file, render
from arauto.dashboard.reader import language_of
from arauto.store import Store

_SPOKEN = ("chosen", "default", "in_cart", "bought", "rated", "gpc", "forgotten", "not_forgotten")
"""The messages that the page's script shows."""


def render_demo(site_key: str, campaign_slug: str, language: Language) -> bytes:
    """The shop's page for a site's public key and the slug of the campaign shown in its slot.

    Its security policy allows this page's own style and script, by their hashes, and the snippet; nothing else.
    """
    css, script = file("demo.css").decode("utf-8"), file("demo.js").decode("utf-8")
    words = catalogue(language)
    page = render(
        "demo.html",
        language,
        key=site_key,
        slug=campaign_slug,
        css=Markup(css),  # noqa: S704 -- our own files
        script=Markup(script),  # noqa: S704
        policy=(
            f"default-src 'none'; script-src 'self' '{_hash(script)}'; style-src '{_hash(css)}'; connect-src 'self'; "
            "img-src data:; base-uri 'none'; form-action 'none'"
        ),
        spoken={name: words[f"demo.{name}"] for name in _SPOKEN},
    )
    return page.encode()


async def show_demo(store: Store, request: Request) -> Response:
    """The shop, for the live campaign named in ``?campaign=``, else for the one that went live last.

    Without one, the page shows its own texts, as every page does whose campaign is not live.
    """
    asked = request.query_params.get("campaign", "")
    live = [one for one in await store.catalogue.campaigns() if one.state == "live" and asked in ("", one.slug)]
    campaign = max(live, key=lambda one: one.launched_ms or 0, default=None)
    key = "" if campaign is None else (await store.catalogue.site(campaign.site_id)).key
    page = render_demo(key, "" if campaign is None else campaign.slug, language_of(request))
    # The page states its own policy, which allows the snippet and calls from it.
    headers = {"content-type": "text/html; charset=utf-8", "content-security-policy": "frame-ancestors 'none'"}
    return Response(page, headers=headers)


def _hash(text: str) -> str:
    return "sha256-" + b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
