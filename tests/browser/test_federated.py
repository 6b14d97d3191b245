"""The browser's client in a real Chromium: the same bytes as Python's, exact sums with drop-outs, refusals."""

import gzip

import msgspec
import numpy as np
import pytest

from arauto.edge import Asset, serving
from arauto.federated import MODULE, Client, Coordinator, RefusedError, module, noise_for, vectors, wire
from arauto.federated.privacy import decode
from tests.federated.rounds import KEY, PINNED, offer

pytestmark = pytest.mark.browser

PAGE = Asset(b"<!doctype html><title>round</title>", "text/html; charset=utf-8")
FILES = {"": PAGE, MODULE: Asset(module(), "text/javascript; charset=utf-8")}
OPEN = """async ([offer, pinned, options]) => {
    globalThis.f = await import('/arauto-federated.js');
    globalThis.client = await f.Client.open(f.unhex(offer), f.unhex(pinned), options);
}"""
STEP = """async ([method, frame, words]) => {
    try {
        const given = frame ? [f.unhex(frame)] : [];
        if (words) given.push(Uint32Array.from(words));
        return f.hex(await client[method](...given));
    } catch (error) { return 'refused: ' + error.message; }
}"""


async def step(tab, method, frame=None, words=None):
    found = await tab.evaluate(STEP, [method, frame and frame.hex(), words])
    if found.startswith("refused"):
        raise RefusedError(found)
    return bytes.fromhex(found)


def test_it_is_small():
    assert len(gzip.compress(module(), 9)) <= 6000


async def test_the_documents_vectors_are_the_browsers(visit):
    told = vectors()
    roster = wire.peek(bytes.fromhex(told["offer"]), wire.Offer)[0]
    keys = {name: list(bytes.fromhex(value)) for name, value in told["client_0"].items()}
    with serving(FILES) as url:
        async with visit(url) as tab:
            await tab.evaluate(
                """async ([offer, pinned, keys]) => {
                    globalThis.f = await import('/arauto-federated.js');
                    for (const name in keys) keys[name] = Uint8Array.from(keys[name]);
                    globalThis.client = await f.Client.open(f.unhex(offer), f.unhex(pinned), {keys});
                }""",
                [told["offer"], roster.key, keys],
            )
            same = {}
            same["join_0"] = (await step(tab, "join")).hex()
            same["shares_0"] = (await step(tab, "shares", bytes.fromhex(told["roster"]))).hex()
            words = np.frombuffer(bytes.fromhex(told["words_0"]), "<u4").tolist()
            same["masked_0"] = (await step(tab, "masked", bytes.fromhex(told["inbox_0"]), words)).hex()
            same["unmask_0"] = (await step(tab, "unmask", bytes.fromhex(told["ask"]))).hex()
            assert same == {name: told[name] for name in same}


async def test_tabs_and_python_sum_exactly_while_some_vanish(visit):
    """Three tabs and nine clients in Python; one tab and two of the others go away midway."""
    coordinator = Coordinator(offer(k=8, t=5, least=9, live=5), KEY)
    draw = np.random.default_rng(3)
    values = draw.integers(0, 2**32, (12, 16), dtype=np.uint32)
    with serving(FILES) as url:
        async with visit(url) as a, visit(url) as b, visit(url) as c:
            tabs = [a, b, c]
            for tab in tabs:
                await tab.evaluate(OPEN, [coordinator.frame.hex(), PINNED.hex(), {}])
            local = [Client(coordinator.frame, PINNED) for _ in range(9)]
            for frame in [await step(tab, "join") for tab in tabs] + [one.join() for one in local]:
                coordinator.take(frame)
            coordinator.advance()
            places = [coordinator.take(await step(tab, "shares", coordinator.roster())) for tab in tabs]
            places += [coordinator.take(one.shares(coordinator.roster())) for one in local]
            coordinator.advance()
            there = [0, 1, 3, 4, 5, 6, 7, 8, 9]
            for n in there:
                inbox = coordinator.inbox(places[n])
                frame = (
                    await step(tabs[n], "masked", inbox, values[n].tolist())
                    if n < 3
                    else local[n - 3].masked(inbox, values[n])
                )
                coordinator.take(frame)
            coordinator.advance()
            for n in there:
                ask = coordinator.ask()
                coordinator.take(await step(tabs[n], "unmask", ask) if n < 3 else local[n - 3].unmask(ask))
            assert coordinator.advance() == "done", coordinator.reason
            assert (coordinator.outcome.total == values[there].sum(axis=0, dtype=np.uint32)).all()
            receipt = coordinator.outcome.receipt.hex()
            assert await a.evaluate("async (frame) => (await client.receipt(f.unhex(frame))).live", receipt) == 9
            with pytest.raises(RefusedError, match="twice"):
                await step(a, "unmask", coordinator.ask())


async def test_a_tab_refuses(visit):
    coordinator = Coordinator(offer(), KEY)
    with serving(FILES) as url:
        async with visit(url, gpc=True) as tab:
            await tab.evaluate(OPEN, [coordinator.frame.hex(), PINNED.hex(), {}])
            with pytest.raises(RefusedError, match="consent"):
                await step(tab, "join")
            assert not await tab.evaluate("f.suits()")
        async with visit(url) as tab:
            bent = bytearray(coordinator.frame)
            bent[30] ^= 1
            for frame, options in (
                (bytes(bent), {}),
                (coordinator.frame, {"models": []}),
                (coordinator.frame, {"least": 99}),
            ):
                said = await tab.evaluate(
                    f"async (given) => ({OPEN})(given).catch((error) => error.constructor.name)",
                    [frame.hex(), PINNED.hex(), options],
                )
                assert said == "Refused"


async def test_a_tabs_noise_and_ledger_are_pythons(visit):
    privacy = noise_for(3, 1e-6, 2, 1.0, 1 / 64, 512, 6)
    contract = offer(dim=512, quantum=1 / 64, privacy=privacy)
    plain = msgspec.to_builtins(contract)
    with serving(FILES) as url:
        async with visit(url) as tab:
            words = await tab.evaluate(
                """async (offer) => {
                    globalThis.f = await import('/arauto-federated.js');
                    return Array.from({length: 40}, () => Array.from(f.encode(new Array(512).fill(0.04), offer)));
                }""",
                plain,
            )
            seen = decode(np.array(words, np.uint32).ravel(), contract)
            assert abs(seen.std() * 64 / privacy.noise - 1) < 0.03
            assert abs(seen.mean() - 0.04) < 6 * seen.std() / len(seen) ** 0.5
            assert await tab.evaluate("(offer) => f.rho(offer)", plain) == pytest.approx(privacy.rho)
            assert await tab.evaluate("(r) => f.epsilon(r, 1e-6)", 2 * privacy.rho) == pytest.approx(3, rel=1e-3)
            said = await tab.evaluate(
                """(offer) => {
                    const spend = f.ledger(3.01);
                    return ['0', '0', '1', '2'].map((n) => {
                        try { return spend({...offer, round: n.repeat(32)}) ?? ''; }
                        catch (error) { return error.message; }
                    });
                }""",
                plain,
            )
            assert said == ["", "was paid for already", "", "the cap is reached"]
