"""What the venue's own stress grid says of the wallets that it margins: part of a playbook. DESIGN §10.1."""

from collections.abc import Iterator

import msgspec
import numpy as np

from exchange import stress
from exchange.bindings import Binding, bindings
from exchange.grids import Mode, compile_grid, scenarios_of
from exchange.state import aligned_copy
from exchange.venue import Exchange


class Bound(msgspec.Struct, frozen=True):
    """A scenario of the grid and the wallets for which it is the worst. Of the mode `sum` each group has its own."""

    asset: str
    mode: str
    group: str  # the one whose sign is turned round
    scenario: int
    price_ppm: int
    volatility_ppm: int
    basis_ppm: int
    cover_ppm: int
    skew: str
    wallets: int
    loss: int  # theirs, in quanta


class Held(msgspec.Struct, frozen=True):
    """What the wallets of an asset must hold, and how many have less."""

    maintenance: int
    breached: int


class GridAtOne(msgspec.Struct, frozen=True):
    """The grid without and with the mode in which all groups move in full with one sign, other modes as they are."""

    asset: str
    wallets: int
    diversified: Held | None  # None = the venue has no other mode
    at_one: Held
    raised: int  # wallets that must hold more with it
    who: list[int]  # accounts that are breached with it only, those that lack most first


def grid_sections(exchange: Exchange, live: stress.Units, count: int) -> tuple[list[Bound], list[GridAtOne]]:
    """Both, by asset; empty without wallets in portfolio mode. `count` accounts are named."""
    state = exchange.state
    mine = (live.number > 0) & (state.ledger.wallets["portfolio"][live.wallet] != 0)
    bound, at_one = list[Bound](), list[GridAtOne]()
    assets = live.asset(state)
    for asset in np.unique(assets[mine]).tolist():
        wallets = live.wallet[mine & (assets == asset)]
        name = exchange.venue.assets[asset].name
        bound += _bound(exchange, name, bindings(state, exchange.venue, wallets))
        at_one.append(_at_one(exchange, name, wallets, count))
    return bound, at_one


def _bound(exchange: Exchange, asset: str, found: Binding) -> Iterator[Bound]:
    terms, worst = exchange.venue.portfolio_margin, np.max(list(found.losses.values()), axis=0)
    scenarios, quanta = scenarios_of(terms), -(-worst >> terms.scale_bits)
    for mode in found.losses:
        for group in ("", *(one.name for one in terms.groups)):
            for k in range(-1, len(scenarios)):
                own = (found.mode == mode) & (found.group == group) & (found.scenario == k) & (worst > 0)
                if own.any():
                    shares = (0, 0, 0, 0, "")
                    if k >= 0:
                        one = scenarios[k]
                        shares = (one.price_ppm, one.volatility_ppm, one.basis_ppm, one.cover_ppm, one.skew)
                    yield Bound(asset, mode, group, k, *shares, int(own.sum()), int(quanta[own].sum()))


def _under(exchange: Exchange, wallets: np.ndarray, modes: tuple[Mode, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(equity, maintenance) of wallets on a copy whose grid has these modes."""
    state, terms = exchange.state, exchange.venue.portfolio_margin
    venue = msgspec.structs.replace(exchange.venue, portfolio_margin=msgspec.structs.replace(terms, modes=modes))
    made = compile_grid(venue, state.prices.instruments, aligned_copy(state.prices.options))
    moved, grids = stress.movable(state), aligned_copy(state.prices.grids)
    for name in ("modes", "grouped", "variants"):
        grids[name] = made.grids[name]
    moved = moved._replace(prices=moved.prices._replace(grids=grids, shocks=made.shocks))
    return stress.numbers_at(moved, wallets, stress.marks_of(state))


def _at_one(exchange: Exchange, asset: str, wallets: np.ndarray, count: int) -> GridAtOne:
    diversified = tuple(mode for mode in exchange.venue.portfolio_margin.modes if mode != "rho_one")
    equity, full = _under(exchange, wallets, (*diversified, "rho_one"))
    before, raised, added = None, np.zeros(len(wallets), bool), equity < full
    if diversified:
        _, less = _under(exchange, wallets, diversified)
        before, raised = Held(int(less.sum()), int((equity < less).sum())), full > less
        added &= equity >= less
    chosen = np.flatnonzero(added)
    chosen = chosen[np.argsort((equity - full)[chosen], kind="stable")][:count]
    who = (wallets[chosen] // len(exchange.venue.assets)).tolist()
    after = Held(int(full.sum()), int((equity < full).sum()))
    return GridAtOne(asset, len(wallets), before, after, int(raised.sum()), who)
