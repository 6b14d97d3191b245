"""Text to features to integers, and the file that carries them."""

import contextlib
import hashlib
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arauto.core.errors import ModelFileError
from arauto.edge import load, shipped
from arauto.edge.model import EXP, MAGIC, MAX_FILE, ONE, EdgeModel, Manifest, from_bytes, pack, soften
from arauto.edge.text import MAX_TOKENS, Features, Hasher, fnv, tokens


def test_tokens_are_folded_words_numbers_marks_and_symbols():
    assert tokens("NÃO gostei... Custou R$ 1.299,90 😡") == [
        "nao",
        "gostei",
        "..",
        "custou",
        "r",
        "$",
        "0",
        ".",
        "0",
        ",",
        "0",
        "😡",
    ]
    assert tokens("muuuuito booom!!!!! <3 :D") == ["muito", "bom", "!!", "<0", ":d"]
    assert tokens("don't d’água café cafe\u0301") == ["dont", "dagua", "cafe", "cafe"]
    assert tokens("veja https://x.example/a?b @fulano_1 www.x.example") == ["veja", "_", "0"]
    assert tokens("👍🏽 中文 \ud800") == ["👍", "中", "文"]
    assert tokens("ß Æ Œ ŉ Ł") == ["s", "a", "o", "n", "l"]


def test_long_texts_and_words_are_cut():
    assert len(tokens("a b " * 900)) == MAX_TOKENS
    assert tokens("abcdefghij" * 9) == [("abcdefghij" * 9)[:24]]


def test_fnv_is_the_published_one():
    """Vectors of the FNV-1a reference."""
    assert fnv("") == 0x811C9DC5
    assert fnv("a") == 0xE40C292C
    assert fnv("foobar") == 0xBF9CF968


def test_negation_marks_the_words_after_it_up_to_a_mark():
    hasher = Hasher(Features(words=1, chars=(), negators=("nao",), scope=2))
    plain = set(hasher("bom caro lindo").tolist())
    marked = hasher("nao bom caro lindo").tolist()[1:]
    assert [value in plain for value in marked] == [False, False, True]
    assert hasher("nao, bom").tolist()[2] in plain


def test_features_count_words_pairs_triples_and_characters():
    assert len(Hasher(Features(words=3, chars=()))("um dois tres quatro")) == 4 + 3 + 2
    assert len(Hasher(Features(words=1, chars=(4,)))("bom")) == 1 + 2
    assert len(Hasher(Features())("")) == 0


def test_shares_are_those_of_a_softmax_to_four_digits():
    assert EXP[0] == 2**30
    for logits in ((0, 0), (100, -300, 5), (7000, -7000)):
        exact = np.exp2(np.array(logits) / 256)
        np.testing.assert_allclose(np.array(soften(logits)) / ONE, exact / exact.sum(), atol=3e-5)


@given(st.text(max_size=300))
@settings(max_examples=60, deadline=None)
def test_any_text_is_answered_with_shares_that_sum_to_one(text):
    said = shipped().predict(text)
    assert ONE - len(said.shares) <= sum(said.shares) <= ONE
    assert said.label in (None, *shipped().manifest.labels)
    assert 0 < said.confidence <= 1


def test_an_empty_text_is_not_known():
    said = shipped().predict("   ")
    assert (said.label, said.n) == (None, 0)


def small(bits=4, **changed):
    rng = np.random.default_rng(1)
    levels = tuple(tuple(int(v) for v in rng.integers(-127, 128, 1 << bits)) for _ in range(2))
    manifest = Manifest(
        name="small", version="1", languages=("en",), labels=("a", "b", "c"), features=Features(words=2, chars=(3,)),
        rows_log2=6, dim=2, bits=bits, levels=levels, head=((5, -7, 2), (0, 3, -3)), bias=(1, 2, 3), sha256="0" * 64,
    )  # fmt: skip
    return pack(msgspec.structs.replace(manifest, **changed), rng.integers(0, 1 << bits, (64, 2)).astype(np.uint8))


@pytest.mark.parametrize("bits", [4, 8])
def test_the_integer_path_is_the_formula_of_the_docstring(bits):
    model = small(bits)
    manifest, text = model.manifest, "A good text, or not"
    rows = Hasher(manifest.features)(text) % 64
    bag = [sum(int(model.table[row, j]) for row in rows) for j in range(2)]
    norm = math.isqrt(len(rows) << 16)
    logits = tuple(
        manifest.bias[c] + math.floor(256 * sum(bag[j] * manifest.head[j][c] for j in range(2)) / norm)
        for c in range(3)
    )
    assert model.predict(text).logits == logits


@pytest.mark.parametrize("bits", [4, 8])
def test_a_file_comes_back_as_it_was(bits, tmp_path):
    model = small(bits)
    path = tmp_path / "m.bin"
    path.write_bytes(model.to_bytes())
    again = load(path)
    assert again.manifest == model.manifest
    assert np.array_equal(again.table, model.table)
    assert again.to_bytes() == model.to_bytes()
    assert again.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_below_the_threshold_the_answer_is_unknown():
    assert small(unsure=ONE).predict("a text").label is None
    assert small(unsure=0).predict("a text").label is not None


def spoilt():
    raw = small().to_bytes()
    size = int.from_bytes(raw[8:12], "little")
    head, codes = raw[12 : 12 + size], raw[12 + size :]

    def rebuilt(old, new):
        changed = head.replace(old, new, 1)
        assert changed != head
        return MAGIC + len(changed).to_bytes(4, "little") + changed + codes

    yield "nothing", b"", "does not begin"
    yield "another file", b"GIF89a" * 9, "does not begin"
    yield "only a head", raw[:12], "cut short"
    yield "a huge manifest", raw[:8] + b"\xff\xff\xff\x7f" + raw[12:], "cut short"
    yield "cut", raw[:-1], "cut short or altered"
    yield "longer", raw + b"\0", "cut short or altered"
    yield "altered", raw[:-1] + bytes([raw[-1] ^ 1]), "was altered"
    yield "not JSON", rebuilt(b"{", b"["), "cannot read"
    yield "a newer format", rebuilt(b'"format":1', b'"format":2'), "cannot read"
    yield "an unknown field", rebuilt(b'"format":1', b'"format":1,"x":1'), "cannot read"
    yield "a huge table", rebuilt(b'"rows_log2":6', b'"rows_log2":60'), "cannot read"
    yield "no room", rebuilt(b'"dim":2', b'"dim":3'), "belong"
    yield "a head that does not fit", rebuilt(b'"bias":[1,2,3]', b'"bias":[1,2]'), "contradicts"
    yield "a level out of range", rebuilt(b'"levels":[[', b'"levels":[[999,'), "cannot read"
    yield "too large", b"\0" * (MAX_FILE + 1), "at most"


@pytest.mark.parametrize(("raw", "problem"), [case[1:] for case in spoilt()], ids=[case[0] for case in spoilt()])
def test_a_spoilt_file_is_refused_with_its_problem(raw, problem):
    with pytest.raises(ModelFileError, match=problem):
        from_bytes(raw)


@given(st.integers(0, 3000), st.integers(1, 255))
@settings(max_examples=80, deadline=None)
def test_no_flipped_byte_passes_as_the_same_model(place, flip):
    raw = bytearray(small().to_bytes())
    raw[place % len(raw)] ^= flip
    with contextlib.suppress(ModelFileError):
        assert from_bytes(bytes(raw)).manifest != small().manifest


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ModelFileError, match="cannot be read"):
        load(tmp_path / "none.bin")
    with (tmp_path / "large.bin").open("wb") as file:
        file.truncate(MAX_FILE + 1)
    with pytest.raises(ModelFileError, match="larger"):
        load(tmp_path / "large.bin")


def test_the_shipped_model_says_what_it_was_trained_on():
    model = shipped()
    assert isinstance(model, EdgeModel)
    assert model.manifest.labels == ("negative", "neutral", "positive")
    assert "composed by rule" in model.manifest.data
    assert model.manifest.bits == 4
