"""Black-76 against published values, its own identities, another library, and itself compiled and interpreted."""

import hashlib
import importlib
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from exchange.codes import CALL, PUT
from exchange.core.black76 import black_sub, option_value
from exchange.core.kernel import entry
from exchange.reference import black76 as reference

ROOT = Path(__file__).parents[1]
YEAR_NS = 365 * 86_400 * 10**9


@entry
def price_all(inputs, out):
    """Values of rows (forward, strike, years, volatility, right)."""
    for k in range(inputs.shape[0]):
        row = inputs[k]
        out[k] = option_value(row[0], row[1], row[2], row[3], np.int64(row[4]))


@entry
def round_all(inputs, out):
    """Whole sub-ticks of rows (forward, strike, nanoseconds left, volatility in ppm, right, sub-ticks of a coin)."""
    for k in range(inputs.shape[0]):
        row = inputs[k]
        out[k] = black_sub(row[0], row[1], row[2], row[3], 1_000_000, row[4], row[5], 1_000_000_000)


def value(forward, strike, years, volatility, right=CALL):
    out = np.zeros(1)
    price_all(np.array([[forward, strike, years, volatility, float(right)]]), out)
    return float(out[0])


def draws(count=4_000):
    """Forwards, strikes near and far, minutes to years, calm and wild."""
    rng = np.random.Generator(np.random.Philox(key=[53, 76]))
    forward = np.exp(rng.uniform(math.log(1e2), math.log(1e6), count))
    strike = forward * np.exp(rng.normal(0, 0.5, count))
    years, volatility = np.exp(rng.uniform(math.log(1e-6), math.log(3), count)), rng.uniform(0.02, 5, count)
    return np.stack([forward, strike, years, volatility, rng.integers(1, 3, count).astype(float)], axis=1)


def whole(rows):
    """The same in whole numbers."""
    years, volatility = rows[:, 2] * YEAR_NS, rows[:, 3] * 10**6
    coin = np.where(np.arange(len(rows)) % 3 == 0, 1_000_000, 0)
    return np.stack([rows[:, 0], rows[:, 1], years, volatility, rows[:, 4], coin], axis=1).astype(np.int64)


def bits():
    """A digest of everything that comes out, to the last bit."""
    rows = draws()
    values, subs = np.zeros(len(rows)), np.zeros(len(rows), np.int64)
    price_all(rows, values)
    round_all(whole(rows), subs)
    return hashlib.sha256(values.tobytes() + subs.tobytes()).hexdigest()


@pytest.mark.parametrize("terms, right, discount, published", [
    ((20.0, 20.0, 4 / 12, 0.25), PUT, math.exp(-0.09 * 4 / 12), 1.12),  # Hull: a put on a futures price
    ((100.0, 100.0, 0.5, 0.2), CALL, 1.0, 5.637197779701664),  # vollib: undiscounted_black
    ((100.0, 100.0, 0.5, 0.2), CALL, math.exp(-0.02 * 0.5), 5.5811067246048118)])  # vollib: black
def test_published_prices(terms, right, discount, published):
    digits = 2 if published == 1.12 else 12
    assert round(value(*terms, right) * discount, digits) == round(published, digits)


def test_calls_less_puts_are_forward_less_strike_and_values_stay_in_their_bounds():
    rows = draws()
    calls, puts = np.zeros(len(rows)), np.zeros(len(rows))
    for right, out in ((CALL, calls), (PUT, puts)):
        price_all(np.concatenate([rows[:, :4], np.full((len(rows), 1), float(right))], axis=1), out)
    forward, strike = rows[:, 0], rows[:, 1]
    assert np.all(np.abs(calls - puts - (forward - strike)) <= 4e-15 * (forward + strike) * 4)
    slack = 1e-14 * (forward + strike)
    assert np.all(calls >= np.maximum(0, forward - strike) - slack) and np.all(calls <= forward + slack)
    assert np.all(puts >= np.maximum(0, strike - forward) - slack) and np.all(puts <= strike + slack)


def test_values_rise_with_time_and_volatility_and_are_the_payoff_without_either():
    for right in (CALL, PUT):
        by_time = [value(1_000.0, 1_100.0, years, 0.8, right) for years in np.linspace(0, 2, 200)]
        by_volatility = [value(1_000.0, 1_100.0, 0.3, sigma, right) for sigma in np.linspace(0, 3, 200)]
        assert by_time == sorted(by_time) and by_volatility == sorted(by_volatility)
        assert by_time[0] == by_volatility[0] == (0.0 if right == CALL else 100.0)


def test_the_same_bits_interpreted_and_compiled():
    """On each side in a process of its own or this one; a processor that rounds otherwise would break IEEE 754."""
    code = "from tests.test_black76 import bits; print(bits())"
    given = [subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, check=True, text=True,
                            capture_output=True, env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT)})]
    assert given[0].stdout.strip() == bits()


def test_the_reference_rounds_to_the_same_sub_ticks_by_other_means():
    rows = whole(draws())
    out = np.zeros(len(rows), np.int64)
    round_all(rows, out)
    wanted = [reference.rounded(*row[:4], 10**6, row[4] == CALL, row[5], 10**9) for row in rows.tolist()]
    assert out.tolist() == wanted


def test_another_library_finds_the_same_prices_and_volatilities():
    black = importlib.import_module("vollib.black")
    implied = importlib.import_module("vollib.black.implied_volatility")
    rows = draws(800)
    out = np.zeros(len(rows))
    price_all(rows, out)
    for (forward, strike, years, sigma, right), price in zip(rows.tolist(), out.tolist(), strict=True):
        flag = "c" if right == CALL else "p"
        assert abs(black.black(flag, forward, strike, years, 0.0, sigma) - price) <= 4e-15 * (forward + strike)
        gain = max(0.0, forward - strike if right == CALL else strike - forward)
        if price - gain > 1e-4 * forward and price < 0.9 * (forward if right == CALL else strike):
            found = implied.implied_volatility(price, forward, strike, 0.0, years, flag)
            assert abs(found - sigma) <= 1e-8 * sigma
