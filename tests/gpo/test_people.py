"""From people's play to a policy: a lane of nine places, people who mostly walk to its end but dawdle on the way."""

import pickle
import types

import numpy as np
import pytest

from arauto.core.errors import InputError, TooLargeError
from arauto.gpo import (
    EpisodePolicy,
    PPOPlan,
    demonstrations_of,
    fit_critic,
    imitate,
    learn_from_people,
    people,
    play,
    policy_for,
    read_demonstrations,
)
from tests.late import late

torch = late("torch")

PLACES, MOST = 6, 20
PLAN = PPOPlan(
    iterations=6, batch=16, group=1, minibatch=8, epochs=4, learning_rate=0.02, gamma=0.99, kl_start=0.001,
    kl_target=10.0, value_clip=0.0,
)  # fmt: skip


class Lane:
    """0 goes back, 1 forward, 2 waits. A step costs 0.05; the end pays 1, or what ``end`` says."""

    def __init__(self, end=1.0):
        self.end = end

    def reset(self, *, seed=None, options=None):
        self.at, self.steps = 0, 0
        return np.eye(PLACES)[0], {}

    def step(self, action):
        self.at = max(0, self.at + (-1, 1, 0)[action])
        self.steps += 1
        done = self.at == PLACES - 1
        return np.eye(PLACES)[self.at], (self.end if done else 0.0) - 0.05, done, self.steps == MOST, {}


def dawdlers(episodes=120, seed=0):
    """Forward half of the time; the rest they wait, or go back."""
    rng = np.random.default_rng(seed)
    columns = {"seen": [], "action": [], "episode": [], "reward": []}
    for episode in range(episodes):
        lane = Lane()
        seen, _ = lane.reset()
        over = False
        while not over:
            action = int(rng.choice(3, p=[0.2, 0.5, 0.3]))
            columns["seen"].append(seen)
            columns["action"].append(action)
            columns["episode"].append(episode)
            seen, paid, ended, cut, _ = lane.step(action)
            columns["reward"].append(paid)
            over = ended or cut
    return {name: np.array(values) for name, values in columns.items()}


@pytest.fixture(scope="module")
def shown():
    arrays = dawdlers()
    return demonstrations_of(arrays.pop("seen"), arrays.pop("action"), **arrays)


def lane_policy(seed=1):
    return EpisodePolicy(Lane, PLACES, 3, hidden=16, most_steps=MOST, seed=seed)


def test_people_then_their_clone_then_better(shown):
    policy = lane_policy()
    stages, outcome = learn_from_people(policy, shown, PLAN, seed=0, episodes=60, epochs=10, learning_rate=0.01)
    totals = np.bincount(shown.episode, shown.reward)
    assert stages.people.value == pytest.approx(totals.mean())
    assert stages.people.low < stages.people.value < stages.people.high
    # The clone does what people did, so it earns what they earned; PPO does better, and stays in KL's reach.
    assert stages.cloned.low < stages.people.high
    assert stages.people.low < stages.cloned.high
    assert stages.gain.low > 0.0
    assert stages.gain.value == pytest.approx(stages.optimised.value - stages.cloned.value)
    assert stages.agreement == pytest.approx(0.5, abs=0.1)
    assert stages.kept == "optimised"
    assert outcome.verdict is None
    assert outcome.readings[0].kl == pytest.approx(0.0, abs=1e-6)
    assert outcome.readings[-1].kl > 0.5
    assert min(reading.beta for reading in outcome.readings) > 0.0
    assert policy.probabilities(np.eye(PLACES)[:-1])[:, 1].min() > 0.6


def test_a_clone_may_be_judged_elsewhere_and_rewards_may_be_unknown(shown):
    unknown = demonstrations_of(shown.seen, shown.action)
    plan = PPOPlan(iterations=1, batch=4, group=1, minibatch=4)
    stages, _ = learn_from_people(
        lane_policy(),
        unknown,
        plan,
        seed=0,
        episodes=20,
        epochs=4,
        learning_rate=0.01,
        judged_in=lambda: Lane(end=100.0),
    )
    assert stages.people is None
    assert stages.cloned.value > 20.0


def test_what_is_surely_worse_than_the_clone_is_not_kept(shown):
    """Learned where the end pays, judged where it costs."""
    policy, clone = lane_policy(), lane_policy()
    imitate(clone, shown.log(), seed=0, epochs=4, weight=shown.weight, episode=shown.episode)
    stages, _ = learn_from_people(
        policy, shown, PLAN, seed=0, episodes=40, epochs=4, judged_in=lambda: Lane(end=-100.0)
    )
    assert stages.gain.high < 0.0
    assert stages.kept == "cloned"
    assert policy.probabilities(np.eye(PLACES)).tobytes() == clone.probabilities(np.eye(PLACES)).tobytes()


def test_a_run_that_was_cut_goes_on_to_the_same_policy(shown, tmp_path):
    from msgspec.structs import replace

    short = {"seed": 3, "episodes": 4, "epochs": 1}
    whole, parts = lane_policy(), lane_policy()
    learn_from_people(whole, shown, replace(PLAN, iterations=3), work=tmp_path / "a", **short)
    learn_from_people(parts, shown, replace(PLAN, iterations=2), work=tmp_path / "b", **short)
    parts = lane_policy()
    learn_from_people(parts, shown, replace(PLAN, iterations=3), work=tmp_path / "b", **short)
    for name, value in whole.parameters().items():
        assert torch.equal(value, parts.parameters()[name])


def test_weights_say_whom_to_imitate():
    """Two teachers in the same place: the one who counts is followed."""
    seen, action = np.ones((400, 2)), np.arange(400) % 2
    policy = EpisodePolicy(Lane, 2, 3, hidden=16, seed=0)
    one = demonstrations_of(seen, action, weight=np.where(action == 1, 1.0, 0.0))
    imitate(policy, one.log(), seed=0, epochs=20, learning_rate=0.01, weight=one.weight)
    assert policy.probabilities(np.ones((1, 2)))[0, 1] > 0.9


def test_whole_episodes_are_kept_back():
    """In each episode another action is right: rows give it away, episodes do not."""
    episode = np.arange(400) // 40
    seen = np.eye(10)[episode]
    log = demonstrations_of(seen, episode, episode=episode).log()
    fit = {"seed": 0, "epochs": 25, "learning_rate": 0.02}
    assert imitate(EpisodePolicy(Lane, 10, 10, seed=0), log, **fit) == 1.0
    assert imitate(EpisodePolicy(Lane, 10, 10, seed=0), log, episode=episode, **fit) == 0.0
    # An only episode: a tenth of it in one piece, here all of one place.
    assert imitate(EpisodePolicy(Lane, 10, 10, seed=0), log, episode=episode * 0, **fit) == 0.0
    with pytest.raises(InputError, match="single step"):
        imitate(EpisodePolicy(Lane, 2, 3), demonstrations_of(np.ones((1, 2)), np.array([0])).log(), seed=0)


def test_a_critic_is_fitted_to_what_was_earned(shown):
    policy = lane_policy()
    log = shown.log()
    first = np.flatnonzero(shown.episode == 0)
    assert log.earned[first[0]] == pytest.approx(shown.reward[first].sum())
    assert log.earned[first[-1]] == pytest.approx(shown.reward[first[-1]])
    fit_critic(policy, log, seed=0, epochs=40, learning_rate=0.01)
    values = policy.critic(torch.eye(PLACES))[:, 0].detach().numpy()
    at = shown.seen.argmax(axis=1)
    for place in (0, PLACES - 2):
        assert values[place] == pytest.approx(log.earned[at == place].mean(), abs=0.15)


def test_play_takes_turns_and_repeats(shown):
    policy = lane_policy()
    assert play(policy, 7, seed=1, at_once=3).tobytes() == play(policy, 7, seed=1, at_once=3).tobytes()
    assert len(play(policy, 7, seed=1, prompts=2)) == 7


def test_demonstrations_come_from_a_plain_file(tmp_path):
    arrays = dawdlers(3)
    np.savez(tmp_path / "people.npz", **arrays, weight=np.full(len(arrays["action"]), 2.0))
    read = read_demonstrations(tmp_path / "people.npz")
    assert read.seen.dtype == np.float32
    assert read.action.tolist() == arrays["action"].tolist()
    assert read.episode.tolist() == arrays["episode"].tolist()
    assert read.reward.tolist() == arrays["reward"].tolist()
    assert set(read.weight) == {2.0}
    np.savez(tmp_path / "few.npz", seen=np.zeros((3, 2, 2)), action=np.array([0, 1, 1]))
    few = read_demonstrations(tmp_path / "few.npz")
    assert few.seen.shape == (3, 4)
    assert np.isnan(few.reward).all()


class Runs:
    """Unpickling it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_strangers_file_runs_nothing(tmp_path):
    spy = tmp_path / "ran"
    np.savez(tmp_path / "bad.npz", seen=np.array([Runs(spy)], dtype=object), action=np.array([0]), allow_pickle=True)
    (tmp_path / "bare.npz").write_bytes(pickle.dumps(Runs(spy)))
    for name in ("bad.npz", "bare.npz"):
        with pytest.raises(InputError, match="cannot be read"):
            read_demonstrations(tmp_path / name)
    assert not spy.exists()


def test_files_that_cannot_be_used_say_why(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="not there"):
        read_demonstrations(tmp_path / "none.npz")
    np.savez(tmp_path / "half.npz", seen=np.zeros((2, 2)))
    with pytest.raises(InputError, match="has no action"):
        read_demonstrations(tmp_path / "half.npz")
    monkeypatch.setattr(people, "_MOST_BYTES", 100)
    with pytest.raises(TooLargeError, match="unpacks to"):
        read_demonstrations(tmp_path / "half.npz")


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("seen", {"seen": np.zeros((2, 2))}),
        ("seen", {"seen": np.full((3, 2), np.nan)}),
        ("action", {"action": np.array([0.0, 1.0, 2.0])}),
        ("episode", {"episode": np.array([0.5, 1.0, 2.0])}),
        ("reward", {"reward": np.zeros((3, 1))}),
        ("weight", {"weight": np.array([1.0, -1.0, 1.0])}),
        ("weight", {"weight": np.zeros(3)}),
    ],
)
def test_wrong_arrays_are_named(field, change):
    whole = {"seen": np.zeros((3, 2)), "action": np.array([0, 1, 2])} | change
    with pytest.raises(InputError) as error:
        demonstrations_of(whole.pop("seen"), whole.pop("action"), **whole)
    assert error.value.field == field


class Spaced(Lane):
    """With Gymnasium's spaces; sees a picture, or a number."""

    def __init__(self, seen, acts):
        super().__init__()
        self.observation_space, self.action_space = seen, acts

    def _as_seen(self, place):
        return int(place.argmax()) if hasattr(self.observation_space, "n") else place.reshape(2, 3)

    def reset(self, **given):
        seen, more = super().reset(**given)
        return self._as_seen(seen), more

    def step(self, action):
        seen, *rest = super().step(action)
        return self._as_seen(seen), *rest


SPACE = types.SimpleNamespace
THREE = SPACE(n=np.int64(3), start=0)


def test_any_environment_of_numbered_actions_has_a_policy():
    for seen in (SPACE(shape=(2, 3)), SPACE(n=6, start=0, shape=())):
        policy = policy_for(lambda seen=seen: Spaced(seen, THREE), hidden=8, most_steps=MOST)
        rollout = policy.sample([0, 0], seed=1)
        assert rollout.state["seen"].shape[-1] == PLACES
        assert (rollout.state["seen"].sum(-1) == 1.0).all()
    flat = policy_for(lambda: types.SimpleNamespace(observation_space=SPACE(shape=(4,)), action_space=THREE))
    assert flat.probabilities(np.zeros((1, 4))).shape == (1, 3)


@pytest.mark.parametrize(
    ("field", "seen", "acts"),
    [
        ("action_space", SPACE(shape=(4,)), SPACE(shape=(2,))),
        ("action_space", SPACE(shape=(4,)), SPACE(n=3, start=1)),
        ("observation_space", SPACE(spaces={}), THREE),
    ],
)
def test_other_spaces_are_refused(field, seen, acts):
    with pytest.raises(InputError) as error:
        policy_for(lambda: Spaced(seen, acts))
    assert error.value.field == field
