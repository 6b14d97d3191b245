"""The adapter in llama.cpp's form."""

import numpy as np
import pytest

from arauto.core.errors import InputError
from arauto.gpo import LanguagePolicy, export_gguf, table_of
from arauto.gpo.export import interleave
from tests.gpo.data import frame
from tests.gpo.small import small
from tests.late import late

torch = late("torch")
gguf = late("gguf")
reading = late("transformers.modeling_gguf_pytorch_utils")


def test_rows_are_ordered_as_readers_of_gguf_expect():
    """Transformers undoes llama.cpp's order when it opens a GGUF file; it has to undo ours."""
    rows = np.arange(8 * 3, dtype=np.float32).reshape(8, 3)
    undo = reading.LlamaTensorProcessor()._reverse_permute_weights
    for heads in (1, 2, 4):
        assert np.array_equal(undo(interleave(rows, heads), heads), rows)


def test_the_file_holds_every_adapter(tmp_path):
    policy = LanguagePolicy(small(table_of(frame(20))), ["about lamp"], rank=3, seed=0)
    with torch.no_grad():
        for parameter in policy.parameters().values():
            parameter.normal_(generator=torch.Generator().manual_seed(1))
    export_gguf(policy, tmp_path / "new" / "adapter.gguf")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["adapter.gguf"]
    read = gguf.GGUFReader(tmp_path / "new" / "adapter.gguf")
    said = {key: read.fields[key].contents() for key in ("general.type", "adapter.type", "adapter.lora.alpha")}
    assert said == {"general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": 6.0}
    held = {tensor.name: np.array(tensor.data) for tensor in read.tensors}
    trained = policy.parameters()
    assert len(held) == len(trained) - 1
    assert "value" not in " ".join(held)
    for ours, theirs in (
        ("mlp.up_proj", "ffn_up"),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.v_proj", "attn_v"),
    ):
        for side, end in (("down", "lora_a"), ("up", "lora_b")):
            wanted = trained[f"model.layers.0.{ours}.{side}"].detach().numpy()
            assert np.array_equal(held[f"blk.0.{theirs}.weight.{end}"], wanted)
    heads = policy.generator.model.config.num_attention_heads
    turned = interleave(trained["model.layers.0.self_attn.q_proj.up"].detach().numpy(), heads)
    assert np.array_equal(held["blk.0.attn_q.weight.lora_b"], turned)


def test_an_unknown_kind_of_model_is_refused(tmp_path):
    policy = LanguagePolicy(small(table_of(frame(20))), ["about lamp"])
    policy.generator.model.config.model_type = "gpt2"
    with pytest.raises(InputError, match="can be exported"):
        export_gguf(policy, tmp_path / "adapter.gguf")
