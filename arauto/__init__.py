"""Arauto: a self-hosted engine for marketing that improves itself. This is the library's face; all else may move."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arauto.core.brief import Brief
    from arauto.core.campaign import Campaign, CampaignPlan, Copy
    from arauto.core.errors import ArautoError
    from arauto.core.settings import Settings, load_settings
    from arauto.loop.answers import DecideAnswer as Decision
    from arauto.loop.app import Arauto, open  # noqa: A004

__version__ = "0.1.0"

__all__ = [
    "Arauto",
    "ArautoError",
    "Brief",
    "Campaign",
    "CampaignPlan",
    "Copy",
    "Decision",
    "Settings",
    "__version__",
    "load_settings",
    "open",
]

# Imported when first asked for: most of what imports a part of the package needs a tenth of the whole.
_PLACES = {
    "Arauto": ("loop.app", "Arauto"),
    "ArautoError": ("core.errors", "ArautoError"),
    "Brief": ("core.brief", "Brief"),
    "Campaign": ("core.campaign", "Campaign"),
    "CampaignPlan": ("core.campaign", "CampaignPlan"),
    "Copy": ("core.campaign", "Copy"),
    "Decision": ("loop.answers", "DecideAnswer"),
    "Settings": ("core.settings", "Settings"),
    "load_settings": ("core.settings", "load_settings"),
    "open": ("loop.app", "open"),
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PLACES[name]
    value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), attribute)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
