"""Settings: defaults, then ``arauto.toml``, then environment variables (``ARAUTO_`` and the name in capitals)."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from arauto.core.brief import Language
from arauto.core.door import from_data
from arauto.core.errors import SettingError

LogFormat: TypeAlias = Literal["text", "json"]

PREFIX = "ARAUTO_"
FILE_NAME = "arauto.toml"
LEAST_DAYS = 100
"""The least that ``keep_events_days`` may be, but 0: of what is older no page can tell any more (arauto/loop/admit.py),
so nothing counts twice."""


class Secret:
    """A value that never shows itself: ``repr``, ``str`` and logs print stars. :meth:`reveal` gives it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __repr__(self) -> str:
        return "Secret('***')" if self._value else "Secret('')"

    __str__ = __repr__


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that can be set. ``docs/settings.md`` has a heading for each."""

    home: Path = Path(".arauto")
    """Folder of the embedded database, the models and the reports."""
    database_url: Secret = msgspec.field(default_factory=lambda: Secret(""))
    """A PostgreSQL ≥ 18 with pgvector; empty: the embedded one, under ``home``."""
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8800
    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    """Server processes. Each answers decide from its own memory."""
    language: Language = "pt-BR"
    """Of reports and of the terminal; a browser chooses its own."""
    admin_token: Secret = msgspec.field(default_factory=lambda: Secret(""))
    """Empty: one is made at first start and shown once."""
    federated_secret: Secret = msgspec.field(default_factory=lambda: Secret(""))
    """What federated rounds are signed with; empty: one is made in ``home``/federated.secret."""
    rate_limit: Annotated[int, Meta(ge=0)] = 600
    """Public requests a minute from one address; 0 turns the limit off."""
    drain_s: Annotated[float, Meta(ge=0, le=600)] = 0.0
    """Seconds between SIGTERM, when ``/readyz`` begins to fail, and the end; 0: only what is in flight."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses whose ``X-Forwarded-For`` is believed."""
    audience: bool = True
    """Whether vectors and touches of visitors who agreed are kept."""
    text_engine: str = "auto"
    """``slot``, ``local``, ``openai``, ``hf``, or ``auto``: openai when its URL is set, else local when it is here."""
    openai_url: str = ""
    """Base URL of any OpenAI-compatible endpoint, such as ``https://host/v1``."""
    openai_key: Secret = msgspec.field(default_factory=lambda: Secret(""))
    openai_model: str = ""
    openai_voice_model: str = ""
    openai_voice: str = "alloy"
    openai_image_model: str = ""
    openai_max_spend: Decimal | None = None
    """The most that a process may spend at the endpoint, in the currency of the prices; None: no cap."""
    openai_max_tokens: Annotated[int, Meta(ge=0)] | None = None
    openai_price_input: Decimal = Decimal(0)
    """Of a million tokens in; ``_output``: out; ``_speech``: of a million characters said; ``_image``: of a picture."""
    openai_price_output: Decimal = Decimal(0)
    openai_price_speech: Decimal = Decimal(0)
    openai_price_image: Decimal = Decimal(0)
    openai_cache: bool = True
    """Whether answers are kept under ``home``/cache by the hash of what was asked."""
    voice_engine: str = "auto"
    """``local``, ``openai``, ``none``, or ``auto``: openai when its voice model is set, else this machine's best."""
    local_model: str = "qwen2.5-coder-1.5b-instruct-q4_k_m"
    """A name that ``arauto models list`` shows, or the path of a GGUF file."""
    hf_model: str = ""
    """A chat model of the library transformers, by name or folder, for ``text_engine`` hf."""
    local_image_model: str = ""
    """A model of the library diffusers, by name or folder; the endpoint's ``openai_image_model`` goes before it."""
    model_threads: Annotated[int, Meta(ge=1, le=256)] = 1
    log_format: LogFormat = "text"
    """Of the server's log: lines for people, or a JSON object a line."""
    otel_endpoint: str = ""
    """Base URL of an OpenTelemetry collector (OTLP over HTTP), such as ``http://localhost:4318``; empty: no traces."""
    otel_share: Annotated[float, Meta(ge=0, le=1)] = 0.01
    """The share of decisions that are traced."""
    keep_events_days: Annotated[int, Meta(ge=0)] = 0
    """Raw events older than that leave the database, a whole month at a time, as Parquet files; 0: they stay."""
    archive_dir: Path | None = None
    """Where they go; None: ``home``/archive."""
    ray_address: str = ""
    """Where large batches are computed: empty: in the process that wants them; ``local``: on a Ray of this machine;
    else the address of a Ray cluster."""
    data_dir: Path | None = None
    """Where the public data sets of the benchmarks are."""


def load_settings(folder: Path | None = None, environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Read the settings. ``folder`` holds ``arauto.toml`` (the current one by default); ``overrides`` win over all.

    Raises:
        SettingError: names the variable or key, what was wrong and the mend.
    """
    values = _from_file((folder or Path.cwd()) / FILE_NAME)
    values.update(_from_environ(os.environ if environ is None else environ))
    values.update({name: value for name, value in overrides.items() if value is not None})
    if isinstance(proxies := values.get("trusted_proxies"), str):
        values["trusted_proxies"] = [part.strip() for part in proxies.split(",") if part.strip()]
    for name in ("archive_dir", "data_dir", "openai_max_spend", "openai_max_tokens"):
        if values.get(name) == "":
            del values[name]
    settings = from_data(values, Settings, error=SettingError, strict=False, hook=_decode)
    if 0 < settings.keep_events_days < LEAST_DAYS:
        raise SettingError(
            f"is {settings.keep_events_days}", field="keep_events_days", mend=f"give 0, or {LEAST_DAYS} or more"
        )
    for name in ("max_spend", "price_input", "price_output", "price_speech", "price_image"):
        amount = getattr(settings, f"openai_{name}")
        if amount is not None and not (amount.is_finite() and amount >= 0):
            raise SettingError(f"is {amount}", field=f"openai_{name}", mend="give an amount of at least 0")
    return settings


def _decode(kind: type, value: Any) -> Any:
    """Let ``msgspec`` read the two types it does not know."""
    if kind is Secret:
        return value if isinstance(value, Secret) else Secret(str(value))
    return Path(value).expanduser()


def _from_file(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as failure:
        raise SettingError(f"is not TOML: {failure}", field=str(path), mend="mend that line") from None


def _from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    return {name[len(PREFIX) :].lower(): value for name, value in environ.items() if name.startswith(PREFIX)}
