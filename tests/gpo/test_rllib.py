"""RLlib behind the interface of our own PPO. What begins a real Ray is in ``make test-ray``."""

import importlib
import sys

import pytest

torch = pytest.importorskip("torch")

from arauto.core.errors import InputError  # noqa: E402
from arauto.core.spread import LOCAL, Stopped, guard  # noqa: E402
from arauto.gpo import EpisodePolicy, PPOPlan, demonstrations_of, learn_from_people, play  # noqa: E402
from tests.gpo.test_people import MOST, PLACES, PLAN, Lane, dawdlers  # noqa: E402


def lane(seed=0):
    return EpisodePolicy(Lane, PLACES, 3, hidden=16, most_steps=MOST, seed=seed)


def shown():
    return demonstrations_of(**dawdlers())


def test_without_the_packages_the_mend_is_named(monkeypatch):
    monkeypatch.setattr("arauto.gpo.people.connected", lambda address: None)
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    monkeypatch.delitem(sys.modules, "arauto.gpo.rllib", raising=False)
    with pytest.raises(InputError, match="gymnasium is not installed") as caught:
        learn_from_people(lane(), shown(), PLAN, seed=0, episodes=8, epochs=1, ray="local")
    assert caught.value.mend == "pip install 'arauto[rllib]'"


@pytest.fixture(scope="module")
def rllib():
    guard(LOCAL)
    ray = importlib.import_module("ray")
    ray.init(
        address="local", num_cpus=3, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
        _system_config={"worker_niceness": 0},
    )  # fmt: skip
    yield importlib.import_module("arauto.gpo.rllib")
    ray.shutdown()


BATCH = PPOPlan(
    iterations=8, batch=64, group=1, minibatch=64, epochs=6, learning_rate=0.01, gamma=0.99, kl_start=0.001,
    kl_target=10.0, value_clip=0.0,
)  # fmt: skip


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore")
class TestOnRay:
    def test_a_policy_learns_though_a_player_dies(self, rllib):
        from bench.gpo_rllib import players

        policy, died = lane(), []

        def told(done, of, note):
            if done == 2:
                one = players()[0]
                died.append(one.pid)
                one.kill()

        before = play(policy, 64, seed=3).mean()
        outcome = rllib.optimise(policy, 1, BATCH, seed=0, ray="local", progress=told)
        assert len(died) == 1
        assert len(outcome.readings) == 8
        assert outcome.verdict is None
        assert outcome.readings[-1].kl > outcome.readings[0].kl > 0
        assert before < 0.2
        assert play(policy, 64, seed=3).mean() > 0.5

    def test_it_can_be_stopped_and_other_algorithms_are_refused(self, rllib):
        with pytest.raises(Stopped):
            rllib.optimise(lane(), 1, BATCH, seed=0, ray="local", stopped=lambda: True)
        with pytest.raises(InputError) as caught:
            rllib.optimise(lane(), 1, PPOPlan(algorithm="rloo"), seed=0, ray="local")
        assert caught.value.field == "algorithm"
