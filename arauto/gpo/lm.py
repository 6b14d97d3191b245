"""Small causal language models as generators: opened from a folder, or made tiny and trained on the user's own texts.

Any Hugging Face causal model in safetensors, or one GGUF file, which is dequantised. Its vocabulary can be pruned to
the tokens that are used: on those the model computes exactly what it did. A text is written as::

    <begin> context <turn> text <end>
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from arauto.core.errors import InputError, ModelFileError
from arauto.core.files import write_whole
from arauto.gpo.checkpoints import load_state, save_state
from arauto.gpo.extras import need
from arauto.gpo.progress import Progress, silent

Tensor = Any
_CARD = "generator.json"
_MARKS = ("<begin>", "<turn>", "<end>")
_IGNORED = -100


@dataclass(frozen=True)
class Generator:
    """A model and how texts become its tokens. ``kept`` are the tokenizer's ids of the model's rows."""

    model: Any
    tokenizer: Any
    kept: tuple[int, ...]
    begin: int
    turn: int
    end: int
    most_context: int = 24
    most_text: int = 32

    def encode(self, text: str) -> list[int]:
        """Token rows of ``text``; a token that was pruned away is spelled in smaller ones."""
        rows = {token: row for row, token in enumerate(self.kept)}
        found: list[int] = []
        for token in self.tokenizer.encode(text, add_special_tokens=False):
            if token in rows:
                found.append(rows[token])
            else:
                pieces = self.tokenizer.convert_ids_to_tokens(token)
                spelled = self.tokenizer.convert_tokens_to_ids(list(pieces))
                found += [rows[piece] for piece in spelled if piece in rows]
        return found

    def decode(self, rows: Sequence[int]) -> str:
        """The text of token rows."""
        text: str = self.tokenizer.decode([self.kept[row] for row in rows], skip_special_tokens=True)
        return " ".join(text.split())

    def prompt(self, context: str) -> list[int]:
        """What stands before a text about ``context``."""
        return [self.begin, *self.encode(context)[: self.most_context], self.turn]

    def save(self, folder: Path) -> None:
        """Weights as safetensors, the tokenizer, and ``generator.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        card = {name: getattr(self, name) for name in ("begin", "turn", "end", "most_context", "most_text")}
        write_whole(folder / _CARD, json.dumps({"format": 1, "kept": list(self.kept), **card}).encode())

    @classmethod
    def load(cls, folder: Path) -> Generator:
        """Read what :meth:`save` wrote. No code of the folder is run, and only safetensors are read.

        Raises:
            ModelFileError: a file is missing or not of this form.
        """
        transformers = need("transformers")
        options = {"trust_remote_code": False, "local_files_only": True}
        try:
            card = json.loads((folder / _CARD).read_text("utf-8"))
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
            model = transformers.AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, **options).eval()
            numbers = {name: int(card[name]) for name in ("begin", "turn", "end", "most_context", "most_text")}
            return cls(model, tokenizer, tuple(int(k) for k in card["kept"]), **numbers)
        except (OSError, KeyError, TypeError, ValueError) as failure:
            raise ModelFileError(f"{folder} holds no generator: {failure}", field="base", mend="make it anew") from None


def tiny_generator(
    texts: Sequence[str], *, seed: int, vocabulary: int = 4096, width: int = 256, layers: int = 4
) -> Generator:
    """A few million parameters with random weights, and a byte-level BPE of ``texts``: for when no base is at hand."""
    torch, tokenizers, transformers = need("torch"), need("tokenizers"), need("transformers")
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=list(_MARKS), initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(sorted(set(texts)), trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=_MARKS[0], sep_token=_MARKS[1], eos_token=_MARKS[2], pad_token=_MARKS[2]
    )
    torch.manual_seed(seed)
    size = len(tokenizer)
    config = transformers.LlamaConfig(
        vocab_size=size, hidden_size=width, intermediate_size=3 * width, num_hidden_layers=layers,
        num_attention_heads=width // 32, num_key_value_heads=width // 32, max_position_embeddings=256,
        tie_word_embeddings=True, bos_token_id=0, eos_token_id=2, pad_token_id=2,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).eval()
    return Generator(model, tokenizer, tuple(range(size)), begin=0, turn=1, end=2)


def open_base(folder: Path, texts: Iterable[str], *, layers: int | None = None) -> Generator:
    """A pretrained causal model, its vocabulary pruned to ``texts``; ``layers`` keeps only so many of the lowest.

    Raises:
        ModelFileError: the folder holds neither safetensors nor one GGUF file of a causal model.
    """
    transformers = need("transformers")
    options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    gguf = sorted(folder.glob("*.gguf"))
    if gguf:
        options["gguf_file"] = gguf[0].name
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
        kind = {} if gguf else {"use_safetensors": True}
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="float32", **kind, **options)
    except (OSError, ValueError) as failure:
        raise ModelFileError(f"{folder} holds no causal model: {failure}", field="base", mend="give another") from None
    model = _plain(model, layers)
    used = {0, tokenizer.eos_token_id}
    for text in texts:
        used.update(tokenizer.encode(text, add_special_tokens=False))
    spelled = [tokenizer.convert_tokens_to_ids(piece) for piece in _byte_pieces()]
    used.update(piece for piece in spelled if piece is not None)
    line = tokenizer.encode("\n", add_special_tokens=False)
    used.update(line)
    kept = tuple(sorted(i for i in used if 0 <= i < model.config.vocab_size))
    prune_vocabulary(model, kept)
    begin = tokenizer.bos_token_id if tokenizer.bos_token_id in kept else tokenizer.eos_token_id
    rows = {token: row for row, token in enumerate(kept)}
    return Generator(model.eval(), tokenizer, kept, rows[begin], rows[line[-1]], rows[tokenizer.eos_token_id])


def prune_vocabulary(model: Any, kept: Sequence[int]) -> None:
    """Keep only the embedding and output rows ``kept``, in that order: logits of kept tokens do not change."""
    torch = need("torch")
    rows = torch.tensor(list(kept))
    with torch.no_grad():
        embedding = model.get_input_embeddings().weight[rows].clone()
        output = model.get_output_embeddings().weight[rows].clone()
        tied = model.config.tie_word_embeddings
        model.resize_token_embeddings(len(kept), mean_resizing=False)
        model.get_input_embeddings().weight.copy_(embedding)
        if not tied:
            model.get_output_embeddings().weight.copy_(output)
    model.config.vocab_size = len(kept)
    model.config.bos_token_id = model.config.eos_token_id = model.config.pad_token_id = None
    model.generation_config.bos_token_id = model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = None


def _plain(model: Any, layers: int | None) -> Any:
    """The same weights without the marks of a quantised file, which could not be saved."""
    wanted = {k: v for k, v in model.config.to_dict().items() if k != "quantization_config"}
    if layers is not None:
        if not 1 <= layers <= wanted["num_hidden_layers"]:
            raise InputError(f"is not in 1 … {wanted['num_hidden_layers']}", field="layers", mend="keep fewer")
        wanted["num_hidden_layers"] = layers
        wanted.pop("layer_types", None)
    fresh = type(model)(type(model.config)(**wanted))
    state = {name: tensor for name, tensor in model.state_dict().items() if name in fresh.state_dict()}
    fresh.load_state_dict(state)
    return fresh


def _byte_pieces() -> list[str]:
    """The 256 characters that byte-level BPE writes bytes with."""
    tokenizers = need("tokenizers")
    return sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())


def supervise(
    generator: Generator,
    pairs: Sequence[tuple[str, str]],
    work: Path,
    *,
    epochs: int,
    seed: int,
    learning_rate: float = 1e-3,
    batch: int = 32,
    keep_every: int = 100,
    progress: Progress = silent,
) -> float:
    """Fine-tune on demonstrations, (context, text) pairs. Goes on from ``work`` when cut short.

    Returns:
        The mean loss of the last epoch, in nats a token.
    """
    torch = need("torch")
    model = generator.model.train()
    parameters = dict(model.named_parameters())
    optimiser = torch.optim.AdamW(list(parameters.values()), lr=learning_rate, weight_decay=0.05)
    rows = [(generator.prompt(c), [*generator.encode(t)[: generator.most_text - 1], generator.end]) for c, t in pairs]
    per_epoch = -(-len(rows) // batch)
    steps = epochs * per_epoch
    done = load_state(work / "supervised.safetensors", parameters, optimiser)
    losses: list[float] = []
    for step in range(done, steps):
        torch.manual_seed((seed << 20) + step)
        epoch, at = divmod(step, per_epoch)
        order = np.random.default_rng([seed, epoch]).permutation(len(rows))[at * batch : (at + 1) * batch]
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * min(1.0, (step + 1) / 50) * (1.0 - 0.95 * step / steps)
        tokens, mask, targets = _teach([rows[i] for i in order], generator.end)
        logits = model(input_ids=tokens, attention_mask=mask).logits
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten(), ignore_index=_IGNORED
        )
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(parameters.values()), 1.0)
        optimiser.step()
        losses.append(float(loss.detach()))
        if (step + 1) % keep_every == 0 or step + 1 == steps:
            save_state(work / "supervised.safetensors", step + 1, parameters, optimiser)
        progress(step + 1, steps, f"demonstrations, loss {losses[-1]:.2f}")
    model.eval()
    return float(np.mean(losses[-per_epoch:])) if losses else float("nan")


def _teach(rows: Sequence[tuple[list[int], list[int]]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    torch = need("torch")
    longest = max(len(p) + len(t) for p, t in rows)
    tokens = torch.full((len(rows), longest), pad, dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    targets = torch.full((len(rows), longest), _IGNORED, dtype=torch.long)
    for place, (prompt, text) in enumerate(rows):
        whole = torch.tensor(prompt + text)
        tokens[place, : len(whole)] = whole
        mask[place, : len(whole)] = 1
        targets[place, len(prompt) : len(whole)] = whole[len(prompt) :]
    return tokens, mask, targets
