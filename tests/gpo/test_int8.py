"""Eight-bit layers say what the whole ones say, and a text's row is its own."""

from arauto.gpo import int8
from tests.late import late

torch = late("torch")


def test_a_layer_in_eight_bits_is_close_and_its_rows_are_alone():
    torch.manual_seed(0)
    layer = torch.nn.Linear(48, 24)
    x = torch.randn(3, 5, 48) * torch.tensor([0.01, 1.0, 50.0])[:, None, None]
    quick = int8.quantise(torch.nn.Sequential(layer))
    with torch.no_grad():
        exact, found = layer(x), quick(x)
    assert found.shape == exact.shape
    spread = (exact - layer.bias).std(dim=(1, 2), keepdim=True)
    assert ((found - exact) / spread).abs().max() < 0.05
    assert not torch.equal(found, exact)
    # A neighbour a thousand times as large changes nothing.
    assert torch.equal(quick(x[:1]), found[:1])
    assert int8.quantise(torch.nn.Sequential(torch.nn.Linear(4, 2, bias=False)))(torch.zeros(1, 4)).tolist() == [[0, 0]]


def test_without_the_instructions_nothing_is_changed(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False, raising=False)
    assert not int8.supported()
