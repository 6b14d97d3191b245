"""Regions as Flower's clients. In `make test-flower` on the real Flower, elsewhere on its shapes."""

import importlib
import os
import re
import sys
import uuid
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from arauto.core.errors import InputError
from arauto.federated import Report, Server, decode, encode, new_offer, noise_for, play, region_app, regions
from arauto.federated.coordinator import public_key
from arauto.federated.rounds import model_bytes
from tests.federated import flower_shape

REAL = os.environ.get("FLOWER") == "real"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
DIM = 6


@pytest.fixture(autouse=True)
def flower(monkeypatch):
    """``flwr.app``, real or its shapes."""
    if not REAL:
        for name, module in flower_shape.modules().items():
            monkeypatch.setitem(sys.modules, name, module)
    found = importlib.import_module("flwr.app")
    assert hasattr(found, "__file__") == REAL
    if REAL:  # what the process of a ServerApp is told when it begins
        process = importlib.import_module("flwr.supercore.task_identity").TaskIdentity
        process.task_id, process.run_id, process.node_id = 1, 1, 1
    return found


def grid_of(apps, flower):
    """Nodes 1, 2 … in this process: what a SuperLink and its SuperNodes do, without the network."""
    abstract = importlib.import_module("flwr.serverapp").Grid

    def send_and_receive(_, messages, *, timeout=None):
        return [answer(app, message, flower) for app, message in zip(apps, messages, strict=False)]  # or no messages

    def nothing(*_):
        raise NotImplementedError

    said = {"get_node_ids": lambda _: list(range(1, len(apps) + 1)), "send_and_receive": send_and_receive}
    others = dict.fromkeys(getattr(abstract, "__abstractmethods__", ()), nothing)
    return type("InProcess", (abstract,), others | said)()


def answer(app, message, flower):
    context = None
    if REAL:
        message.metadata.__dict__["_message_id"] = str(uuid.uuid4())  # a SuperLink would name it
        context = flower.Context(run_id=1, node_id=1, node_config={}, state=flower.RecordDict(), run_config={})
    try:
        return app(message, context)
    except InputError as failure:
        return flower.Message(flower.Error(1, str(failure)), reply_to=message)


def crowd(targets, key=KEY, epsilon=None, told=None, model=None):
    """A region in this process: each device pulls towards its own of ``targets``, through the masks."""

    def learn(weights):
        privacy = noise_for(epsilon or 1e6, 1e-6, 1, 20.0, 1 / 4096, DIM, 2)
        offer = new_offer(
            key, round_id=bytes(16), task="flower", model=model or sha256(model_bytes(weights)).hexdigest(), dim=DIM,
            quantum=1 / 4096, privacy=privacy, clients=len(targets),
        )  # fmt: skip
        found = play(offer, key, [lambda offer, one=one: encode(one - weights, offer) for one in targets])
        mean = decode(found.outcome.total, offer) / found.outcome.live
        report = Report(
            (weights + mean).astype(np.float32), found.outcome.live, privacy.epsilon, privacy.delta,
            found.outcome.receipt,
        )  # fmt: skip
        if told is not None:
            told.append(report)
        return report

    return learn


def start(strategy, learners, flower, rounds=2):
    arrays = flower.ArrayRecord({"w": flower.Array(np.zeros((2, 2), np.float32)), "b": flower.Array(np.zeros(2))})
    apps = [region_app(one) for one in learners]
    found = strategy.start(grid=grid_of(apps, flower), initial_arrays=arrays, num_rounds=rounds)
    return found.arrays


def flat(arrays):
    assert [one.numpy().shape for one in arrays.values()] == [(2, 2), (2,)]
    assert [one.numpy().dtype for one in arrays.values()] == [np.float32, np.float64]
    return np.concatenate([one.numpy().ravel() for one in arrays.values()])


@pytest.fixture
def targets():
    draw = np.random.default_rng(0)
    return [draw.normal(n, 0.1, (size, DIM)) for n, size in enumerate((6, 10, 8))]


def test_regions_come_to_the_mean_of_all_their_devices(flower, targets):
    found = flat(start(regions(min_train_nodes=3, min_available_nodes=3), [crowd(one) for one in targets], flower))
    assert np.abs(found - np.concatenate(targets).mean(axis=0)).max() < 0.02


def test_flowers_own_strategy_takes_a_region_for_a_client(flower, targets):
    from flwr.serverapp.strategy import FedAvg

    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=3, min_available_nodes=3)
    arrays = start(strategy, [crowd(one) for one in targets], flower)
    found = np.concatenate([one.numpy().ravel() for one in arrays.values()])
    assert np.abs(found - np.concatenate(targets).mean(axis=0)).max() < 0.02


def test_the_median_of_regions_withstands_one(flower, targets):
    def poisoned(weights):
        return Report(weights + 1e6, 10, 1.0)

    learners = [crowd(targets[0]), crowd(targets[0]), poisoned]
    found = flat(start(regions(median=True, min_train_nodes=3, min_available_nodes=3), learners, flower))
    assert np.abs(found - targets[0].mean(axis=0)).max() < 0.05


def test_our_server_takes_the_step(flower, targets):
    half = regions(Server(rate=0.5))
    found = flat(start(half, [crowd(targets[1])] * 2, flower, rounds=1))
    assert np.abs(found - targets[1].mean(axis=0) / 2).max() < 0.02


def test_only_signed_receipts_for_these_weights_count(flower, targets):
    def forged(weights):
        return crowd(targets[2])(weights)._replace(live=1000)

    def unsigned(weights):
        return Report(weights + 9, 10, 1.0)

    learners = [
        crowd(targets[1]), crowd(targets[2], OTHER), crowd(targets[2], model="ab" * 32), forged, unsigned,
    ]  # fmt: skip
    known = regions(keys=[public_key(KEY).hex()], min_train_nodes=5, min_available_nodes=5)
    found = flat(start(known, learners, flower))
    assert np.abs(found - targets[1].mean(axis=0)).max() < 0.02


def test_a_receipt_counts_once(flower, targets):
    told = []
    learners = [crowd(targets[1], told=told), lambda weights: told[-1]]
    found = start(regions(keys=[public_key(KEY).hex()]), learners, flower, rounds=1)
    assert np.abs(flat(found) - targets[1].mean(axis=0)).max() < 0.02
    strategy, shape = regions(), record(flower)
    strategy.configure_train(1, shape, flower.ConfigRecord(), grid_of([None] * 2, flower))
    message = flower.Message(flower.RecordDict({"arrays": shape}), dst_node_id=1, message_type="train")
    replies = [answer(region_app(one), message, flower) for one in learners]
    _, metrics = strategy.aggregate_train(1, replies)
    assert (metrics["num-examples"], metrics["regions"]) == (10, 1)


def test_a_region_that_promises_too_little_is_left_out(flower, targets):
    learners = [crowd(targets[0], epsilon=1e5), crowd(targets[1], epsilon=5e4), lambda w: Report(w + 9, 10, -1.0)]
    found = flat(start(regions(epsilon=7e4, min_train_nodes=3, min_available_nodes=3), learners, flower))
    assert np.abs(found - targets[1].mean(axis=0)).max() < 0.1


def test_what_is_no_report_changes_nothing(flower, targets):
    def broken(weights):
        raise InputError("the region's round failed", field="round")

    learners = [broken, lambda w: Report(np.full(DIM, np.nan), 3, 1.0), lambda w: Report(w + 1, 0, 1.0)]
    strategy = regions(min_train_nodes=3, min_available_nodes=3)
    strategy.configure_train(1, shape := record(flower), flower.ConfigRecord(), grid_of([None] * 3, flower))
    told = grid_of([region_app(one) for one in learners], flower).send_and_receive(
        strategy.configure_train(1, shape, flower.ConfigRecord(), grid_of([None] * 3, flower))
    )
    assert strategy.aggregate_train(1, told) == (None, None)
    strange = flower.Message(flower.RecordDict({}), reply_to=next(iter(messages(strategy, shape, flower))))
    assert strategy.aggregate_train(1, [strange]) == (None, None)


def test_a_message_has_one_model(flower):
    two = flower.RecordDict({"a": record(flower), "b": record(flower)})
    with pytest.raises(InputError, match="2 models"):
        region_app(lambda w: Report(w, 3, 1.0))(flower.Message(two, dst_node_id=1, message_type="train"), None)


def record(flower):
    return flower.ArrayRecord({"w": flower.Array(np.zeros((2, 2), np.float32)), "b": flower.Array(np.zeros(2))})


def messages(strategy, shape, flower):
    made = list(strategy.configure_train(1, shape, flower.ConfigRecord(), grid_of([None] * 3, flower)))
    for one in made:
        if REAL:
            one.metadata.__dict__["_message_id"] = str(uuid.uuid4())
    return made


def test_the_blocks_of_the_docs_run(flower):
    page = (Path(__file__).parents[2] / "docs" / "federated.md").read_text("utf-8")
    (code,) = re.findall(r"^```python flower\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    names = {}
    exec(code, names)
    arrays = flower.ArrayRecord({"w": flower.Array(np.zeros(3))})
    message = flower.Message(flower.RecordDict({"arrays": arrays}), dst_node_id=1, message_type="train")
    content = answer(names["simulated"], message, flower).content
    assert np.abs(content["arrays"]["w"].numpy() - 1).max() < 0.5
    assert dict(content["metrics"]) == {"num-examples": 200, "epsilon": pytest.approx(3), "delta": 1e-6}
    assert content["proof"]["receipt"] == b""


def test_without_flower_the_mend_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "flwr.clientapp", None)
    with pytest.raises(InputError, match="arauto\\[flower\\]"):
        region_app(lambda w: Report(w, 3, 1.0))
