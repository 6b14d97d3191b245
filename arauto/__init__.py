"""Arauto: a self-hosted engine for marketing that improves itself. This is the library's face; all else may move."""

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
