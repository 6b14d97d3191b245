"""A transformers model writes: a tiny one with weights drawn at random, and how it is refused."""

import json

import pytest

from arauto.core.brief import Brief
from arauto.core.errors import EngineError, SettingError
from arauto.core.settings import Settings
from arauto.creative import Ask, ModelStore, UnreadableAnswer, choose_engine, compose_message

BRIEF = Brief(product="smartwatch", focus="saúde")
ASK = Ask(brief=BRIEF, message=compose_message(BRIEF))
SAYS = {
    "title": "O seu dia no pulso",
    "description": "Com o smartwatch, você anda leve.",
    "image_suggestion": "Pessoa no parque ao sol",
}
TEMPLATE = "{% for one in messages %}{{ one['content'] }}{% endfor %}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import tokenizers
    import torch
    import transformers

    path = tmp_path_factory.mktemp("model")
    bytes_ = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    raw = tokenizers.Tokenizer(
        tokenizers.models.BPE(vocab={letter: place for place, letter in enumerate(sorted(bytes_))}, merges=[])
    )
    raw.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = tokenizers.decoders.ByteLevel()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=raw)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(path)
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=256, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(path)
    return path


def engine_of(model):
    settings = Settings(text_engine="hf", hf_model=str(model))
    return choose_engine(settings, ModelStore(settings))


async def test_a_model_answers_and_the_same_again(folder, monkeypatch):
    import torch

    engine = engine_of(folder)
    monkeypatch.setattr("arauto.creative.engines.hf.MAX_TOKENS", 8)
    before = torch.random.get_rng_state()
    first, again, other = (engine._answer([{"role": "user", "content": "Olá"}], seed) for seed in (3, 3, 4))
    assert first == again != other
    assert torch.equal(before, torch.random.get_rng_state())
    with pytest.raises(UnreadableAnswer):
        await engine.write(ASK)
    monkeypatch.setattr(engine, "_answer", lambda messages, seed: f"Claro! {json.dumps(SAYS)}")
    draft = await engine.write(ASK)
    assert draft.copy.title == SAYS["title"]
    assert len(draft.prompt_sha256) == 64
    await engine.close()
    assert engine._loaded is None


async def test_what_is_no_chat_model_is_refused(folder, tmp_path, monkeypatch):
    with pytest.raises(EngineError, match="cannot be loaded"):
        await engine_of(tmp_path).write(ASK)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(EngineError, match="no chat model"):
        await engine_of(folder).write(ASK)
    with pytest.raises(SettingError) as caught:
        engine_of("")
    assert caught.value.field == "hf_model"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EngineError, match="not installed"):
        engine_of(folder)
