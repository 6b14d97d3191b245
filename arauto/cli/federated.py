"""``arauto federated …``: many learn together, and the coordinator sees only noised sums."""

from __future__ import annotations

import asyncio
import re
import secrets
import socket
import time
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click
import httpx
import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server.embed import Server as Embedded
from numpy.typing import NDArray
from rich.table import Table

from arauto.cli.common import as_json, console, print_json, settings_of
from arauto.cli.table import read_columns
from arauto.core.errors import ConflictError, InputError, NotFoundError
from arauto.federated import (
    FRACTIONS,
    Ledger,
    Offer,
    Privacy,
    Receipt,
    Result,
    Rounds,
    audit,
    check_auctions,
    compare,
    counts_of,
    encode,
    federated_market,
    market_of,
    new_offer,
    noise_for,
    open_authority,
    play,
    regions_of,
    take_part,
    until_given,
)
from arauto.loop import FederatedTask, federated_tasks, release_model
from arauto.server.federated import application, keep_moving
from arauto.server.limits import Addresses, Limiter
from arauto.store import Store

_FILE = click.Path(path_type=Path, dir_okay=False)
_EPSILON = click.FloatRange(0.01, 100)


@click.group()
def federated() -> None:
    """Many learn together; the coordinator sees only noised sums."""


@federated.command()
@click.option(
    "--train", type=_FILE, required=True, help="Parquet, CSV or JSON lines: click, market_price, predicted_ctr."
)
@click.option("--test", type=_FILE, required=True, help="The same columns: the auctions to bid on.")
@click.option(
    "--regions", default=10, show_default=True, type=click.IntRange(3, 100), help="Bidders that learn together."
)
@click.option(
    "--auction", type=click.Choice(["second", "first"]), default="second", show_default=True, help="The price paid."
)
@click.option(
    "--epsilon", type=click.FloatRange(0.01, 100), help="Hide each region's counts to this ε. Exact sum when left out."
)
@as_json
def bids(
    train: Path, test: Path, regions: int, auction: Literal["second", "first"], epsilon: float | None, *, json_: bool
) -> None:
    """Replay bidding under budgets of 1/2 … 1/64: clicks, cost and win rate by method."""
    learn, held = check_auctions(read_columns(train), "train"), check_auctions(read_columns(test), "test")
    parts = regions_of(learn, regions)
    markets = {
        "centralised": market_of(counts_of(learn).astype(np.float64)),
        "federated": federated_market(parts, epsilon),
        "local": market_of(counts_of(parts[-1]).astype(np.float64)),
    }
    found = compare(learn, held, markets, auction)
    if json_:
        print_json(
            {
                "auctions": {"train": len(learn.price), "test": len(held.price)},
                "regions": regions,
                "auction": auction,
                "epsilon": epsilon,
                "results": [one._asdict() for one in found],
            }
        )
    else:
        _show_bids(found)


def _show_bids(found: list[Result]) -> None:
    table = Table("method", *(f"1/{one}" for one in FRACTIONS), box=None, pad_edge=False)
    for method in dict.fromkeys(one.method for one in found):
        table.add_row(method, *(f"{one.clicks}" for one in found if one.method == method))
    console.print("Clicks won, by budget (a share of what all auctions would cost at the mean training price):")
    console.print(table)


@federated.command("audit")
@click.option(
    "--epsilon", default=3.0, show_default=True, type=click.FloatRange(0.01, 100), help="What the noise promises."
)
@click.option(
    "--tries", default=2000, show_default=True, type=click.IntRange(100, 10_000_000), help="Messages to tamper with."
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="What is drawn.")
@as_json
def audit_(epsilon: float, tries: int, seed: int, *, json_: bool) -> None:
    """Attack our own rounds: row support, gradient inversion, canaries, tampering; ε and AUC side by side."""
    found = audit(epsilon, tries=tries, seed=seed)
    if json_:
        print_json(found)
        return
    table = Table("attack", "target", "clients", "ε", "AUC", "ε at least", "refused", box=None, pad_edge=False)
    for one in found:
        table.add_row(
            one.attack,
            one.target,
            f"{one.clients}",
            "none" if one.epsilon < 0 else f"{one.epsilon:.2f}",
            "" if one.auc is None else f"{one.auc:.3f}",
            "" if one.epsilon_lower is None else f"{one.epsilon_lower:.2f}",
            "" if one.tried is None else f"{one.refused:,} of {one.tried:,}",
        )
    console.print(table)


def _its(row: NDArray[np.uint32], _: object) -> NDArray[np.uint32]:
    return row


@federated.command("simulate")
@click.option("--clients", default=100, show_default=True, type=click.IntRange(3, 5000), help="Clients in the round.")
@click.option("--dim", default=1024, show_default=True, type=click.IntRange(1, 1 << 20), help="Length of the vector.")
@click.option(
    "--vanish", default=0.3, show_default=True, type=click.FloatRange(0, 1), help="The share that goes away midway."
)
@click.option("--epsilon", type=click.FloatRange(0.01, 100), help="Add noise for this ε. An exact sum when left out.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Who goes away, and when.")
@as_json
def simulate_round(clients: int, dim: int, vanish: float, epsilon: float | None, seed: int, *, json_: bool) -> None:
    """Run one round in this process, clients vanishing at random steps, and hold the sum against the truth."""
    draw = np.random.default_rng(seed)
    key = Ed25519PrivateKey.generate()
    live = max(2, clients // 2)
    privacy = Privacy(clip=1.0) if epsilon is None else noise_for(epsilon, 1e-6, 1, 1.0, 1 / 4096, dim, live)
    offer = new_offer(
        key, round_id=secrets.token_bytes(16), task="simulation", model="00" * 32, dim=dim, quantum=1 / 4096,
        privacy=privacy, clients=clients,
    )  # fmt: skip
    steps: tuple[Literal["join", "shares", "masked", "unmask"], ...] = ("join", "shares", "masked", "unmask")
    gone = {n: steps[draw.integers(4)] for n in range(clients) if draw.random() < vanish}
    vectors = draw.integers(0, 1 << 32, (clients, dim), dtype=np.uint32)
    began = time.process_time()
    found = play(offer, key, [partial(_its, row) for row in vectors], fate=gone)
    took = time.process_time() - began
    there = [n for n in range(clients) if gone.get(n) in (None, "unmask")]
    exact = found.outcome is not None and bool(
        (found.outcome.total == vectors[there].sum(axis=0, dtype=np.uint32)).all()
    )
    report: dict[str, Any] = {
        "clients": clients,
        "vanished": len(gone),
        "live": found.outcome.live if found.outcome else 0,
        "exact": exact,
        "reason": found.reason,
        "cpu_seconds": round(took, 2),
        "privacy": privacy,
    }
    if json_:
        print_json(report)
    elif found.outcome is None:
        raise InputError(f"the round failed: {found.reason}", field="vanish", mend="fewer may go away")
    else:
        console.print(
            f"{clients} clients, {len(gone)} went away: sum of {found.outcome.live} "
            f"{'exact' if exact else 'WRONG'}, {took:.1f} s of CPU in all"
        )


@federated.command()
@click.option("--task", required=True, help="What is learnt; made with the first round.")
@click.option("--dim", type=click.IntRange(1, 1 << 20), required=True, help="Length of the model.")
@click.option("--clients", type=click.IntRange(3, 5000), required=True, help="Clients expected.")
@click.option("--rounds", "count", default=1, show_default=True, type=click.IntRange(1, 10_000), help="Rounds to run.")
@click.option("--epsilon", default=3.0, show_default=True, type=_EPSILON, help="Of a device, in all rounds.")
@click.option("--clip", default=1.0, show_default=True, type=click.FloatRange(1e-6, 1e6), help="L2 norm of an update.")
@click.option("--patience", default=60, show_default=True, type=click.IntRange(1, 86_400), help="Seconds a phase.")
@click.option("--port", default=8711, show_default=True, type=click.IntRange(1, 65535), help="Where clients reach it.")
@click.option("--free", is_flag=True, help="A new task that anyone may join, without a token.")
@click.option("--given", is_flag=True, help="Each round waits for weights from elsewhere: this region's Flower client.")
def coordinator(
    task: str, dim: int, clients: int, count: int, epsilon: float, clip: float, patience: int, port: int, *,
    free: bool, given: bool,
) -> None:  # fmt: skip
    """Serve rounds of a task over HTTP until they are done; killed and started again, it goes on."""
    live = max(2, clients // 2)
    privacy = noise_for(epsilon, 1e-6, count, clip, clip / 4096, dim, live)
    settings = settings_of()
    _check_port(port)

    async def main() -> None:
        async with await Store.open(settings) as store:
            rounds = Rounds(store, open_authority(settings))
            await _task(store, rounds, task, dim, epsilon, free=free)
            asgi = application(
                store, rounds, limiter=Limiter(settings.rate_limit), addresses=Addresses(settings.trusted_proxies)
            )
            server = Embedded(
                asgi, address="127.0.0.1", port=port, interface=Interfaces.ASGI, log_level=LogLevels.error
            )
            serving = asyncio.create_task(server.serve())
            try:
                for _ in range(count):
                    round_id = await _open_round(store, task)
                    if given and round_id is None:
                        await until_given(store, task)
                    round_id = round_id or await rounds.open(
                        task, clients=clients, quantum=clip / 4096, privacy=privacy, patience_ms=patience * 1000,
                        live=live,
                    )  # fmt: skip
                    await _run_round(store, rounds, round_id, f"http://127.0.0.1:{port}")
                await asyncio.sleep(2)  # for those who still want their receipt
            finally:
                server.stop()  # type: ignore[no-untyped-call]
                await serving

    asyncio.run(main())


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as wrong:
            raise InputError(f"{port}: {wrong.strerror}", field="port", mend="give another with --port") from None


async def _task(store: Store, rounds: Rounds, task: str, dim: int, epsilon: float, *, free: bool) -> None:
    """Make the task, or hold what was asked against the one that there is."""
    try:
        known = await store.federated.task(task)
    except NotFoundError:
        await rounds.new_task(task, np.zeros(dim), epsilon=epsilon, free=free)
        return
    size = len((await store.federated.model(task)).weights) // 4
    for field, asked, held in (("dim", dim, size), ("epsilon", epsilon, known.epsilon)):
        if asked != held:
            raise ConflictError(f"is {held:g} in the task {task!r}", field=field, mend=f"--{field} {held:g}")
    if free and not known.free:
        raise ConflictError(f"the task {task!r} takes tokens", field="free", mend="start another task")


async def _open_round(store: Store, task: str) -> str | None:
    return next((row.id for row in await store.federated.rounds(open_only=True) if row.task == task), None)


async def _run_round(store: Store, rounds: Rounds, round_id: str, address: str) -> None:
    offer = (await rounds.coordinator(round_id)).offer
    console.print(f"round {round_id}: {address}  key {offer.key}", soft_wrap=True)

    async def over() -> bool:
        return (await store.federated.round(round_id)).phase in ("done", "failed")

    await keep_moving(rounds, over)
    row = await store.federated.round(round_id)
    paid = f"ε = {offer.privacy.epsilon:.2f} at δ = {offer.privacy.delta:g}" if row.charged else "no privacy was paid"
    console.print(f"  {row.phase} {row.reason}  {paid}", soft_wrap=True)


@federated.command()
@click.option("--url", required=True, help="The coordinator's address.")
@click.option("--round", "round_id", required=True, help="The round's id, as the coordinator prints it.")
@click.option("--key", required=True, help="Its public key in hexadecimal, from a channel of your own.")
@click.option("--update", type=_FILE, required=True, help="A JSON list of numbers. It never leaves unmasked.")
@click.option("--ledger", type=_FILE, default=Path("federated-ledger.json"), show_default=True, help="What was paid.")
@click.option("--epsilon", default=3.0, show_default=True, type=_EPSILON, help="The most to give, in all.")
@click.option("--token", envvar="ARAUTO_FEDERATED_TOKEN", help="What lets it in, from the site.")
def client(url: str, round_id: str, key: str, update: Path, ledger: Path, epsilon: float, token: str | None) -> None:
    """Take part in one round: clip, noise, mask, pay, and keep the receipt."""
    values, pinned, paid = _update(update), _pinned(key), Ledger(ledger, epsilon=epsilon)

    def words(offer: Offer) -> NDArray[np.uint32]:
        if len(values) != offer.dim:
            raise InputError(f"has {len(values)} numbers, {offer.dim} are asked", field="update")
        paid.check(offer)
        return encode(values, offer)

    async def part() -> Receipt:
        try:
            http = httpx.AsyncClient(base_url=url, timeout=60)
        except httpx.InvalidURL as wrong:
            raise InputError(str(wrong), field="url", mend="https://HOST, as the coordinator's owner says") from None
        async with http:
            return (await take_part(http, round_id, pinned, words, spend=paid.spend, token=token)).receipt

    receipt = asyncio.run(part())
    console.print(f"one of {receipt.live}; ε = {receipt.privacy.epsilon:.2f} at δ = {receipt.privacy.delta:g}")


def _update(file: Path) -> NDArray[np.float64]:
    try:
        return np.array(msgspec.json.decode(file.read_bytes(), type=list[float]), np.float64)
    except OSError as wrong:
        raise InputError(f"{file}: {wrong.strerror}", field="update", mend="name a file that can be read") from None
    except msgspec.MsgspecError as wrong:
        raise InputError(f"{file}: {wrong}", field="update", mend="a JSON list of numbers") from None


def _pinned(key: str) -> bytes:
    if not re.fullmatch("[0-9a-fA-F]{64}", key):
        raise InputError("is no public key", field="key", mend="64 hexadecimal digits, as the coordinator prints them")
    return bytes.fromhex(key)


@federated.command()
@click.argument("name")
@click.option("--quota", default=1000, show_default=True, type=click.IntRange(1, 20_000), help="Clients in a round.")
@click.option("--revoke", is_flag=True, help="Its key and tokens count no more.")
def site(name: str, quota: int, *, revoke: bool) -> None:
    """Let site NAME bring clients: prints its key, once. A known site gets another key."""
    settings = settings_of()

    async def main() -> str:
        async with await Store.open(settings) as store:
            if revoke:
                await store.federated.revoke_site(name)
                return ""
            return await Rounds(store, open_authority(settings)).new_site(name, quota)

    key = asyncio.run(main())
    console.print(f"{name}: {key}" if key else f"{name} may let nobody in any more", soft_wrap=True)


@federated.command()
@as_json
def status(*, json_: bool) -> None:
    """Show every task: rounds, clients, who dropped out, the update's norm, what privacy cost."""

    async def main() -> tuple[FederatedTask, ...]:
        async with await Store.open(settings_of()) as store:
            return await federated_tasks(store)

    tasks = asyncio.run(main())
    if json_:
        print_json(tasks)
        return
    if not tasks:
        console.print("No task yet: arauto federated coordinator --help")
    for task in tasks:
        console.print(
            f"{task.name}: version {task.version}, ε = {task.spent:.2f} of {task.epsilon:g} at δ = {task.delta:g}"
        )
        table = Table(
            "round", "phase", "clients", "lost", "in the sum", "norm", "ε", "version", box=None, pad_edge=False
        )
        for one in task.rounds:
            table.add_row(
                one.id[:8],
                one.phase,
                f"{one.clients}",
                " ".join(f"{lost}" for lost in one.lost.values()),
                "" if one.live is None else f"{one.live}",
                "" if one.update_norm is None else f"{one.update_norm:.3g}",
                f"{one.epsilon:.2f}",
                f"{one.version or ''}",
            )
        console.print(table)


@federated.command("release")
@click.argument("task")
@click.argument("slug")
@click.option("--version", type=click.IntRange(2), help="Of the model; the last when left out.")
def release_(task: str, slug: str, version: int | None) -> None:
    """Release TASK's model into campaign SLUG: shares of the traffic, step by step, under guardrails."""
    settings = settings_of()

    async def main() -> int:
        async with await Store.open(settings) as store:
            known = [one for one in await store.catalogue.campaigns() if one.slug == slug]
            if len(known) != 1:
                raise NotFoundError(f"{len(known)} campaigns are called {slug!r}", field="slug", mend="give one's name")
            return (await release_model(store, task, known[0].id, version=version, actor="terminal")).id

    console.print(f"release {asyncio.run(main())} begun: arauto release show {slug}")
