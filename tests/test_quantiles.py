"""Tables of quantiles: the same bytes everywhere, the right distributions, and the published population statistics."""

import hashlib
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.draw import _apportion, draw_lots, draw_traders
from replay.population import Leverage, Population
from replay.synthetic import quantiles, streams
from replay.synthetic.quantiles import ONE, UNIFORM

DEFAULT = Population(seed=1, accounts=200_000)
UNIFORMS = st.integers(0, UNIFORM - 1)


def sizes_of(population=DEFAULT):
    return quantiles.lognormal_pareto(population.size_sigma, population.size_alpha, population.size_truncation)


def uniforms(count, purpose=streams.SIZE):
    return streams.uniforms(streams.stream(1, purpose), count)


@given(UNIFORMS, UNIFORMS, st.sampled_from([1, 2, 5]), st.floats(0.3, 1.5), st.integers(3, 6))
def test_a_larger_uniform_never_gives_a_smaller_size_and_none_passes_the_truncation(a, b, tenths, alpha, digits):
    sigma = tenths / 2
    truncation = max(10**digits, 2 * int(quantiles.splice(sigma, alpha)))
    low, high = quantiles.lognormal_pareto(sigma, alpha, truncation)(np.sort(np.array([a, b])))
    assert 0 <= low <= high <= truncation * ONE


@given(UNIFORMS)
def test_the_normal_table_is_symmetric_and_right(uniform):
    low, high = quantiles.normal()(np.array([uniform, UNIFORM - uniform])) / ONE
    assert low == pytest.approx(-high, abs=1e-6)
    share = uniform / UNIFORM
    if 1e-9 < share < 1 - 1e-9:
        assert low == pytest.approx(NormalDist().inv_cdf(share), abs=2e-3)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20).filter(any), UNIFORMS)
def test_no_weight_of_zero_is_chosen(weights, uniform):
    assert weights[int(quantiles.choose(quantiles.edges(weights), np.array([uniform]))[0])] > 0


@given(st.lists(st.integers(1, 2**50), min_size=1, max_size=40), st.integers(1, 2**31), st.data())
def test_apportioned_lots_add_up_stay_in_bounds_and_follow_the_weights(weights, cap, data):
    total = data.draw(st.integers(len(weights), len(weights) * cap))
    lots = _apportion(np.array(weights), total, cap)
    assert lots.sum() == total and lots.min() >= 1 and lots.max() <= cap
    order = np.argsort(weights, kind="stable")
    assert all(lots[a] <= lots[b] for a, b in pairwise(order) if weights[a] < weights[b])


def test_lots_left_over_go_to_no_account_that_was_raised_to_one_lot():
    lots = _apportion(np.array([1, 1, 12_904, 34_359_424_065]), 2_662_761, 2_662_759)
    assert lots.tolist() == [1, 1, 1, 2_662_758]


def test_tables_have_the_same_bytes_on_every_machine():
    """Fixed digests: correctly rounded decimals and IEEE basic operations leave no room for a processor's own exp."""
    tables = [quantiles.normal(), quantiles.lognormal(1.0), sizes_of()]
    tables.append((sizes_of()(uniforms(1000)), quantiles.normal()(uniforms(1000, streams.PATH))))
    digests = [hashlib.sha256(b"".join(array.tobytes() for array in table)).hexdigest()[:16] for table in tables]
    assert digests == DIGESTS


DIGESTS = ["765bae003483a57e", "99394aebbfd7f835", "5a4bf502ed13fec7", "61ff1642799607d0"]


def test_uniforms_are_the_generators_own_bits():
    raw = streams.stream(1, streams.SIZE).bit_generator.random_raw(3)
    assert uniforms(3).tolist() == [int(x) >> 2 for x in raw]


def test_drawn_sizes_have_the_published_statistics():
    """HyperMultiAssetedADL: log standard deviation 2.71 to 2.88, Hill 0.754 to 0.866 (± 0.15), top 1 % hold 84.2 %."""
    assert quantiles.share_of_largest(sizes_of(), 0.01) == pytest.approx(0.842, abs=0.002)
    sizes = np.sort(sizes_of()(uniforms(200_000)))
    assert np.log(sizes).std() == pytest.approx(2.8, abs=0.1)
    assert np.median(sizes) == pytest.approx(ONE, rel=0.05)
    for k in (1000, 2000):
        hill = 1 / np.log(sizes[-k:] / sizes[-k - 1]).mean()
        assert 0.754 - 0.15 < hill < 0.866 + 0.15
    assert sizes[-1] <= DEFAULT.size_truncation * ONE


def test_body_and_tail_meet_without_a_jump_in_density():
    knots, splice = sizes_of(), float(quantiles.splice(2.8, 0.8)) * ONE
    k = int(np.searchsorted(knots.value, splice))
    at, value = knots.at[k - 4 : k + 4], knots.value[k - 4 : k + 4]
    local = np.diff(at) / np.diff(value) * np.sqrt(value[1:] / ONE * (value[:-1] / ONE)) ** 1.8
    assert local.max() / local.min() < 1.1


@pytest.mark.parametrize(("side", "weighted", "p80"), [("long", 22, 54), ("short", 30, 47)])
def test_drawn_leverage_is_the_published_one_before_the_tiers(side, weighted, p80):
    """BitMEX, May 2019: by position 22x and 30x, 80th percentiles 54x and 47x; tolerance a tenth."""
    leverages, weights = [], []
    for seed in range(8):  # the mean by size rests on few accounts, so several populations
        traders = draw_traders(DEFAULT, seed, 1)
        chosen = traders.sides[:, 0] == (1 if side == "long" else -1)
        leverages.append(traders.wished[chosen])
        weights.append(traders.weights[chosen])
    leverage, weight = np.concatenate(leverages), np.concatenate(weights)
    assert np.percentile(leverage, 80) == pytest.approx(p80, rel=0.1)
    assert (leverage * weight).sum() / weight.sum() == pytest.approx(weighted, rel=0.1)
    assert leverage.min() >= 1 and leverage.max() == 100


def test_size_correlation_makes_large_accounts_use_less():
    tied = Leverage(median=20.0, size_correlation=-1.0)
    population = Population(seed=1, accounts=500, leverage_long=tied)
    traders = draw_traders(population, 1, 1)
    longs = traders.sides[:, 0] > 0
    order = np.argsort(traders.weights[longs])
    assert (np.diff(traders.wished[longs][order]) <= 0).all()


def test_the_truncation_moves_nothing_but_the_tail():
    """The same uniforms, so that runs with other truncations are comparable account by account."""
    drawn = uniforms(10_000)
    half, whole = (quantiles.lognormal_pareto(2.8, 0.8, truncation)(drawn) for truncation in (315_000, 630_000))
    body = whole < float(quantiles.splice(2.8, 0.8)) * ONE
    assert 0.97 < body.mean() < 1
    assert np.array_equal(half[body], whole[body]) and (half[~body] <= whole[~body]).all()


def test_a_truncated_population_is_less_concentrated():
    record = {"position_max_lots": 2**31 - 1}
    shares = []
    for truncation in (10_000, 100_000, 1_000_000):
        population = Population(seed=1, accounts=5_000, size_truncation=truncation)
        traders = draw_traders(population, 1, 1)
        lots = np.abs(draw_lots(population, record, 10**8, traders.sides[:, 0], traders.weights)[0])
        shares.append(np.sort(lots)[-10:].sum() / lots.sum())
    assert shares == sorted(shares) and shares[0] < shares[2] - 0.1
