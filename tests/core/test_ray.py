"""The same on a real Ray, which is begun once: answers, errors, deaths of workers, and the end."""

import importlib
import os
import signal
import time

import numpy as np
import pytest

from arauto.audience import Recipe, counted, encode_states, fit
from arauto.audience import encoder as audience_encoder
from arauto.audience import linear as audience_linear
from arauto.core.errors import ConflictError, EngineError
from arauto.core.spread import LOCAL, RETRIES, Spread, Stopped, guard
from arauto.federated import Training, train
from arauto.federated.clicks import gradient
from tests.audience.planted import filled, log

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module", autouse=True)
def cluster():
    # Two workers, whatever the machine has, that do not stand back (nice 15) for the other tests.
    guard(LOCAL)  # before the import, which reads it
    ray = importlib.import_module("ray")
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
        _system_config={"worker_niceness": 0},
    )  # fmt: skip
    yield
    ray.shutdown()


def test_nothing_is_reported_home_and_a_stranger_is_not_let_in():
    """Ray's own settings say so; that a Ray of ours refuses who has no token was tried by hand."""
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert (os.environ["RAY_AUTH_MODE"], len(os.environ["RAY_AUTH_TOKEN"])) == ("token", 64)


def test_answers_are_those_of_one_process():
    visitors = filled(users=60)
    states = [packed for _, packed in visitors.states()] * 120
    encoder = fit(log(), Recipe(), dimensions=8)
    heard = []
    found = encode_states(encoder, states, ray="local", told=lambda done, of: heard.append((done, of)))
    assert (found == encode_states(encoder, states)).all()
    assert heard[-1] == (7200, 7200)
    assert len(heard) == 4


def test_a_log_is_counted_and_clients_are_simulated(monkeypatch):
    monkeypatch.setattr(audience_linear, "PART", 100)
    one, other = (counted(log(), Recipe(alike=0.1), where) for where in ("", "local"))
    assert (one.solve() == other.solve()).all()
    clients = np.random.default_rng(0).integers(1, 16, (600, 5, 3))

    def update(weights, n):
        return gradient(weights, clients[n], np.arange(5) % 2.0)

    plan = Training(rounds=2, clients=550, clip=5.0, epsilon=8.0, vanish=0.1, assured=0.8)
    here, there = (train(np.zeros(16), update, 600, plan, noise=3, ray=where) for where in ("", "local"))
    assert (here.weights == there.weights).all()
    assert here.epsilon == there.epsilon > 0


def test_an_encoder_is_trained_to_the_same_bytes_though_its_worker_dies(tmp_path, monkeypatch):
    plain = audience_encoder._solved
    monkeypatch.setattr(audience_encoder, "_solved", lambda *given: dies_once(tmp_path, plain, given))
    there = fit(log(), Recipe(), dimensions=8, ray="local")
    assert [one.name for one in tmp_path.iterdir()] == ["died"]
    monkeypatch.undo()
    here = fit(log(), Recipe(), dimensions=8)
    for name in ("inputs", "outputs", "heads", "strengths"):
        assert (getattr(there, name) == getattr(here, name)).all()


def dies_once(folder, plain, given):
    if not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(*given)


def fail(_, part):
    if part == 2:
        raise ConflictError("does not fit", field="part", mend="give another")
    return part


def test_an_error_is_raised_as_it_was():
    answers = Spread(fail, None, "local")(range(9))
    assert [next(answers), next(answers)] == [0, 1]
    with pytest.raises(ConflictError) as caught:
        next(answers)
    assert (caught.value.problem, caught.value.field, caught.value.mend) == ("does not fit", "part", "give another")


def die_at_first(folder, part):
    """Leave a mark, and die if there was none."""
    mark = folder / str(part)
    if part % 3 == 0 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return part * part


def test_what_a_worker_had_when_it_died_is_done_by_another(tmp_path):
    assert list(Spread(die_at_first, tmp_path, "local")(range(4))) == [0, 1, 4, 9]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["0", "3"]


def always_die(_, part):
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_kills_every_worker_is_given_up(monkeypatch):
    monkeypatch.setattr("arauto.core.spread.RETRIES", 0)
    assert RETRIES > 3
    with pytest.raises(EngineError, match="WorkerCrashedError") as caught:
        list(Spread(always_die, None, "local")([1]))
    assert caught.value.field == "ray_address"


def wait(folder, part):
    (folder / str(part)).touch()
    time.sleep(60)


def test_what_is_out_is_cancelled(tmp_path):
    began = list(tmp_path.iterdir())

    def stopped():
        return len(list(tmp_path.iterdir())) == 2

    with pytest.raises(Stopped):
        list(Spread(wait, tmp_path, "local")(range(50), stopped=stopped))
    assert began == []
    # The workers are free again long before their minute is over.
    assert list(Spread(fail, None, "local")([0, 1])) == [0, 1]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["0", "1"]
