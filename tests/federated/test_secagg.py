"""Secure aggregation: exact under drop-outs, refusing where it must, recoverable when someone refuses or lies."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arauto.core.errors import ConflictError, InputError
from arauto.federated import masks, shamir, wire
from arauto.federated.audit import tamper
from arauto.federated.client import Client, check_offer
from arauto.federated.coordinator import Coordinator
from arauto.federated.local import new_offer
from arauto.federated.local import play as play_local
from arauto.federated.vectors import vectors
from arauto.federated.wire import Privacy, RefusedError
from tests.federated.rounds import KEY, PINNED, offer, play

PROTOCOL = Path(__file__).parents[2] / "docs" / "federated-protocol.md"


@given(st.binary(min_size=1, max_size=70), st.integers(1, 20), st.data())
def test_any_threshold_of_the_shares_gives_the_secret_back(secret, threshold, data):
    count = data.draw(st.integers(threshold, 40))
    shares = shamir.share(secret, threshold, count)
    chosen = data.draw(st.permutations(range(count)))[:threshold]
    assert shamir.recover([(x + 1, shares[x]) for x in chosen]) == secret


def test_one_share_too_few_says_nothing():
    """With t − 1 shares every secret is equally possible: over all coefficients the share is uniform."""
    seen = {shamir.share_with(b"\x2a", bytes([c]), 2, 1)[0] for c in range(256)}
    assert len(seen) == 256


def test_the_field_is_that_of_aes():
    def slow(a, b):
        product = 0
        while b:
            product ^= a * (b & 1)
            a, b = (a << 1) ^ (0x11B if a & 0x80 else 0), b >> 1
        return product

    a, b = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    assert shamir.multiply(a, b).tolist() == [[slow(i, j) for i in range(256)] for j in range(256)]


@pytest.mark.parametrize("shares", [[], [(1, b"a"), (1, b"b")], [(0, b"a")], [(1, b"a"), (2, b"ab")]])
def test_shares_that_cannot_be(shares):
    with pytest.raises(InputError):
        shamir.recover(shares)


def test_more_shares_than_the_field_has():
    with pytest.raises(InputError):
        shamir.share(b"x", 3, 255)


@given(st.integers(3, 60), st.integers(1, 10), st.binary(min_size=32, max_size=32))
def test_the_graph_is_regular_and_mutual(size, half, transcript):
    k = min(2 * half, (size - 1) // 2 * 2)
    found = masks.graph(transcript, size, k)
    assert all(len(set(row)) == k and row == sorted(row) and n not in row for n, row in enumerate(found))
    assert all(n in found[other] for n, row in enumerate(found) for other in row)


@settings(max_examples=8)
@given(st.dictionaries(st.integers(0, 23), st.integers(1, 3), max_size=5), st.integers(0, 2**32))
def test_the_sum_is_exact_whoever_vanishes(fate, seed):
    coordinator, clients, expected = play(offer(24, 12, 7, live=12), 24, fate, seed=seed)
    assert coordinator.phase == "done", coordinator.reason
    assert (coordinator.outcome.total == expected).all()
    header = wire.unseal(coordinator.outcome.receipt, wire.Receipt, PINNED)[0]
    assert header.live == coordinator.outcome.live
    finisher = next(n for n in range(24) if n not in fate)
    assert clients[finisher].receipt(coordinator.outcome.receipt) == header


@pytest.mark.parametrize(("fate", "reason"), [(1, "sent shares"), (2, "delivered"), (3, "came back")])
def test_too_few_end_the_round(fate, reason):
    coordinator, _, _ = play(offer(), 12, dict.fromkeys(range(9), fate))
    assert coordinator.phase == "failed"
    assert reason in coordinator.reason
    with pytest.raises(ConflictError):
        coordinator.advance()
    with pytest.raises(RefusedError):
        coordinator.take(b"")


def test_too_few_join():
    coordinator = Coordinator(offer(), KEY)
    assert coordinator.advance() == "failed"


def crowd(contract=None, count=12, **more):
    coordinator = Coordinator(contract or offer(), KEY)
    clients = [Client(coordinator.frame, PINNED, **more) for _ in range(count)]
    for one in clients:
        coordinator.take(one.join())
    coordinator.advance()
    return coordinator, clients


def shared(**more):
    coordinator, clients = crowd(**more)
    for one in clients:
        coordinator.take(one.shares(coordinator.roster()))
    coordinator.advance()
    return coordinator, clients


def delivered(skip=()):
    coordinator, clients = shared()
    for n, one in enumerate(clients):
        if n not in skip:
            coordinator.take(one.masked(coordinator.inbox(one.position), np.zeros(16, np.uint32)))
    coordinator.advance()
    return coordinator, clients


def ask(coordinator, live, dead):
    size = len(coordinator._list)
    payload = wire.bitmap(live, size) + wire.bitmap(dead, size)
    return wire.seal(KEY, wire.Ask(transcript=coordinator._transcript.hex()), payload)


@pytest.mark.parametrize(
    ("live", "dead", "why"),
    [
        (set(range(12)), {3}, "live and dead"),
        (set(range(5)), set(range(5, 12)), "are live"),
        (set(range(6, 12)), set(range(6)), "own vector"),
    ],
)
def test_a_client_refuses_a_splitting_server(live, dead, why):
    coordinator, clients = delivered()
    mine = next(one for one in clients if one.position == 0)
    with pytest.raises(RefusedError, match=why):
        mine.unmask(ask(coordinator, live, dead))
    with pytest.raises(RefusedError, match="out of turn"):
        mine.unmask(coordinator.ask())


def test_a_client_answers_once():
    coordinator, clients = delivered()
    clients[0].unmask(coordinator.ask())
    with pytest.raises(RefusedError, match="twice"):
        clients[0].unmask(coordinator.ask())


def test_a_split_of_the_neighbours_gives_neither_secret():
    """Half of the neighbours told "live", half "dead": whatever the halves, one of them is below the threshold, and the
    threshold an offer may have is above half."""
    for k in range(2, 255, 2):
        contract = offer(k=k, t=k // 2 + 1, least=300, live=300)
        check_offer(contract)
        with pytest.raises(RefusedError):
            check_offer(offer(k=k, t=max(1, k // 2), least=300, live=300))


def test_a_refusing_client_leaves_the_round_recoverable():
    coordinator, clients = crowd()
    consent = [True]
    clients[0]._consent = lambda: consent[0]
    for one in clients:
        coordinator.take(one.shares(coordinator.roster()))
    coordinator.advance()
    consent[0] = False
    with pytest.raises(RefusedError, match="consent"):
        clients[0].masked(coordinator.inbox(clients[0].position), np.zeros(16, np.uint32))
    for one in clients[1:]:
        coordinator.take(one.masked(coordinator.inbox(one.position), np.ones(16, np.uint32)))
    coordinator.advance()
    for one in clients[1:]:
        coordinator.take(one.unmask(coordinator.ask()))
    assert coordinator.advance() == "done"
    assert coordinator.outcome.total.tolist() == [11] * 16


def test_wrong_shares_from_one_client_do_not_spoil_the_sum():
    coordinator, clients = delivered()
    for n, one in enumerate(clients):
        frame = one.unmask(coordinator.ask())
        if n == 0:
            header, payload = wire.peek(frame, wire.Unmask)
            frame = wire.seal(one._sign, header, bytes(len(payload)))
        coordinator.take(frame)
    assert coordinator.advance() == "done"
    assert not coordinator.outcome.total.any()


def test_contradicting_shares_fail_the_round():
    coordinator, clients = delivered()
    for one in clients:
        header, payload = wire.peek(one.unmask(coordinator.ask()), wire.Unmask)
        coordinator.take(wire.seal(one._sign, header, bytes(len(payload))))
    assert coordinator.advance() == "failed"
    assert "contradict" in coordinator.reason


def test_nonsense_for_a_neighbour_is_left_out():
    """A client that encrypts nonsense cannot be unmasked by that neighbour, who says so by leaving it out."""
    coordinator, clients = crowd()
    for n, one in enumerate(clients):
        frame = one.shares(coordinator.roster())
        if n == 0:
            header, payload = wire.peek(frame, wire.Shares)
            frame = wire.seal(one._sign, header, bytes(80) + bytes(payload[80:]))
        coordinator.take(frame)
    coordinator.advance()
    for one in clients:
        coordinator.take(one.masked(coordinator.inbox(one.position), np.ones(16, np.uint32)))
    coordinator.advance()
    for one in clients:
        coordinator.take(one.unmask(coordinator.ask()))
    assert coordinator.advance() == "done"
    assert coordinator.outcome.total.tolist() == [12] * 16


@pytest.mark.parametrize(
    ("more", "field"),
    [({"k": 5}, "neighbours"), ({"k": 6, "t": 3}, "threshold"), ({"least": 6}, "neighbours"), ({"live": 3}, "live")],
)
def test_numbers_that_protect_nobody(more, field):
    with pytest.raises(RefusedError) as refused:
        check_offer(offer(**more))
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("more", "why"),
    [({"models": {"cd" * 32}}, "model"), ({"least": 50}, "crowd"), ({"consent": lambda: False}, "consent")],
)
def test_a_client_refuses_at_the_door(more, why):
    with pytest.raises(RefusedError, match=why):
        Client(Coordinator(offer(), KEY).frame, PINNED, **more).join()


def test_a_client_refuses_a_roster_that_is_small_or_not_of_it():
    coordinator = Coordinator(offer(), KEY)
    client, other = (Client(coordinator.frame, PINNED) for _ in range(2))
    client.join()
    record = bytes(wire.peek(other.join(), wire.Join)[1])
    head = wire.Roster(offer=wire.frame_hash(coordinator.frame))
    with pytest.raises(RefusedError, match="are needed"):
        client.shares(wire.seal(KEY, head, record))
    full, _ = crowd()
    outside = Client(full.frame, PINNED)
    outside.join()
    with pytest.raises(RefusedError, match="keys"):
        outside.shares(full.roster())


def test_a_client_refuses_words_and_inboxes_that_do_not_fit():
    coordinator, clients = shared()
    a, b, c = clients[:3]
    with pytest.raises(RefusedError, match="not for this client"):
        a.masked(coordinator.inbox(b.position), np.zeros(16, np.uint32))
    with pytest.raises(RefusedError, match="uint32"):
        b.masked(coordinator.inbox(b.position), np.zeros(15, np.uint32))
    empty = wire.seal(KEY, wire.Inbox(transcript=coordinator._transcript.hex(), to=c.position, senders=()))
    with pytest.raises(RefusedError, match="neighbours are left"):
        c.masked(empty, np.zeros(16, np.uint32))


def test_the_coordinator_refuses_repeats_and_strangers():
    coordinator, clients = crowd()
    frame = clients[0].shares(coordinator.roster())
    coordinator.take(frame)
    with pytest.raises(RefusedError, match="already"):
        coordinator.take(frame)
    assert coordinator.count() == 1
    head = wire.Shares(transcript=coordinator._transcript.hex(), sender=12)
    with pytest.raises(RefusedError, match="take part"):
        coordinator.take(wire.seal(KEY, head, bytes(480)))
    clients[1].shares(coordinator.roster())
    short = wire.Shares(transcript=coordinator._transcript.hex(), sender=clients[1].position)
    with pytest.raises(RefusedError, match="each neighbour"):
        coordinator.take(wire.seal(clients[1]._sign, short))


def test_every_change_is_refused():
    found = tamper(1500, clients=6)
    assert found.refused == found.tried >= 1500


def test_the_same_messages_make_the_same_bytes():
    """What lets a round survive: a second coordinator, fed the same, asks and signs the same."""
    assert vectors() == vectors()


def test_the_documents_vectors_are_ours():
    block = re.search(r"```json\n(.*?)```", PROTOCOL.read_text("utf-8"), re.DOTALL)
    assert json.loads(block[1]) == vectors()


@pytest.mark.parametrize("clients", [3, 4, 16, 17, 100, 1000, 5000])
def test_an_offer_suits_any_crowd(clients):
    contract = new_offer(
        KEY, round_id=bytes(16), task="t", model="00" * 32, dim=1, quantum=1, privacy=Privacy(clip=1), clients=clients
    )
    check_offer(contract)
    assert contract.least <= clients


def test_a_crowd_of_two_is_no_crowd():
    with pytest.raises(InputError):
        new_offer(
            KEY, round_id=bytes(16), task="t", model="00" * 32, dim=1, quantum=1, privacy=Privacy(clip=1), clients=2
        )


@pytest.mark.parametrize("clients", [3, 10, 40])
def test_a_round_in_one_process(clients):
    contract = new_offer(
        KEY, round_id=bytes(16), task="t", model="00" * 32, dim=2, quantum=1, privacy=Privacy(clip=1), clients=clients
    )
    found = play_local(contract, KEY, [lambda _: np.ones(2, np.uint32)] * clients, keep=True)
    assert found.outcome.total.tolist() == [clients] * 2
    assert len(found.frames["masked"]) == clients


@pytest.mark.parametrize(("step", "reason"), [("join", "joined"), ("shares", "shares"), ("masked", "delivered")])
def test_a_round_that_everyone_leaves(step, reason):
    contract = new_offer(
        KEY, round_id=bytes(16), task="t", model="00" * 32, dim=2, quantum=1, privacy=Privacy(clip=1), clients=5
    )
    found = play_local(contract, KEY, [lambda _: np.ones(2, np.uint32)] * 5, fate=dict.fromkeys(range(4), step))
    assert found.outcome is None
    assert reason in found.reason
