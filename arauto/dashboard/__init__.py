"""What the marketer sees: the dashboard's screens, a report as a file, the demonstration shop."""

from arauto.dashboard.app import create_dashboard
from arauto.dashboard.demo import render_demo
from arauto.dashboard.live import Live
from arauto.dashboard.pages import render_report_html
from arauto.dashboard.paper import write_pdf
from arauto.dashboard.sessions import SESSION_COOKIE, Sessions

__all__ = ["SESSION_COOKIE", "Live", "Sessions", "create_dashboard", "render_demo", "render_report_html", "write_pdf"]
