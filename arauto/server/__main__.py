"""``python -m arauto.server``: serve by the settings of the environment."""

import sys

from arauto.core.errors import ArautoError
from arauto.core.settings import load_settings
from arauto.server.main import Started, serve


def announce(started: Started) -> None:
    """Say where the server is, and once its token."""
    sys.stdout.write(f"Arauto listens at {started.url}\n")
    if started.token:
        sys.stdout.write(f"Admin token, shown only this once: {started.token}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        serve(load_settings(), announce)
    except ArautoError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(error.exit_code) from None
