"""OpenTelemetry traces from a decision to what came of it, across processes and days. Off unless an endpoint is set.

A trace is one decision. Its id is a keyed hash of the decision's, so every process that is told of the decision finds
the trace, and nobody without the key finds the decision, or whose it was. A share of the decisions is traced, always
with all that is told of them.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from arauto.core.errors import InputError
from arauto.core.events import EventRow
from arauto.core.ids import uuid7_ms
from arauto.core.settings import Settings
from arauto.store import AppendStatus

NAME = "arauto"


class _Decided(msgspec.Struct):
    """What a trace tells of an answer to decide."""

    decision: UUID
    campaign: str
    variant: str
    propensity: float
    policy_version: int


_read = msgspec.json.Decoder(_Decided)


class Traces:
    """Writes spans. Made by :func:`open_traces`; ``processor`` is an OpenTelemetry span processor."""

    def __init__(self, processor: Any, key: bytes, share: float) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON

        self._ids = _ids()
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,
            id_generator=self._ids,
            resource=Resource.create({"service.name": NAME}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer(NAME)
        self._key = hashlib.blake2b(digest_size=24, key=key[:64], person=b"arauto-trace")
        self._most = int(share * 2**64)

    def decided(self, answer: bytes, began_ns: int) -> None:
        """The root of a trace: an answer to decide that was begun at ``began_ns`` (Unix time)."""
        one = _read.decode(answer)
        trace, span = self._place(one.decision)
        if not trace:
            return
        self._ids.trace, self._ids.span = trace, span
        facts: dict[str, str | float] = {
            "arauto.campaign": one.campaign,
            "arauto.variant": one.variant,
            "arauto.propensity": one.propensity,
            "arauto.policy_version": one.policy_version,
        }
        from opentelemetry.context import Context

        self._tracer.start_span("decide", Context(), attributes=facts, start_time=began_ns).end()

    def told(self, rows: Sequence[EventRow], status: Sequence[AppendStatus], began_ns: int) -> None:
        """Spans of what was told of traced decisions, from the request's beginning to the commit."""
        now = time.time_ns()
        for row, became in zip(rows, status, strict=True):
            if row.decision_id is None:
                continue
            trace, span = self._place(row.decision_id)
            if trace:
                facts = {
                    "arauto.status": became,
                    "arauto.after_ms": max(0, row.occurred_ms - uuid7_ms(row.decision_id)),
                }
                self._tracer.start_span(row.type, _under(trace, span), attributes=facts, start_time=began_ns).end(now)

    def close(self) -> None:
        """Send what waits."""
        self._provider.shutdown()

    def _place(self, decision: UUID) -> tuple[int, int]:
        """The trace and its root's span of a decision; zeros when it is not traced."""
        keyed = self._key.copy()
        keyed.update(decision.bytes)
        digest = keyed.digest()
        if int.from_bytes(digest[:8]) >= self._most:
            return 0, 0
        return int.from_bytes(digest[:16]), int.from_bytes(digest[16:]) or 1


def open_traces(settings: Settings, key: bytes) -> Traces | None:
    """The traces of the settings, or None when they are off. ``key``: a secret that all processes share.

    Raises:
        InputError: the extra is not installed.
    """
    if not settings.otel_endpoint:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise InputError(
            "OpenTelemetry is not installed", field="otel_endpoint", mend="pip install 'arauto[otel]'"
        ) from None
    endpoint = settings.otel_endpoint.rstrip("/") + "/v1/traces"
    return Traces(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)), key, settings.otel_share)


def _ids() -> Any:
    from opentelemetry.sdk.trace.id_generator import IdGenerator

    class Ids(IdGenerator):
        """The next root's ids as they were set; any span's at random."""

        trace = 0
        span = 0

        def generate_trace_id(self) -> int:
            return self.trace

        def generate_span_id(self) -> int:
            span, self.span = self.span, 0
            return span or random.getrandbits(64) or 1

    return Ids()


def _under(trace: int, span: int) -> Any:
    """The context of a span that another process wrote."""
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    return set_span_in_context(
        NonRecordingSpan(SpanContext(trace, span, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)))
    )
