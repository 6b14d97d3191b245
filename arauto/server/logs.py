"""What the server writes to standard error: our own warnings, of the libraries only errors. No address, no visitor.

As lines for people, or as one JSON object a line for collectors.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import msgspec

from arauto.core.settings import LogFormat

GRANIAN: dict[str, Any] = {"loggers": {"_granian": {"propagate": True}, "granian.access": {"propagate": False}}}
"""granian's own lines go where ours go (its ``log_dictconfig``)."""


class _Json(logging.Formatter):
    """``at`` is RFC 3339, UTC; ``process`` the process's number."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()

    converter = staticmethod(time.gmtime)


def start_logging(form: LogFormat) -> None:
    """Begin, in this process."""
    handler = logging.StreamHandler()
    plain = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(_Json() if form == "json" else plain)
    logging.basicConfig(level=logging.ERROR, handlers=[handler], force=True)
    logging.getLogger("arauto").setLevel(logging.INFO)
