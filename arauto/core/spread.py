"""One function over many parts: in this process, or on a Ray cluster. Wherever it is done, the answers are the same.

Ray is the extra ``arauto[ray]``. Functions, parts and answers travel in Ray's own form, which can carry code: whoever
reaches the cluster is trusted as this process is (docs/threats.md).
"""

from __future__ import annotations

import importlib
import math
import os
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Generic, TypeVar

from arauto.core.errors import EngineError, InputError

S = TypeVar("S")
P = TypeVar("P")
R = TypeVar("R")

RETRIES = 16
"""How often a part whose worker died is done again."""
LOOK_S = 0.2
"""How often somebody who waits looks whether to stop."""
LOCAL = "local"
"""The address of a Ray of this machine's own."""


class Stopped(Exception):  # noqa: N818  nothing went wrong
    """Work was told to stop, and has stopped."""


def never() -> bool:
    """What never tells to stop."""
    return False


class Spread(Generic[S, P, R]):
    """``work(shared, part)`` for each part. ``address`` is the setting ``ray_address``: empty: in this process;
    :data:`LOCAL`: on a Ray of this machine, which begins with the first part and ends with this process; else a
    cluster's.

    ``work`` is a function of a module that the workers have too, and its answer follows from its arguments alone, seeds
    among them: it is done again when its worker dies. ``shared`` is sent to each worker once.
    """

    def __init__(self, work: Callable[[S, P], R], shared: S, address: str = "") -> None:
        self._work, self._shared, self._address = work, shared, address
        self._run: Any = None
        self._box: list[Any] = []

    def __call__(self, parts: Iterable[P], *, stopped: Callable[[], bool] = never) -> Iterator[R]:
        """The answers in the order of the parts, which are asked for as room comes: twice as many are out as the
        cluster has cores. What is out when no more answers are wanted is cancelled, by an end of its workers.

        Raises:
            Stopped: ``stopped()`` was true, between two answers or while one was waited for.
            InputError: Ray is not installed.
            EngineError: no cluster answers there, or a part's workers died :data:`RETRIES` times more.
            Exception: whatever ``work`` raised, as it was.
        """
        if self._address:
            yield from self._on_ray(parts, stopped)
            return
        for part in parts:
            if stopped():
                raise Stopped
            yield self._work(self._shared, part)

    def _on_ray(self, parts: Iterable[P], stopped: Callable[[], bool]) -> Iterator[R]:
        ray = connected(self._address)
        if self._run is None:
            self._run = ray.remote(max_retries=RETRIES)(_at_worker)
            self._box = [ray.put(self._shared)]
        most = 2 * max(1, math.floor(ray.cluster_resources().get("CPU", 1)))
        rest, out = iter(parts), deque[Any]()
        try:
            while True:
                out.extend(self._run.remote(self._work, self._box, part) for part in islice(rest, most - len(out)))
                if not out:
                    return
                while not stopped() and not ray.wait([out[0]], timeout=LOOK_S)[0]:
                    pass
                if stopped():
                    raise Stopped
                yield _answer(ray, out.popleft())
        finally:
            for one in out:
                ray.cancel(one, force=True)  # else a worker hears of it only between two steps of Python


def _answer(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as failure:
        raise failure.cause from failure
    except ray.exceptions.RayError as failure:
        raise EngineError(
            f"a part was not done: {type(failure).__name__}: {str(failure).splitlines()[0][:200]}",
            field="ray_address",
            mend="look at the cluster: `ray status`; a part may need more memory than a worker has",
        ) from failure


_kept: dict[str, Any] = {}
"""At a worker: what the parts share, by the reference's name."""


def _at_worker(work: Callable[[Any, Any], Any], box: list[Any], part: Any) -> Any:
    """``box`` holds the reference: what is given bare, Ray would unpack for each part anew."""
    name = box[0].hex()
    if name not in _kept:
        _kept.clear()
        _kept[name] = importlib.import_module("ray").get(box[0])
    return work(_kept[name], part)


def connected(address: str) -> Any:
    """The module ``ray``, connected; once a process.

    Raises:
        InputError: Ray is not installed.
        EngineError: no cluster answers there.
    """
    guard(address)
    try:
        ray = importlib.import_module("ray")
    except ModuleNotFoundError:
        raise InputError("ray is not installed", field="ray_address", mend="pip install 'arauto[ray]'") from None
    if not ray.is_initialized():
        try:
            ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, OSError, RuntimeError, ValueError) as failure:
            raise EngineError(
                f"no Ray answers at {address!r}: {str(failure).splitlines()[0][:200] if str(failure) else failure!r}",
                field="ray_address",
                mend="`ray start --head` there, or give `local`",
            ) from failure
    return ray


def guard(address: str) -> None:
    """What Ray must find in the environment: that it reports home nothing, and, for a Ray of our own, a token that
    whoever wants it to run something has to show: it listens on every interface."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address == LOCAL and "RAY_AUTH_MODE" not in os.environ:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
