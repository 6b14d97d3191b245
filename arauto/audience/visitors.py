"""Every known visitor of a process: state, vector, place in the index, segment. One event moves all four at once."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple
from uuid import UUID

import msgspec
import numpy as np
from numpy.typing import NDArray

from arauto.audience import offers as offering
from arauto.audience import segments as segmenting
from arauto.audience.batch import encode, encode_states
from arauto.audience.encoder import Encoder
from arauto.audience.index import EXACT_BELOW, VisitorIndex
from arauto.audience.ledger import Ledger, ledger_of
from arauto.audience.offers import Candidate, Offer, Policy, counts_of_items
from arauto.audience.rules import Condition, facts_of, sensitive
from arauto.audience.segments import NO_CLUSTERS, NOBODY, Clusters, Drift, Labels, Segment, lookalikes
from arauto.audience.state import SIZE, Touch, Weights, add, bought, history, pack, showings, unpack
from arauto.core.brief import Language
from arauto.core.errors import InputError, NotFoundError

_NAMED_BY = 5000
"""Visitors whose items name the segments."""


class Neighbour(NamedTuple):
    """A visitor and how near (cosine)."""

    visitor: UUID
    similarity: float


class ItemOffer(msgspec.Struct, frozen=True, kw_only=True):
    """An item to show next, and why."""

    item: str
    score: float
    similar: int
    bought: int
    reason: dict[Language, str]


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which neighbours count: of a ``segment`` only, and active ``since_ms``. Nobody without consent is here at all."""

    segment: int | None = None
    since_ms: int = 0


class Held(NamedTuple):
    """Segments held fast, to tell later what changed: who was where (by slot), and when each was last here."""

    clusters: Clusters
    labels: Labels
    last: Labels


class Visitors:
    """The visitors who agreed. Safe to use from several threads."""

    def __init__(
        self, encoder: Encoder | None = None, weights: Weights | None = None, *, exact_below: int = EXACT_BELOW
    ) -> None:
        self.encoder = encoder or Encoder.untrained()
        self.weights = weights or Weights()
        self.names: dict[int, str] = {}
        """The name of each item that was met, by code."""
        self.clusters: Clusters = NO_CLUSTERS
        self._exact_below = exact_below
        self._slots: dict[UUID, int] = {}
        self._owners: list[UUID | None] = []
        self._free: list[int] = []
        self._packed: list[bytes] = []
        self._last = np.zeros(0, dtype=np.int64)
        self._segment = np.zeros(0, dtype=np.int64)
        self.ledger = Ledger()
        self._held: Held | None = None
        self._lock = threading.RLock()
        self._dirty: set[UUID] | None = None
        self._late: list[tuple[UUID, Touch | None]] | None = None
        self.index = self._new_index(self.encoder)

    def _new_index(self, encoder: Encoder) -> VisitorIndex:
        return VisitorIndex(encoder.dimensions, exact_below=self._exact_below, version=encoder.version)

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, visitor: UUID) -> bool:
        return visitor in self._slots

    def __iter__(self) -> Iterator[UUID]:
        return iter(list(self._slots))

    def learn(self, visitor: UUID, touch: Touch) -> bool:
        """Take in one event. Whether anything changed: a repeat, or what is older than all that is kept, does not."""
        return bool(self.learn_all([(visitor, touch)]))

    def learn_all(self, events: Iterable[tuple[UUID, Touch]]) -> set[UUID]:
        """Take in events; a visitor of several is encoded once. Returns whose state changed."""
        with self._lock:
            changed: set[UUID] = set()
            moved: set[int] = set()
            for visitor, touch in events:
                slot = self._slots.get(visitor)
                packed = add(self._packed[slot] if slot is not None else b"", touch)
                if packed is None:
                    continue
                slot = self._slot(visitor) if slot is None else slot
                self._set(slot, packed)
                changed.add(visitor)
                self.ledger.add(int(self._segment[slot]), touch)
                if touch.kind != "impression":  # which weighs nothing
                    moved.add(slot)
                if self._late is not None:
                    self._late.append((visitor, touch))
            self._encode(moved)
            if self._dirty is not None:
                self._dirty |= changed
            return changed

    def load(self, states: Iterable[tuple[UUID, bytes]]) -> None:
        """Add packed states, as :meth:`state` gave them, to what is known already."""
        with self._lock:
            slots = []
            for visitor, packed in states:
                slot = self._slot(visitor)
                whole = packed
                if known := self._packed[slot]:
                    self.ledger.remove(int(self._segment[slot]), known)
                    whole = pack([*unpack(known), *unpack(packed)])
                self._set(slot, whole)
                slots.append(slot)
                if self._dirty is not None:
                    self._dirty.add(visitor)
            self._encode(slots)
            for slot in slots:
                self.ledger.put(int(self._segment[slot]), self._packed[slot])

    def state(self, visitor: UUID) -> bytes:
        """What is kept of a visitor, packed; empty when nothing is."""
        with self._lock:
            slot = self._slots.get(visitor)
            return b"" if slot is None else self._packed[slot]

    def forget(self, visitor: UUID) -> bool:
        """Remove everything of a visitor. Whether there was anything."""
        with self._lock:
            slot = self._slots.pop(visitor, None)
            if slot is None:
                return False
            self.ledger.remove(int(self._segment[slot]), self._packed[slot])
            self._owners[slot], self._packed[slot] = None, b""
            self._last[slot], self._segment[slot] = 0, NOBODY
            self._free.append(slot)
            self.index.remove(slot)
            if self._held is not None and slot < len(self._held.labels):
                self._held.labels[slot] = NOBODY
            if self._dirty is not None:
                self._dirty.add(visitor)
            if self._late is not None:
                self._late = [one for one in self._late if one[0] != visitor]
                self._late.append((visitor, None))
            return True

    def _slot(self, visitor: UUID) -> int:
        slot = self._slots.get(visitor)
        if slot is not None:
            return slot
        if self._free:
            slot = self._free.pop()
        else:
            slot = len(self._owners)
            self._owners.append(None)
            self._packed.append(b"")
            if slot >= len(self._last):
                room = max(1024, slot + slot // 4)
                self._last = np.concatenate([self._last, np.zeros(room - len(self._last), dtype=np.int64)])
                grown = np.full(room, NOBODY, dtype=np.int64)
                grown[: len(self._segment)] = self._segment
                self._segment = grown
        self._slots[visitor], self._owners[slot] = slot, visitor
        return slot

    def _set(self, slot: int, packed: bytes) -> None:
        self._packed[slot] = packed
        self._last[slot] = int.from_bytes(packed[-SIZE:][:8], "big")

    def _encode(self, slots: Iterable[int]) -> None:
        """Compute vectors from states, and put them where they belong."""
        chosen = list(slots)
        if not chosen:
            return
        vectors = encode(self.encoder, self.weights, [self._packed[slot] for slot in chosen])
        self._segment[chosen] = self.clusters.label(vectors)
        real = vectors.any(axis=1)
        keys = np.array(chosen, dtype=np.int64)
        if real.all():
            self.index.move(keys, vectors)
            return
        self.index.move(keys[real], vectors[real])
        for slot in keys[~real].tolist():
            self.index.remove(slot)

    def last_ms(self, visitor: UUID) -> int:
        """When a visitor was last here; 0 for one who is not known."""
        slot = self._slots.get(visitor)
        return 0 if slot is None else int(self._last[slot])

    def trim(self, most: int) -> None:
        """Forget those who were away longest when there are more than ``most``: a fiftieth at once, for finding them
        looks at everyone."""
        with self._lock:
            if len(self._slots) <= most:
                return
            slots = np.fromiter(self._slots.values(), dtype=np.int64, count=len(self._slots))
            surplus = len(slots) - most + most // 50
            for slot in slots[np.argpartition(self._last[slots], surplus - 1)[:surplus]].tolist():
                if (owner := self._owners[slot]) is not None:
                    self.forget(owner)

    # What is asked.

    def vector(self, visitor: UUID) -> NDArray[np.float32] | None:
        """A visitor's vector, or None while nothing is known that the encoder understands."""
        with self._lock:
            slot = self._slots.get(visitor)
            return self.index.vectors(slot)[0] if slot is not None and slot in self.index else None

    def segment(self, visitor: UUID) -> int:
        """The id of a visitor's segment; :data:`~arauto.audience.segments.NOBODY` without one."""
        slot = self._slots.get(visitor)
        return NOBODY if slot is None else int(self._segment[slot])

    def neighbours(self, visitor: UUID, k: int = 10, where: Filter | None = None) -> list[Neighbour]:
        """The visitors most like this one, the nearest first; nobody while nothing is known of them."""
        with self._lock:
            found = ((self._owners[slot], similarity) for slot, similarity in self._near(visitor, k, where))
            return [Neighbour(owner, similarity) for owner, similarity in found if owner is not None]

    def _near(self, visitor: UUID, k: int, where: Filter | None = None) -> list[tuple[int, float]]:
        """The places of the nearest others, and how near they are."""
        vector = self.vector(visitor)
        if vector is None:
            return []
        allowed = None
        if where is not None:
            allowed = self._last >= where.since_ms
            if where.segment is not None:
                allowed = allowed & (self._segment == where.segment)
        slots, near = self.index.nearest(vector[None], k + 1, allowed=allowed)
        own = self._slots[visitor]
        pairs = zip(slots[0].tolist(), near[0].tolist(), strict=True)
        return [(slot, similarity) for slot, similarity in pairs if slot >= 0 and slot != own][:k]

    def offers(
        self,
        visitor: UUID,
        candidates: Collection[Candidate],
        now_ms: int,
        rng: np.random.Generator,
        *,
        policy: Policy | None = None,
        goal: offering.Goal = "click",
        count: int = 3,
    ) -> list[Offer]:
        """What to offer a visitor of ``candidates``."""
        policy = policy or Policy()
        with self._lock:
            near = self._near(visitor, policy.neighbours)
            states, own = [self._packed[slot] for slot, _ in near], self.state(visitor)
        open_ = offering.allowed(candidates, own, now_ms, policy)
        found = offering.tally(showings(states), np.array([max(similarity, 0.0) for _, similarity in near]), goal)
        return offering.choose(open_, found, self.ledger.everyone(goal), policy, rng, count=count, goal=goal)

    def next_items(self, visitor: UUID, *, count: int = 5, neighbours: int = 40) -> list[ItemOffer]:
        """Items the visitor has neither met nor bought, by the encoder's scores; before it is trained, by how many
        similar visitors met them."""
        packed = self.state(visitor)
        met = {touch.code for touch in unpack(packed)} | set(bought(packed))
        near = [self.state(one.visitor) for one in self.neighbours(visitor, neighbours)]
        buyers = counts_of_items(near, ("purchase",))
        viewers = counts_of_items(near, ("view", "cart", "click"))
        if self.encoder.trained:
            scores = self.encoder.scores(history(packed, self.weights, self.encoder.decay))
            ranked = [
                (float(scores[row]), int(self.encoder.codes[row])) for row in np.argsort(-scores)[: count + len(met)]
            ]
        else:
            ranked = sorted(((float(viewers[code]), code) for code in viewers), reverse=True)
        found = []
        for score, code in ranked:
            name = self._name(code)
            if code in met or score <= 0 or name is None or sensitive(name):
                continue
            kind, done = ("bought", buyers[code]) if code in buyers else ("viewed", viewers.get(code, 0))
            reason = offering.reason(f"audience.item_{kind}" if done else "audience.item_next", done, len(near))
            found.append(
                ItemOffer(item=name, score=score, similar=len(near), bought=buyers.get(code, 0), reason=reason)
            )
        return found[:count]

    def _name(self, code: int) -> str | None:
        row = self.encoder.row_of.get(code)
        return self.names.get(code) or (self.encoder.names[row] if row is not None else None)

    def states(self) -> list[tuple[UUID, bytes]]:
        """Everyone, packed."""
        with self._lock:
            return [(owner, self._packed[slot]) for owner, slot in self._slots.items()]

    # Segments.

    def regroup(self, count: int = 8, *, seed: int = 0, hold: bool = True) -> tuple[list[Segment], Drift]:
        """Find the segments anew, under the ids of before. Returns them, and what changed since they were last held;
        with ``hold``, they are held from now on."""
        with self._lock:
            slots = self.index.keys
            vectors = self.index.vectors(slots) if len(slots) else np.zeros((0, self.index.dimensions), np.float32)
            before, old = self._segment.copy(), self.clusters
            everyone = [(slot, owner, self._packed[slot]) for owner, slot in self._slots.items()]
            last = self._last.copy()
            self._late = []
        try:
            fresh = segmenting.cluster(vectors, count, before=old, seed=seed)
            fresh = segmenting.match(fresh, fresh.label(vectors), before[slots])
            labels = np.full(len(before), NOBODY, dtype=np.int64)
            labels[slots] = fresh.label(vectors)
            ledger = ledger_of((int(labels[slot]), packed) for slot, _, packed in everyone)
            with self._lock:
                changed = self._drift(slots, vectors, labels, last)
                self._regrouped(fresh, labels, ledger, everyone)
                if hold or self._held is None:
                    self._held = Held(fresh, np.where(self._segment[: len(labels)] == NOBODY, NOBODY, labels), last)
        finally:
            self._late = None
        # Names come from some of the visitors: reading all of a large audience would hold up the events.
        some = [everyone[place] for place in np.random.default_rng(seed).permutation(len(everyone))[:_NAMED_BY]]
        met = [self._met(packed) for _, _, packed in some]
        return segmenting.describe(fresh, labels[slots], labels[[slot for slot, _, _ in some]], met), changed

    def _drift(
        self, slots: NDArray[np.int64], vectors: NDArray[np.float32], labels: Labels, last: NDArray[np.int64]
    ) -> Drift:
        """What changed since the segments were held; nothing for the first ones, and after a change of encoder."""
        if self._held is None:
            return Drift()
        clusters, then, seen = self._held
        known = slots < len(then)
        slots, vectors = slots[known], vectors[known]
        came = last[slots] != seen[slots]
        return segmenting.drift(labels[slots], then[slots], (clusters.label(vectors[came]), then[slots[came]]))

    def _regrouped(
        self,
        fresh: Clusters,
        labels: NDArray[np.int64],
        ledger: Ledger,
        everyone: Iterable[tuple[int, UUID, bytes]],
    ) -> None:
        """Switch to new segments, and do what was done since the visitors were read."""
        late = self._late or []
        self.clusters, self.ledger = fresh, ledger
        self._segment[: len(labels)] = labels
        if gone := {owner for owner, touch in late if touch is None}:
            for slot, owner, packed in everyone:
                if owner in gone:
                    ledger.remove(int(labels[slot]), packed)
                    self._segment[slot] = NOBODY
        for owner, touch in late:
            if touch is not None:
                slot = self._slots[owner]
                known = slot in self.index
                self._segment[slot] = fresh.label(self.index.vectors(slot))[0] if known else NOBODY
                ledger.add(int(self._segment[slot]), touch)

    def _met(self, packed: bytes) -> list[str]:
        names = (self._name(touch.code) for touch in unpack(packed) if touch.kind != "impression")
        return [name for name in names if name is not None and not sensitive(name)]

    def select(self, condition: Condition, now_ms: int) -> list[UUID]:
        """The visitors for whom a rule holds."""
        return [
            owner
            for owner, packed in self.states()
            if condition(facts_of(packed, now_ms, self.names, self.segment(owner)))
        ]

    def alike(self, seeds: Collection[UUID], count: int) -> list[Neighbour]:
        """The visitors most like a seed list and not in it, with a score that only ranks.

        Raises:
            InputError: the list names fewer than ten visitors with a vector.
        """
        with self._lock:
            slots = self.index.keys
            chosen = np.isin(slots, [self._slots[one] for one in seeds if one in self._slots])
            if chosen.sum() < 10:
                raise InputError("names fewer than ten known visitors", field="seeds", mend="give a longer list")
            scores = lookalikes(self.index.vectors(slots), chosen)
            scores[chosen] = -np.inf
            best = np.argsort(-scores)[: min(count, int((~chosen).sum()))]
            owners = [(self._owners[int(slots[place])], float(scores[place])) for place in best]
        return [Neighbour(owner, score) for owner, score in owners if owner is not None]

    def require(self, visitor: UUID) -> None:
        """Raises :class:`NotFoundError` for a visitor of whom nothing is kept here."""
        if visitor not in self._slots:
            raise NotFoundError(
                "is not known to the audience", field="visitor", mend="they have not agreed, or have done nothing yet"
            )

    # How it is renewed.

    def adopt(self, encoder: Encoder) -> None:
        """Encode everyone with another encoder, then switch at once; events go on meanwhile."""
        with self._lock:
            self._dirty = set()
            todo = [(slot, owner, self._packed[slot]) for owner, slot in self._slots.items()]
        fresh = self._new_index(encoder)
        vectors = encode_states(encoder, [packed for _, _, packed in todo], self.weights)
        real = vectors.any(axis=1)
        fresh.put(np.array([slot for slot, _, _ in todo], dtype=np.int64)[real], vectors[real])
        if fresh.stale:
            fresh.rebuild()
        with self._lock:
            changed, self._dirty = self._dirty, None
            comparable = encoder.version == self.encoder.version
            self.encoder, self.index = encoder, fresh
            if not comparable:
                # Who was in which segment is kept, so that the next ones can be given the ids of these.
                self.clusters = Clusters(NO_CLUSTERS.centroids, NO_CLUSTERS.ids, self.clusters.next_id)
                self._held = None
            for slot, owner, _ in todo:
                if self._slots.get(owner) != slot and self._owners[slot] is None:
                    fresh.remove(slot)
            self._encode([self._slots[owner] for owner in changed or () if owner in self._slots])
