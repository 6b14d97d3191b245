"""kill -9 in every stage: what is resumed ends with the bytes of what was never cut."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from arauto.core.errors import ModelFileError
from arauto.gpo import (
    PPO,
    FineTune,
    Monitor,
    PPOPlan,
    RewardModel,
    Rewards,
    SentenceEncoder,
    StopRule,
    table_of,
    train_reward,
)
from arauto.gpo.lm import supervise
from arauto.gpo.tables import TablePolicy
from tests.gpo.data import frame
from tests.gpo.small import small
from tests.late import late

torch = late("torch")
tokenizers, transformers = late("tokenizers"), late("transformers")


def make_encoder(folder):
    """A sentence encoder of one layer, with random weights."""
    torch.manual_seed(0)
    words = ["[PAD]", "[UNK]", *sorted({word for text in table_of(frame(40)).text for word in text.split()})]
    inner = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]")
    )
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(
        folder
    )
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    transformers.BertModel(config).save_pretrained(folder)


def tune(folder, die=-1):
    def progress(done, total, note):
        if note == "fine-tune" and done == die:
            os.kill(os.getpid(), 9)

    plan = FineTune(epochs=2, learning_rate=1e-3, tests=8, keep_every=2)
    encoder = SentenceEncoder(folder.parent / "encoder")
    model = train_reward(table_of(frame(40)), [encoder], seed=0, work=folder, plan=plan, progress=progress)
    model.save(folder / "model")
    return model.heads.tobytes()


def teach(folder, die=-1):
    def progress(done, total, note):
        if done == die:
            os.kill(os.getpid(), 9)

    table = table_of(frame(20))
    made = small(table)
    pairs = list(zip(table.context, table.text, strict=True))
    supervise(made, pairs, folder, epochs=2, seed=0, batch=8, keep_every=4, progress=progress)
    return made.model.lm_head.weight.detach().numpy().tobytes()


def optimise(folder, die=-1):
    def judge(texts, prompts, iteration):
        if iteration == die:
            os.kill(os.getpid(), 9)
        score = np.array([float(text.count("w1")) for text in texts])
        return Rewards(score, score * 0, score * 0, np.full(len(texts), np.nan))

    plan = PPOPlan(iterations=9, batch=32, group=1, minibatch=16, learning_rate=0.05, keep_every=2)
    policy = TablePolicy(5, 4)
    run = PPO(policy, judge, 1, plan, seed=5, monitor=Monitor(StopRule(warm_up=99)), work=folder)
    rewards = [reading.reward for reading in run.run().readings]
    return policy.logits.detach().numpy().tobytes(), rewards


STAGES = {"tune": (tune, 5), "teach": (teach, 6), "optimise": (optimise, 5)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where every stage was cut: one process, which forks a child for each stage and sees it killed."""
    folder = tmp_path_factory.mktemp("killed")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    make_encoder(folder / "encoder")
    done = subprocess.run(
        [sys.executable, "-m", "tests.gpo.test_killed", str(folder)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    yield folder
    torch.set_num_threads(threads)


@pytest.mark.parametrize("stage", list(STAGES))
def test_killed_and_resumed_ends_with_the_same_bytes(folder, stage):
    work, _ = STAGES[stage]
    assert list((folder / stage).glob("*.safetensors"))
    assert work(folder / stage) == work(folder / f"{stage}-whole")


def test_a_model_can_be_moved_and_no_other_encoder_is_taken_for_its_own(folder, tmp_path):
    tune(folder / "tune")
    texts = ["free lamp", "old soap"]
    scores = RewardModel.load(folder / "tune" / "model").score(texts).mean
    shutil.copytree(folder / "tune" / "model", tmp_path / "old")
    moved = (tmp_path / "old").rename(tmp_path / "new")
    assert str(folder) not in (moved / "reward.json").read_text("utf-8")
    loaded = RewardModel.load(moved)
    assert loaded.score(texts).mean.tobytes() == scores.tobytes()
    loaded.save(tmp_path / "again")
    loaded.save(tmp_path / "again")
    assert RewardModel.load(tmp_path / "again").sha256() == loaded.sha256()
    weights = loaded.encoders[0].folder / "model.safetensors"
    weights.unlink()
    weights.write_bytes(b"another")
    with pytest.raises(ModelFileError, match="not the encoder"):
        RewardModel.load(moved)


if __name__ == "__main__":
    torch.set_num_threads(1)
    # Imported before the forks, each of which would do it again. No more than that: threads of tokenizers do not fork.
    for needed in ("BertModel", "LlamaForCausalLM", "PreTrainedTokenizerFast"):
        getattr(transformers, needed)
    for name, (stage, die) in STAGES.items():
        child = os.fork()
        if child == 0:
            stage(Path(sys.argv[1]) / name, die)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WTERMSIG(status) != 9:
            sys.exit(f"{name} was not killed")
