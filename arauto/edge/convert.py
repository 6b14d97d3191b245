"""The same weights for other runtimes: an ONNX graph of the same integers, and a TensorFlow.js graph in floats.

Both take the rows of a text's features (``hash mod rows``) and answer with the shares of the classes; hashing stays
with ``arauto-edge-core.js``, and ``arauto-edge-peers.js`` joins the two. ONNX: IR 8, operators 17. TensorFlow.js: the
graph model format (``model.json`` and one file of weights), the table kept in 8 bits.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from arauto.core.errors import InputError
from arauto.edge.model import EXP, ONE, EdgeModel

_OPSET, _IR = 17, 8
TFJS_FILES = ("model.json", "weights.bin")


def to_onnx(model: EdgeModel) -> bytes:
    """The model as ONNX: ``rows`` int64 ``(n,)`` to ``logits`` (1/256 bit) and ``shares`` (of 65536), int64.

    Every integer is the one of :meth:`~arauto.edge.model.EdgeModel.predict`; the manifest is in the metadata.

    Raises:
        InputError: the package onnx is not installed.
    """
    try:
        from onnx import TensorProto, checker, helper, numpy_helper
    except ImportError:
        raise InputError("needs the package onnx", field="format", mend="pip install 'arauto[onnx]'") from None
    manifest = model.manifest
    consts: dict[str, NDArray[Any]] = {
        "table": model.table.astype(np.int8),
        "head": np.array(manifest.head, np.int64),
        "bias": np.array(manifest.bias, np.int64),
        "exp": np.array(EXP, np.int64),
        **{f"c{value}": np.array(value, np.int64) for value in (1, 63, 256, ONE)},
        "axis": np.array([0], np.int64),
    }
    steps: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
        ("Gather", "table rows", "picked", {"axis": 0}),
        ("Cast", "picked", "cells", {"to": TensorProto.INT64}),
        ("ReduceSum", "cells axis", "bag", {"keepdims": 0}),
        ("Size", "rows", "n", {}),
        ("Mul", f"n c{ONE}", "scaled", {}),
        ("Cast", "scaled", "wide", {"to": TensorProto.DOUBLE}),
        ("Sqrt", "wide", "root", {}),
        ("Cast", "root", "whole_root", {"to": TensorProto.INT64}),
        ("Max", "whole_root c1", "m", {}),
        ("MatMul", "bag head", "sums", {}),
        ("Mul", "sums c256", "t", {}),
        # Division cuts towards zero, and the formula rounds down: first make it even.
        ("Mod", "t m", "over", {}),
        ("Sub", "t over", "even", {}),
        ("Div", "even m", "part", {}),
        ("Min", "n c1", "any", {}),
        ("Mul", "bias any", "base", {}),
        ("Add", "part base", "logits", {}),
        ("ReduceMax", "logits", "top", {"keepdims": 0}),
        ("Sub", "top logits", "d", {}),
        ("Mod", "d c256", "place", {}),
        ("Gather", "exp place", "unshifted", {"axis": 0}),
        ("Div", "d c256", "halvings", {}),
        ("Min", "halvings c63", "few", {}),
        ("Cast", "unshifted", "left", {"to": TensorProto.UINT64}),
        ("Cast", "few", "by", {"to": TensorProto.UINT64}),
        ("BitShift", "left by", "shifted", {"direction": "RIGHT"}),
        ("Cast", "shifted", "e", {"to": TensorProto.INT64}),
        ("ReduceSum", "e", "sum", {"keepdims": 0}),
        ("Mul", f"e c{ONE}", "big", {}),
        ("Div", "big sum", "shares", {}),
    )
    classes = len(manifest.labels)
    graph = helper.make_graph(
        [helper.make_node(kind, given.split(), [made], name=made, **how) for kind, given, made, how in steps],
        manifest.name,
        [helper.make_tensor_value_info("rows", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info(name, TensorProto.INT64, [classes]) for name in ("logits", "shares")],
        [numpy_helper.from_array(array, name) for name, array in consts.items()],
    )
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    helper.set_model_props(whole, {"arauto": _manifest(model).decode()})
    checker.check_model(whole, full_check=True)
    return bytes(whole.SerializeToString())


def to_tfjs(model: EdgeModel) -> dict[str, bytes]:
    """The model as a TensorFlow.js graph model: :data:`TFJS_FILES`.

    ``rows`` int32 ``(n,)`` to ``shares`` float32 ``(1, classes)``, which sum to 1. The weights are those of the file;
    the arithmetic is in single precision, so shares agree to about 10⁻³.
    """
    manifest = model.manifest
    nats = np.log(2) / 256
    weights: dict[str, NDArray[Any]] = {
        "table": (model.table.astype(np.int16) + 127).astype(np.uint8),
        "head": (np.array(manifest.head) * nats).astype(np.float32),
        "bias": (np.array([manifest.bias]) * nats).astype(np.float32),
        "axis": np.array(0, np.int32),
        "one": np.array(1, np.float32),
    }
    specs: list[dict[str, Any]] = []
    parts: list[bytes] = []
    for name, array in weights.items():
        spec: dict[str, Any] = {"name": name, "shape": list(array.shape), "dtype": str(array.dtype)}
        if name == "table":
            spec |= {"dtype": "float32", "quantization": {"dtype": "uint8", "scale": 1.0, "min": -127.0}}
        specs.append(spec)
        parts.append(array.astype(array.dtype.newbyteorder("<")).tobytes())
    floats, ints = {"type": "DT_FLOAT"}, {"type": "DT_INT32"}
    keep = {"keep_dims": {"b": True}, "T": floats, "Tidx": ints}
    nodes = [
        _node("rows", "Placeholder", (), dtype=ints, shape={"shape": {"dim": [{"size": "-1"}]}}),
        *(
            _node(name, "Const", (), dtype=ints if array.dtype == np.int32 else floats)
            for name, array in weights.items()
        ),
        _node("cells", "GatherV2", ("table", "rows", "axis"), Taxis=ints, Tindices=ints, Tparams=floats),
        _node("bag", "Sum", ("cells", "axis"), **keep),
        _node("size", "Size", ("rows",), T=ints, out_type=ints),
        _node("n", "Cast", ("size",), SrcT=ints, DstT=floats),
        _node("some", "Maximum", ("n", "one"), T=floats),
        _node("root", "Sqrt", ("some",), T=floats),
        _node("mean", "RealDiv", ("bag", "root"), T=floats),
        _node("sums", "MatMul", ("mean", "head"), T=floats, transpose_a={"b": False}, transpose_b={"b": False}),
        _node("logits", "AddV2", ("sums", "bias"), T=floats),
        _node("shares", "Softmax", ("logits",), T=floats),
    ]
    topology = {"node": nodes, "library": {}, "versions": {"producer": 175}}
    told = {
        "format": "graph-model",
        "generatedBy": "arauto",
        "convertedBy": None,
        "signature": {
            "inputs": {"rows": {"name": "rows:0", "dtype": "DT_INT32", "tensorShape": {"dim": [{"size": "-1"}]}}},
            "outputs": {"shares": {"name": "shares:0", "dtype": "DT_FLOAT"}},
        },
        "modelTopology": topology,
        "weightsManifest": [{"paths": [TFJS_FILES[1]], "weights": specs}],
        "userDefinedMetadata": {"arauto": msgspec.json.decode(_manifest(model))},
    }
    return {TFJS_FILES[0]: msgspec.json.encode(told), TFJS_FILES[1]: b"".join(parts)}


def _node(name: str, kind: str, inputs: tuple[str, ...], **attributes: Any) -> dict[str, Any]:
    return {"name": name, "op": kind, "input": list(inputs), "attr": attributes}


def _manifest(model: EdgeModel) -> bytes:
    return msgspec.json.encode(model.manifest)
