"""Every error Arauto raises on purpose.

Each says which field, what was wrong and the mend, and knows its HTTP status and its exit code.

::

    ArautoError
    ├── InputError            422  exit 2   what came in cannot be used
    │   ├── BriefError                      a brief
    │   ├── EventError                      an event
    │   ├── ReceiptError                    a receipt: forged, altered, expired, foreign
    │   └── SettingError                    an environment variable or arauto.toml
    ├── AuthError             401  exit 3   no key or token, or a wrong one
    ├── ForbiddenError        403  exit 3   known, but not allowed: a foreign origin, another site's campaign
    ├── NotFoundError         404  exit 4
    ├── ConflictError         409  exit 5   the state does not allow it now
    ├── TooLargeError         413  exit 2
    ├── RateLimitError        429  exit 6   says when to come back
    │   └── BusyError         503  exit 6   the server, not the caller, has too much to do, or is about to end
    ├── EngineError           502  exit 7   a text, image, voice or music engine failed, or a cluster
    ├── ModelFileError        502  exit 7   a model file is missing, cut short or not the one that was pinned
    └── StoreError            503  exit 8   the database cannot be reached or used
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an HTTP answer or a terminal shows of an error: the body of every 4xx and 5xx."""

    code: str
    field: str
    problem: str
    mend: str
    index: int | None = None


class ArautoError(Exception):
    """The root. ``field`` is a path such as ``offer.price``; empty when no single field is at fault."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(self, problem: str, *, field: str = "", mend: str = "") -> None:
        self.problem = problem
        self.field = field
        self.mend = mend
        super().__init__(problem, field, mend)

    def __str__(self) -> str:
        where = f"{self.field}: " if self.field else ""
        if not self.mend:
            return f"{where}{self.problem}"
        end = "" if self.problem.endswith((".", "!", "?", ":", "…")) else "."
        return f"{where}{self.problem}{end} Mend: {self.mend}"

    def __reduce__(self) -> tuple[Any, ...]:
        """An error that crosses from one process to another arrives whole."""
        return _again, (type(self), self.args, vars(self))

    def as_problem(self, index: int | None = None) -> Problem:
        """The same, as data. ``index`` is the place of the offending item in a batch."""
        return Problem(code=self.code, field=self.field, problem=self.problem, mend=self.mend, index=index)


def _again(kind: type[ArautoError], args: tuple[str, ...], told: dict[str, Any]) -> ArautoError:
    error = kind.__new__(kind, *args)
    vars(error).update(told)
    return error


class InputError(ArautoError):
    """What came in cannot be used as it is."""

    code = "bad_input"
    status = 422
    exit_code = 2


class BriefError(InputError):
    """A brief cannot be used."""

    code = "bad_brief"


class EventError(InputError):
    """An event cannot be used."""

    code = "bad_event"


class ReceiptError(InputError):
    """A receipt is forged, altered, expired or foreign."""

    code = "bad_receipt"


class SettingError(InputError):
    """An environment variable or a key of arauto.toml cannot be used."""

    code = "bad_setting"


class AuthError(ArautoError):
    """No key or token came, or a wrong one."""

    code = "unauthorised"
    status = 401
    exit_code = 3


class ForbiddenError(ArautoError):
    """Known, but not allowed."""

    code = "forbidden"
    status = 403
    exit_code = 3


class NotFoundError(ArautoError):
    """There is no such thing."""

    code = "not_found"
    status = 404
    exit_code = 4


class ConflictError(ArautoError):
    """The state does not allow it now."""

    code = "conflict"
    status = 409
    exit_code = 5


class TooLargeError(ArautoError):
    """More came than is taken at once."""

    code = "too_large"
    status = 413
    exit_code = 2


class RateLimitError(ArautoError):
    """Too much at once. ``retry_after`` is in seconds and becomes the ``Retry-After`` header."""

    code = "rate_limited"
    status = 429
    exit_code = 6

    def __init__(self, problem: str, *, field: str = "", mend: str = "", retry_after: int = 1) -> None:
        super().__init__(problem, field=field, mend=mend)
        self.retry_after = retry_after


class BusyError(RateLimitError):
    """More than the server can do now, whoever asks; or it is about to end."""

    code = "busy"
    status = 503


class EngineError(ArautoError):
    """An engine failed to answer, or answered nonsense; or a cluster that was to compute something."""

    code = "engine_failed"
    status = 502
    exit_code = 7


class ModelFileError(ArautoError):
    """A model file is missing, cut short, or not the one that was pinned."""

    code = "model_file"
    status = 502
    exit_code = 7


class StoreError(ArautoError):
    """The database cannot be reached or used."""

    code = "store_unavailable"
    status = 503
    exit_code = 8
