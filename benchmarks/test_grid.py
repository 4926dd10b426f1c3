"""Portfolio margin of a million wallets against a matrix product of floats of the same size, in the same run."""

import time

import numpy as np
import pytest

from benchmarks.measure import Row, measure, report, spread, timed
from exchange import codes, config, state
from exchange.core.views import fresh_risks, wallet_losses

ACCOUNTS, LEGS, INSTRUMENTS, SCENARIOS, ROUNDS = 1_000_000, 5, 20, 32, 15
MARK_TICKS = 50_000


def venue(modes: tuple[str, ...]) -> config.Venue:
    """Twenty perpetuals, each a group of its own, and 32 scenarios."""
    tiers = [{"floor": "0", "maintenance_ppm": 5_000, "leverage_max": 100}]
    names = [f"P{k}" for k in range(INSTRUMENTS)]
    return config.build_venue({
        "name": "grid", "assets": [{"name": "USD", "quantum": "0.01"}],
        "instruments": [{"symbol": name, "settle": "USD", "tick": "1", "lot": "0.01", "price_max": "200000",
                         "order_max": "100", "position_max": "1000", "open_interest_max": "1000", "tiers": tiers}
                        for name in names],
        "capacity": {"accounts": ACCOUNTS, "positions": LEGS * ACCOUNTS, "orders": 16, "external_levels": 16,
                     "outcomes": 8_192},
        "portfolio_margin": {"modes": list(modes), "scenarios": [
            {"price_ppm": int(x), "cover_ppm": 1_000_000} for x in np.linspace(-1_000_000, 1_000_000, SCENARIOS)],
            "groups": [{"name": name, "members": [name], "range_ppm": 100_000 + 5_000 * k}
                       for k, name in enumerate(names)]}})


def held_by_all(modes: tuple[str, ...]) -> tuple[state.State, np.ndarray]:
    """Wallets with five positions each, written as they would stand, in portfolio mode; and the wallets."""
    generator, held = np.random.default_rng(7), state.allocate(venue(modes))
    wallets = np.arange(codes.FIRST_USER, codes.FIRST_USER + ACCOUNTS)
    first = int(held.io.control[0]["position_high"]) + 1
    slots = first + np.arange(LEGS * ACCOUNTS).reshape(ACCOUNTS, LEGS)
    positions = held.ledger.positions[first : first + LEGS * ACCOUNTS]
    start = generator.integers(0, INSTRUMENTS - LEGS * 3, ACCOUNTS)
    steps = generator.integers(1, 4, (ACCOUNTS, LEGS)).cumsum(axis=1)
    positions["instrument"] = (start[:, None] + steps).ravel()
    positions["wallet"] = np.repeat(wallets, LEGS)
    positions["lots"] = generator.integers(-50, 51, LEGS * ACCOUNTS)
    following = np.zeros_like(slots)
    following[:, :-1] = slots[:, 1:]
    positions["next"] = following.ravel()
    held.ledger.wallets["first_position"][wallets] = slots[:, 0]
    held.ledger.wallets["portfolio"][wallets] = 1
    held.prices.markets["mark_sub"] = MARK_TICKS
    fresh_risks(held)
    return held, wallets


def recomputed(held: state.State, wallets: np.ndarray, share: int) -> np.ndarray:
    """Worst loss with one sign of the first wallets, by numpy."""
    positions = held.ledger.positions
    own = held.prices.risks.reshape(INSTRUMENTS, 3, SCENARIOS)[:, 0]
    first = held.ledger.wallets["first_position"][wallets[:share]].astype(np.int64)
    gains = sum(positions["lots"][first + k, None] * own[positions["instrument"][first + k]] for k in range(LEGS))
    return np.maximum(0, -np.asarray(gains).min(axis=1))


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize(("place", "modes"), [("3e1", ("rho_one",)), ("3e2", ("sum", "rho_one"))])
def test_grid(benchmark, place, modes):
    held, wallets = held_by_all(modes)
    losses = np.zeros(ACCOUNTS, np.int64)
    wallet_losses(held, wallets, losses)
    if modes == ("rho_one",):
        assert np.array_equal(losses[:10_000], recomputed(held, wallets, 10_000))
    lots = np.random.default_rng(8).standard_normal((ACCOUNTS, LEGS))
    arrays = np.random.default_rng(9).standard_normal((LEGS, SCENARIOS))
    timing = measure(benchmark, ROUNDS, lambda: (held, wallets, losses), wallet_losses,
                     lambda: timed(np.matmul, lots, arrays))
    ratio = 1 / timing.ratio
    report(benchmark, Row(
        place=place, what=f"portfolio margin of a million wallets ({', '.join(modes)}) over a float matrix product",
        value=ratio, unit="× the product", floor=1.5 if len(modes) == 1 else None, aim=1.0, less_is_better=True,
        ratio=ratio,
        measured=spread(timing.own, "s"),
        conditions=f"{ACCOUNTS:,} wallets of {LEGS} positions in {INSTRUMENTS} instruments x {SCENARIOS} scenarios, "
                   f"int64; numpy {ACCOUNTS:,} x {LEGS} by {LEGS} x {SCENARIOS}, float64, one thread: "
                   f"{spread(timing.base, 's')}"))
