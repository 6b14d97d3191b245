"""Many visitors' vectors at once, from their packed states: in this process or on Ray, the same vectors."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID

import numpy as np

from arauto.audience.encoder import Encoder
from arauto.audience.files import write_sealed
from arauto.audience.linear import Floats
from arauto.audience.state import Weights, histories
from arauto.core.spread import Spread, never

PART = 2_000
"""States that go to a worker at a time."""
_AT_ONCE = 64
"""States whose items' vectors are summed at once: they stay in the cache."""
_Shared = tuple[Encoder, Weights]


def encode_states(
    encoder: Encoder,
    states: Sequence[bytes],
    weights: Weights | None = None,
    *,
    ray: str = "",
    told: Callable[[int, int], None] = lambda *_: None,
    stopped: Callable[[], bool] = never,
) -> Floats:
    """The unit vectors of packed ``states``, states × dimensions, in their order; zeros where no item is known. Only
    what was touched is looked at: no id of a visitor goes to a worker.

    ``ray`` is the setting ``ray_address``: where that is done. ``told`` hears how many of how many are done.

    Raises:
        Stopped: ``stopped()`` was true.
        EngineError: no Ray answers at ``ray``, or a part's workers kept dying.
    """
    vectors = np.zeros((len(states), encoder.dimensions), dtype=np.float32)
    spread = Spread(_vectors, (encoder, weights or Weights()), ray)
    starts = range(0, len(states), PART)
    for at, part in zip(starts, spread((states[at : at + PART] for at in starts), stopped=stopped), strict=True):
        vectors[at : at + PART] = part
        told(min(at + PART, len(states)), len(states))
    return vectors


def _vectors(shared: _Shared, states: Sequence[bytes]) -> Floats:
    return encode(*shared, states)


def encode(encoder: Encoder, weights: Weights, states: Sequence[bytes]) -> Floats:
    """:func:`encode_states` in this process, with nothing around it: what an event costs."""
    if len(states) <= _AT_ONCE:
        return encoder.vectors(histories(states, weights, encoder.decay), len(states))
    parts = (states[start : start + _AT_ONCE] for start in range(0, len(states), _AT_ONCE))
    return np.concatenate([encode(encoder, weights, part) for part in parts])


def write_vectors(path: Path | str, encoder: Encoder, visitors: Sequence[UUID], vectors: Floats) -> int:
    """Write an index file (:meth:`VisitorIndex.load`) of the vectors that say something; a key is the place of its
    visitor in the file's array ``visitors`` (× 16 bytes). Returns how many."""
    real = np.any(vectors, axis=1)
    kept = [visitor.bytes for visitor, known in zip(visitors, real.tolist(), strict=True) if known]
    body = io.BytesIO()
    np.savez(
        body,
        keys=np.arange(len(kept), dtype=np.int64),
        vectors=vectors[real],
        visitors=np.frombuffer(b"".join(kept), dtype=np.uint8).reshape(-1, 16),
    )
    about = {"dimensions": encoder.dimensions, "metric": "cosine", "version": encoder.version}
    write_sealed(path, body.getvalue(), about)
    return len(kept)
