"""The adapter as llama.cpp reads it: GGUF LoRA, to run on the GGUF base that it was trained on, without a restart.

Only the layers' weights are in it, so a base whose vocabulary was pruned for training and the whole one take the same
file. Its form is that of llama.cpp's own converter: ``<tensor>.lora_a`` (r, in) and ``.lora_b`` (out, r), α = 2 r.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arauto.core.errors import InputError
from arauto.gpo.extras import need
from arauto.gpo.writer import LanguagePolicy

_TURNED = ("self_attn.q_proj", "self_attn.k_proj")
_KINDS = ("llama", "qwen2", "qwen3")


def export_gguf(policy: LanguagePolicy, path: Path) -> None:
    """Write the adapter of ``policy`` as a GGUF file. Its value head, which only training needs, stays behind.

    Raises:
        InputError: llama.cpp names the layers of this kind of model in a way that is not known here.
    """
    gguf, config = need("gguf"), policy.generator.model.config
    if config.model_type not in _KINDS:
        raise InputError(
            f"is a {config.model_type} model; adapters of {', '.join(_KINDS)} can be exported",
            field="base",
            mend="run it with transformers",
        )
    kind = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}[config.model_type]
    names = gguf.get_tensor_name_map(kind, config.num_hidden_layers)
    part = path.with_name(f"{path.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(part, config.model_type)
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 2.0 * policy.rank)
    for name, tensor in policy.parameters().items():
        layer, _, side = name.rpartition(".")
        if side not in ("down", "up"):
            continue
        rows = tensor.detach().float().numpy()
        if side == "up" and config.model_type == "llama" and layer.endswith(_TURNED):
            heads = config.num_attention_heads if layer.endswith("q_proj") else config.num_key_value_heads
            rows = interleave(rows, heads)
        writer.add_tensor(f"{names.get_name(layer)}.weight.{'lora_a' if side == 'down' else 'lora_b'}", _whole(rows))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    part.replace(path)


def interleave(rows: NDArray[Any], heads: int) -> NDArray[Any]:
    """Rows of a query or key projection in llama.cpp's order: rotary pairs side by side, not half a head apart."""
    return rows.reshape(heads, 2, -1, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def _whole(rows: NDArray[Any]) -> NDArray[np.float32]:
    return np.ascontiguousarray(rows, np.float32)
