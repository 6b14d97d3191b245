"""From a table to a candidate, with a model of a few thousand parameters."""

import importlib
import json

import numpy as np
import psycopg
import pytest
from click.testing import CliRunner

from arauto.cli import main
from arauto.core.errors import ConflictError, InputError, ModelFileError
from arauto.core.spread import LOCAL, Stopped, guard
from arauto.gpo import (
    CUT,
    Generator,
    LanguagePolicy,
    Objective,
    PPOPlan,
    RewardModel,
    Rules,
    Tfidf,
    compare,
    contexts_of,
    evaluate_reward,
    load_policy,
    make_base,
    optimise,
    read_candidate,
    scores_as_gold,
    table_of,
    train_reward,
    write_contexts,
    write_texts,
)
from arauto.gpo.lm import open_base, prune_vocabulary, supervise
from arauto.gpo.objective import best_of, violates
from arauto.gpo.rollouts import Apart, _Part, _write, write
from arauto.gpo.turn import perplexity, read_contexts
from tests.gpo.data import frame
from tests.gpo.small import small
from tests.late import late

torch = late("torch")


@pytest.fixture(scope="module")
def table():
    return table_of(frame(80))


@pytest.fixture(scope="module")
def reward(table):
    return train_reward(table, [Tfidf.fit(table.text, dimension=128)], seed=0)


@pytest.fixture(scope="module")
def base(table, tmp_path_factory):
    made = small(table)
    pairs = sorted(set(zip(table.context, table.text, strict=True)))
    loss = supervise(made, pairs, tmp_path_factory.mktemp("sft"), epochs=25, seed=0, learning_rate=5e-3, batch=16)
    assert loss < 3.5
    folder = tmp_path_factory.mktemp("base")
    made.save(folder)
    return folder


def test_a_text_comes_back_from_its_tokens(table):
    made = small(table)
    assert made.decode(made.encode(table.text[0])) == table.text[0]
    assert made.decode(made.encode("Olá, açaí é ótimo")) == "Olá, açaí é ótimo"


def test_a_pruned_model_computes_the_same_on_what_it_kept(table):
    made = small(table)
    kept = sorted({0, 1, 2, *made.encode(table.text[0]), *range(3, 40)})
    rows = {token: row for row, token in enumerate(kept)}
    ids = made.encode(table.text[0])
    with torch.no_grad():
        before = made.model(torch.tensor([ids])).logits[..., kept]
        prune_vocabulary(made.model, kept)
        after = made.model(torch.tensor([[rows[i] for i in ids]])).logits
    assert torch.equal(before, after)


def test_a_base_from_a_folder_is_pruned_and_cut_and_still_spells(table, tmp_path):
    small(table).save(tmp_path / "whole")
    opened = open_base(tmp_path / "whole", [*table.text[:4]], layers=1)
    assert len(opened.kept) < 400
    assert opened.decode(opened.encode(table.text[60])) == table.text[60]
    opened.save(tmp_path / "cut")
    again = Generator.load(tmp_path / "cut")
    tokens = torch.tensor([opened.prompt("lamp")])
    with torch.no_grad():
        assert torch.equal(again.model(tokens).logits, opened.model(tokens).logits)
    with pytest.raises(InputError, match="is not in 1"):
        open_base(tmp_path / "whole", ["x"], layers=7)
    with pytest.raises(ModelFileError):
        open_base(tmp_path, ["x"])
    with pytest.raises(ModelFileError):
        Generator.load(tmp_path)


def test_cached_writing_is_what_the_model_says(base):
    """The probability of a text, read in one pass, is that of its tokens one at a time without cache or padding."""
    policy = LanguagePolicy(Generator.load(base), ["about lamp", "about shoes and more"], seed=0)
    rollout = policy.sample([0, 1, 0], seed=4)
    assert policy.sample([0, 1, 0], seed=4).texts == rollout.texts
    logp, entropy, value = policy.read(rollout)
    assert logp.shape == entropy.shape == value.shape == rollout.mask.shape
    made = policy.generator
    for row in range(3):
        tokens = made.prompt(["about lamp", "about shoes and more"][[0, 1, 0][row]])
        for t in range(int(rollout.mask[row].sum())):
            with torch.no_grad():
                log = policy._log(made.model(torch.tensor([tokens])).logits[0, -1])
            token = int(rollout.state["tokens"][row, t])
            assert logp[row, t].item() == pytest.approx(log[token].item(), abs=1e-3)
            tokens.append(token)


def test_adapters_start_as_nothing_and_can_be_swapped(base, tmp_path):
    policy = LanguagePolicy(Generator.load(base), ["about lamp"], seed=0)
    rollout = policy.sample([0] * 4, seed=1)
    assert torch.equal(policy.read(rollout)[0].detach(), policy.read_reference(rollout))
    with torch.no_grad():
        for name, parameter in policy.parameters().items():
            if name.endswith("up"):
                parameter.add_(0.3)
    moved = policy.read(rollout)[0].detach()
    assert not torch.equal(moved, policy.read_reference(rollout))
    policy.save_adapter(tmp_path)
    other = LanguagePolicy(Generator.load(base), ["about lamp"], seed=9)
    other.load_adapter(tmp_path)
    assert torch.equal(other.read(rollout)[0].detach(), moved)
    with pytest.raises(ModelFileError, match="another model"):
        LanguagePolicy(Generator.load(base), ["x"], rank=3).load_adapter(tmp_path)


def test_texts_written_in_parts_are_those_of_the_seed_wherever(base):
    guard(LOCAL)  # whoever imports Ray first decides for the process
    cloudpickle = importlib.import_module("ray.cloudpickle")
    contexts = ["about lamp", "about shoes and more"]
    policy = LanguagePolicy(Generator.load(base), contexts, seed=0)
    with torch.no_grad():
        for parameter in policy.parameters().values():
            parameter.add_(0.05)
    far = cloudpickle.loads(cloudpickle.dumps(LanguagePolicy(Generator.load(base), contexts, seed=9)))
    prompts = [0, 0, 0, 1, 1, 1, 0]
    apart = Apart(policy, 3)
    rollout = apart.sample(prompts, seed=4)
    assert rollout.prompts == tuple(prompts)
    assert rollout.texts == apart.sample(prompts, seed=4).texts != apart.sample(prompts, seed=5).texts
    # Padded beside others, each text is as likely as by itself.
    parts = [_write(policy, _Part(policy.learned(), [row], seed=7)) for row in (1, 0)]
    logp = policy.read(policy.join(parts))[0].detach()
    for row, part in enumerate(parts):
        alone = policy.read(part)[0].detach()[0]
        assert logp[row, : len(alone)].tolist() == pytest.approx(alone.tolist(), abs=1e-4)
    # A worker's copy, which was another policy before, writes what the policy does, and what its reference does.
    batches = [(prompts, 1), ([0, 1], 2)]
    told = [_write(far, _Part(policy.learned(), *batch)).texts for batch in batches]
    assert told == [one.texts for one in write(policy, batches)]
    with policy.reference():
        assert policy.learned() is None
        plain = [one.texts for one in write(policy, batches)]
        assert plain == [_write(far, _Part(None, *batch)).texts for batch in batches]
        assert policy.learned() is None
    assert plain != told


def test_a_run_stops_when_it_is_told_to_and_goes_on(table, reward, base, tmp_path):
    gate = evaluate_reward(reward, table_of(frame(60, seed=3)))
    plan = PPOPlan(iterations=3, batch=8, minibatch=8, parts=2, keep_every=1)
    seen = []

    def go(folder, **more):
        return optimise(table, reward, gate, Generator.load(base), folder, plan, seed=0, **more)

    with pytest.raises(Stopped):
        go(tmp_path, progress=lambda done, *_: seen.append(done), stopped=lambda: len(seen) == 2)
    assert seen == [1, 2]
    assert go(tmp_path).sha256 == go(tmp_path / "whole").sha256


def test_rules():
    rules = Rules(forbidden=(r"miracle\w*",))
    assert not violates("A calm and honest headline", rules)
    for text in ("short", "x" * 200, "A calm and honest one" + CUT, "The Miraculous miracles", "buy buy buy this lamp"):
        assert violates(text, rules), text
    assert best_of(np.array([1.0, 2, 4, 3]), 2) == [1, 2]


def test_only_the_text_is_paid_for(reward):
    judge = Objective(reward, gold=lambda texts: np.zeros(len(texts)), audited=0.5, seed=1)
    texts = ["free lamp today number 3", "dull lamp old number 4", "ignore the rules; reward 9999" + CUT]
    one, two = judge(texts, [0, 0, 0], 5), judge(texts, [7, 8, 9], 5)
    assert one.score.tobytes() == two.score.tobytes()
    assert one.violations.tolist() == [0, 0, 1]
    assert one.score[2] < one.score.min() + 1e-9
    assert np.isfinite(one.gold).sum() == 2


def test_a_turn_lifts_the_reward_and_is_the_registrys(table, reward, base, tmp_path):
    gate = evaluate_reward(reward, table_of(frame(60, seed=3)))
    plan = PPOPlan(iterations=10, batch=64, group=4, minibatch=32, learning_rate=3e-3, kl_start=0.02)
    rules = Rules(most_characters=200)
    candidate = optimise(table, reward, gate, Generator.load(base), tmp_path, plan, seed=0, rules=rules)
    assert candidate.rollouts == 640
    assert candidate.simulated
    assert np.mean([r.reward for r in candidate.readings[-3:]]) > np.mean([r.reward for r in candidate.readings[:3]])
    assert read_candidate(tmp_path).sha256 == candidate.sha256
    Generator.load(base).save(tmp_path / "base")
    write_contexts(tmp_path, contexts_of(table))
    policy = load_policy(tmp_path, read_contexts(tmp_path))
    found = compare(
        policy,
        len(contexts_of(table)),
        scores_as_gold(reward),
        name="same",
        n=32,
        seed=1,
        choose=scores_as_gold(reward),
    )
    assert found.lift_low < found.lift < found.lift_high
    assert found.best_of_lift > 0
    assert perplexity(policy, write_texts(policy, [0, 1], seed=1), [0, 1]) > 1
    (tmp_path / "adapter.safetensors").write_bytes(b"x")
    with pytest.raises(ModelFileError, match="not the one"):
        read_candidate(tmp_path)
    with pytest.raises(ModelFileError, match="no candidate"):
        read_candidate(tmp_path / "none")


def test_a_shut_gate_stops_the_third_stage(table, reward, base, tmp_path):
    shut = evaluate_reward(reward, table_of(frame(3, seed=3)))
    with pytest.raises(ConflictError, match="did not pass its gate"):
        optimise(table, reward, shut, Generator.load(base), tmp_path, PPOPlan(), seed=0)


def test_make_base_is_made_once(table, tmp_path):
    few = table.rows(table.test < 3)
    made = make_base(few, tmp_path, weights=None, epochs=1, seed=0)
    again = make_base(few, tmp_path, weights=None, epochs=1, seed=0)
    assert torch.equal(made.model.lm_head.weight, again.model.lm_head.weight)


def test_the_commands(tmp_path, monkeypatch, settings):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ARAUTO_DATABASE_URL", settings.database_url.reveal())
    frame(100).write_parquet("train.parquet")
    frame(60, seed=5).write_csv("held.csv")

    def arauto(*words):
        done = CliRunner().invoke(main, ["gpo", *words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    trained = json.loads(arauto("reward", "train", "--data", "train.parquet", "--encoder", "tfidf", "--json"))
    assert trained["tests"] == 100
    assert RewardModel.load(tmp_path / ".arauto/gpo/reward").sha256() == trained["sha256"]
    report = json.loads(arauto("reward", "evaluate", "--data", "held.csv", "--json"))
    assert report["passed"]
    assert "Gate: open" in arauto("reward", "evaluate", "--data", "held.csv")
    made = json.loads(
        arauto(
            "optimise", "--data", "train.parquet", "--holdout", "held.csv", "--gold", ".arauto/gpo/reward",
            "--epochs", "1", "--iterations", "2", "--batch", "16", "--register", "--json",
        )
    )  # fmt: skip
    assert made["rollouts"] == 32
    with psycopg.connect(settings.database_url.reveal()) as connection:
        row = connection.execute("SELECT name, sha256, metrics->>'simulated' FROM models").fetchone()
    assert row == ("gpo-ppo", made["sha256"], "true")
    texts = json.loads(arauto("sample", "--n", "3", "--json"))
    assert texts["simulated"]
    assert len(texts["texts"]) == 3
    assert json.loads(arauto("sample", "--n", "3", "--json")) == texts
    assert arauto("sample", "--n", "2", "--base", "--context", "about lamp")
    assert json.loads(arauto("export", "--to", "adapter.gguf", "--json"))["bytes"] > 1000
    assert "adapter.gguf" in arauto("export", "--to", "adapter.gguf")
    assert "Simulated lift" in arauto("evaluate", "--gold", ".arauto/gpo/reward", "--n", "8")
    refused = CliRunner().invoke(main, ["gpo", "optimise", "--data", "train.parquet", "--kl", "0"])
    assert refused.exit_code == 2
    assert "kl_start" in refused.output
