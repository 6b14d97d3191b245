"""The exports: the same weights, and the same answers on the golden vectors."""

import json

import numpy as np
import pytest

from arauto.core.errors import InputError
from arauto.edge import shipped, to_onnx, to_tfjs
from arauto.edge.recipe import golden
from arauto.edge.text import Hasher

MODEL = shipped()
ROWS = (1 << MODEL.manifest.rows_log2) - 1
HASHER = Hasher(MODEL.manifest.features)


def rows_of(text):
    return (HASHER(text) & np.uint32(ROWS)).astype(np.int64)


def test_onnx_answers_the_same_integers():
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    whole = onnx.load_from_string(to_onnx(MODEL))
    session = ReferenceEvaluator(whole)
    for row in golden(MODEL, 60):
        logits, shares = session.run(None, {"rows": rows_of(row.text)})
        assert (tuple(logits), tuple(shares)) == (row.logits, row.shares), row.text
    assert json.loads(whole.metadata_props[0].value)["sha256"] == MODEL.manifest.sha256


def test_onnx_without_its_package_says_the_mend(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(InputError) as caught:
        to_onnx(MODEL)
    assert "arauto[onnx]" in caught.value.mend


def test_tfjs_holds_the_same_weights_and_its_graph_computes_the_shares():
    files = to_tfjs(MODEL)
    told = json.loads(files["model.json"])
    weights, at = {}, 0
    for spec in told["weightsManifest"][0]["weights"]:
        kind = spec.get("quantization", spec)["dtype"]
        count = int(np.prod(spec["shape"], dtype=int))
        array = np.frombuffer(files["weights.bin"], np.dtype(kind).newbyteorder("<"), count, at)
        at += array.nbytes
        array = array.reshape(spec["shape"]).astype(spec["dtype"])
        scale = spec.get("quantization")
        weights[spec["name"]] = array * np.float32(scale["scale"]) + np.float32(scale["min"]) if scale else array
    assert at == len(files["weights.bin"])
    assert np.array_equal(weights["table"], MODEL.table)
    for row in golden(MODEL, 60):
        if row.n:
            values = run(told["modelTopology"]["node"], {**weights, "rows": rows_of(row.text)})
            assert values["shares"].shape == (1, 3)
            assert np.allclose(values["shares"][0] * 65536, row.shares, atol=100), row.text


OPERATIONS = {
    "GatherV2": lambda table, rows, _: table[rows],
    "Sum": lambda cells, axis: cells.sum(int(axis), keepdims=True),
    "Size": lambda rows: np.int32(rows.size),
    "Cast": np.float32,
    "Maximum": np.maximum,
    "Sqrt": np.sqrt,
    "RealDiv": np.divide,
    "MatMul": np.matmul,
    "AddV2": np.add,
    "Softmax": lambda z: np.exp(z - z.max()) / np.exp(z - z.max()).sum(),
}


def run(nodes, values):
    for node in nodes:
        if node["op"] not in ("Placeholder", "Const"):
            values[node["name"]] = OPERATIONS[node["op"]](*(values[name] for name in node["input"]))
    return values
