"""Linear layers in eight-bit whole numbers: three to four times as fast where the processor multiplies them (VNNI).

Weights have one scale a column, activations one a row, found when they pass. So a row's result does not depend on what
else is in its batch, and the products are exact sums of whole numbers: LLM.int8 (Dettmers et al. 2022) without its
outliers, which small sentence encoders do not have.
"""

from __future__ import annotations

from typing import Any

from arauto.gpo.extras import need

Tensor = Any
_MOST = 127.0


def supported() -> bool:
    """Whether this processor and PyTorch have the instructions."""
    torch = need("torch")
    known = getattr(torch.cpu, "_is_vnni_supported", None)
    return bool(known and known() and hasattr(torch, "_int_mm"))


def quantise(model: Any) -> Any:
    """The same model with its inner linear layers in eight bits; for reading only, it cannot learn."""
    torch = need("torch")
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, torch.nn.Linear):
                setattr(parent, name, linear(layer))
    return model


def linear(layer: Any) -> Any:
    """``layer`` in eight bits."""
    torch = need("torch")

    class Int8Linear(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            weight = layer.weight.detach().float()
            scale = weight.abs().amax(dim=1).clamp(min=1e-12) / _MOST
            self.weight = (weight / scale[:, None]).round().to(torch.int8).T
            self.scale = scale
            self.bias = None if layer.bias is None else layer.bias.detach().float()

        def forward(self, x: Tensor) -> Tensor:
            rows = x.reshape(-1, x.shape[-1])
            most = rows.abs().amax(dim=1, keepdim=True).clamp_(min=1e-12)
            whole = torch._int_mm((rows * (_MOST / most)).round_().to(torch.int8), self.weight)
            out = whole.float().mul_(most / _MOST).mul_(self.scale)
            if self.bias is not None:
                out.add_(self.bias)
            return out.view(*x.shape[:-1], -1)

    return Int8Linear()
