"""What the commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec
import yaml
from rich.console import Console

from arauto.core.errors import InputError
from arauto.core.settings import Settings, load_settings

console = Console()
as_json = click.option("--json", "json_", is_flag=True, help="Print JSON, for programs.")


def settings_of(**overrides: Any) -> Settings:
    """The settings of this folder and environment, with what the command line gave on top."""
    return load_settings(Path.cwd(), **overrides)


def read_yaml(path: Path) -> Any:
    """What a JSON or YAML file says. Raises :class:`InputError` when it cannot be read."""
    try:
        return yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as failure:
        raise InputError(f"cannot be read: {failure}", field=str(path), mend="give a JSON or YAML file") from None


def print_json(value: Any) -> None:
    """One JSON document on standard output, indented."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def megabytes(size: int) -> str:
    """Bytes as people say them: ``1,117 MB``."""
    return f"{size / 1e6:,.0f} MB"
