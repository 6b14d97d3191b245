"""What noise promises: known costs, unbiased rounding, a sampler that is the discrete Gaussian, a budget that stops."""

import math

import msgspec
import numpy as np
import pytest

from arauto.core.errors import InputError
from arauto.federated.audit import auc, audit, epsilon_lower
from arauto.federated.privacy import (
    Ledger,
    _table,
    check_privacy,
    clipped,
    decode,
    discrete_gaussian,
    encode,
    epsilon_of,
    noise_for,
    rho_of,
    sensitivity,
)
from arauto.federated.wire import Privacy, RefusedError
from tests.federated.rounds import offer


@pytest.mark.parametrize(("z", "times", "epsilon"), [(1, 1, 5.22), (4, 2, 1.66), (8, 5, 1.29)])
def test_known_costs(z, times, epsilon):
    assert epsilon_of(times / (2 * z**2), 1e-6) == pytest.approx(epsilon, abs=0.01)


def test_the_gaussians_own_curve_is_below_ours():
    """Balle and Wang's exact δ(ε) of the Gaussian mechanism (ICML 2018) at our ε never exceeds our δ."""

    def exact(z, e):
        def phi(x):
            return math.erfc(-x / math.sqrt(2)) / 2

        return phi(1 / (2 * z) - e * z) - math.exp(e) * phi(-1 / (2 * z) - e * z)

    for z in (0.7, 1, 2, 5, 20):
        for delta in (1e-4, 1e-6, 1e-9):
            assert exact(z, epsilon_of(1 / (2 * z**2), delta)) <= delta


def test_the_ends():
    assert epsilon_of(0, 1e-6) == 0
    assert epsilon_of(math.inf, 1e-6) == math.inf
    assert rho_of(0, 5, 1, 1) == math.inf


@pytest.mark.parametrize(("epsilon", "cap", "dim", "assured"), [(3, 1, 4096, 8), (1, 5, 65536, 500), (0.5, 2, 16, 2)])
def test_noise_is_the_least_that_keeps_the_promise(epsilon, cap, dim, assured):
    found = noise_for(epsilon, 1e-6, cap, 1.0, 1 / 4096, dim, assured)
    bound = sensitivity(1.0, 1 / 4096, dim)
    assert found.epsilon <= epsilon
    assert epsilon_of(cap * rho_of(found.noise * 0.999, assured, bound, dim), 1e-6) > epsilon


@pytest.mark.parametrize("wrong", [{"epsilon": 0}, {"cap": 0}, {"epsilon": 1e-9}])
def test_noise_that_cannot_be(wrong):
    given = {"epsilon": 1.0, "delta": 1e-6, "cap": 1, "clip": 1.0, "quantum": 1e-4, "dim": 10, "assured": 2}
    with pytest.raises(InputError):
        noise_for(**{**given, **wrong})


@pytest.mark.parametrize("noise", [0.3, 1.3, 100.7, 20_000.0])
def test_the_guide_finds_what_a_search_of_the_whole_table_finds(noise):
    raw = np.random.default_rng(0).bytes(8 * 50_000)
    table = _table(noise)
    wanted = np.searchsorted(table.below, np.frombuffer(raw, "<u8"), side="right") - table.reach
    assert (discrete_gaussian(noise, 50_000, lambda _: raw) == wanted).all()


def test_the_sampler_is_the_discrete_gaussian():
    draw = discrete_gaussian(1.3, 200_000)
    values = np.arange(-6, 7)
    mass = np.exp(-(values**2) / (2 * 1.3**2))
    expected = mass / mass.sum() * len(draw)
    seen = np.array([(draw == value).sum() for value in values])
    assert ((seen - expected) ** 2 / expected).sum() < 45  # χ² with 12 degrees of freedom: p < 10⁻⁵


def test_rounding_is_unbiased_and_bounded():
    contract = offer(dim=64, quantum=0.5, privacy=Privacy(clip=4.0))
    update = np.full(64, 0.3)
    words = np.stack([decode(encode(update, contract), contract) for _ in range(2000)])
    assert np.abs(words.mean() - 0.3) < 0.01
    bound = sensitivity(4.0, 0.5, 64) * 0.5
    assert all(np.linalg.norm(row) <= bound + 1e-9 for row in words)


def test_clipping_takes_what_is_not_finite_for_nothing():
    assert clipped(np.array([3.0, 4.0]), 1.0).tolist() == pytest.approx([0.6, 0.8])
    assert clipped(np.array([np.nan, 0.5, np.inf]), 1.0).tolist() == [0, 0.5, 0]


def contract(number=0, cap=3, **more):
    privacy = noise_for(3, 1e-6, cap, 1.0, 1 / 64, 16, 6)
    return offer(quantum=1 / 64, round=f"{number:032x}", privacy=msgspec.structs.replace(privacy, **more))


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"rho": 0.001}, "privacy.rho"),
        ({"epsilon": 1.0}, "privacy.epsilon"),
        ({"assured": 7}, "privacy.assured"),
        ({"noise": 0.0}, "privacy"),
    ],
)
def test_an_offer_that_understates_its_cost_is_refused(more, field):
    with pytest.raises(RefusedError) as refused:
        check_privacy(contract(**more))
    assert refused.value.field == field


def test_the_ledger_pays_once_and_stops(tmp_path):
    path = tmp_path / "paid.json"
    ledger = Ledger(path, epsilon=3.0)
    ledger.spend(contract(0))
    with pytest.raises(RefusedError, match="paid for already"):
        Ledger(path, epsilon=3.0).spend(contract(0))
    ledger.spend(contract(1))
    ledger.spend(contract(2))
    assert ledger.spent == pytest.approx(3.0, abs=1e-6)
    with pytest.raises(RefusedError, match="participations"):
        Ledger(path, epsilon=30.0).spend(contract(3))
    with pytest.raises(RefusedError, match="is spent"):
        Ledger(path, epsilon=3.0).spend(msgspec.structs.replace(contract(4), task="another"))


def test_the_area_counts_ties_half():
    assert auc(np.array([1.0, 1.0, 0.0]), np.array([True, False, False])) == 0.75
    assert math.isnan(auc(np.ones(2), np.array([True, True])))


def test_the_lower_bound_sees_a_mechanism_that_leaks():
    draw = np.random.default_rng(1)
    truth = np.arange(4000) % 2 == 1
    leak = draw.normal(size=4000) + 4 * truth
    assert epsilon_lower(leak[:2000], truth[:2000], leak[2000:], truth[2000:], 1e-6) > 3
    blind = draw.normal(size=4000)
    assert epsilon_lower(blind[:2000], truth[:2000], blind[2000:], truth[2000:], 1e-6) < 0.3


@pytest.mark.no_cover
def test_the_suite_finds_what_is_bare_and_misses_what_is_masked():
    found = audit(3.0, tries=100, sizes=(16,))
    by = {(one.attack, one.target, one.epsilon >= 0): one for one in found}
    for attack in ("row support", "gradient inversion"):
        assert by[attack, "bare update", False].auc >= 0.99
        assert abs(by[attack, "masked update", False].auc - 0.5) <= 0.08
    assert by["row support", "sum", False].auc >= 0.99
    assert by["row support", "sum", True].auc <= 0.55
    assert by["canary", "sum", True].epsilon_lower <= 3.0
    tampered = by["tamper and replay", "every message", False]
    assert tampered.refused == tampered.tried
