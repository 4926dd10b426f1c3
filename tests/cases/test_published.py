"""Published anchors of margin and liquidation, each driven through a venue: configuration, kernels, outcomes."""

from bisect import bisect_left
from decimal import Decimal
from fractions import Fraction

import pytest
from case_desk import BANK, HOLDER, OTHER, THIRD, Contract, Desk, of_kind

from exchange import codes

MILLION = 10**6
ONE = Decimal(1)
NOTIONAL = Decimal(1_000_000)
FINE = Decimal("0.00001")
LEVELS = 5  # that a liquidation walks


# --- stress grids -----------------------------------------------------------------------------------------------


def portfolio(sides, range_ppm, **terms):
    """A wallet in portfolio mode, worth `NOTIONAL` in each of some markets, each a group of its own."""
    groups = [{"name": f"G{k}", "members": [f"C{k}"], "range_ppm": range_ppm} for k in range(len(sides))]
    desk = Desk([Contract((1_000,), (1_000,)) for _ in sides], portfolio_margin={"groups": groups, **terms})
    desk.enrich(HOLDER, OTHER)
    for k, side in enumerate(sides):
        desk.seed(HOLDER, OTHER, side, 1_000, 1_000, k)
        desk.mark(1_000, k)
    assert desk.send(codes.SET_MARGIN_MODE, account=HOLDER, qty=codes.PORTFOLIO)[-1].code == "OK"
    return desk


def rows_of(desk):
    """(move of the price, move of the volatility in ranges, cover, loss) of each scenario, as fractions of one."""
    grid, terms = desk.exchange.portfolio_margin(HOLDER), desk.exchange.venue.portfolio_margin
    span = Decimal(terms.groups[0].range_ppm) / MILLION
    shares = ("price_ppm", "volatility_ppm", "cover_ppm")
    found = []
    for row in grid.rows:
        price, volatility, cover = (Decimal(int(row[name])) / MILLION for name in shares)
        found.append((price * span, volatility, cover, desk.money(row["loss"]) / NOTIONAL))
    return found


def holds_its_worst(side, range_ppm, **terms):
    """The rows of the grid, each of whose losses is its covered move, the worst of them being what a wallet holds."""
    desk = portfolio([side], range_ppm, **terms)
    rows, sign = rows_of(desk), 1 if side == "long" else -1
    for move, _, cover, loss in rows:
        assert abs(loss + sign * max(move, Decimal("-0.99")) * cover) < Decimal("2e-6")
    _, maintained = desk.unit_margin(HOLDER)
    assert abs(maintained / NOTIONAL - max(row[3] for row in rows)) < Decimal("1e-9")
    return rows


@pytest.mark.parametrize("side", ["long", "short"])
def test_span_has_its_sixteen_scenarios(anchors, side):
    rows = holds_its_worst(side, 300_000, preset="span16")
    published = sorted(tuple(map(Decimal, row)) for row in anchors["stress.span16"]["expected"]["scenarios"])
    found = sorted((move / Decimal("0.3"), volatility, cover) for move, volatility, cover, _ in rows)
    assert len(found) == len(published) == 16
    for mine, theirs in zip(found, published, strict=True):
        assert all(abs(a - b) <= Decimal("2e-6") for a, b in zip(mine, theirs, strict=True)), (mine, theirs)


@pytest.mark.parametrize("side", ["long", "short"])
@pytest.mark.parametrize("when", ["spot_shock", "before"])
@pytest.mark.parametrize("coins", ["BTC,ETH", "mid_list", "others"])
def test_okx_shocks_are_those_of_each_list(anchors, coins, when, side):
    """The preset where the shocks are thirds of the largest; a list of its own scenarios otherwise."""
    expected = anchors["stress.okx_pm_2025"]["expected"]
    shocks = [Decimal(shock) for shock in expected[f"MR1_{when}"][coins]]
    extreme = Decimal(expected["MR6_extreme" if when == "spot_shock" else "MR6_before"][coins])
    terms = {"preset": "okx"}
    if any(3 * shock != k * shocks[-1] for k, shock in enumerate(shocks)) or extreme != 2 * shocks[-1]:
        moves = [*shocks, *(-shock for shock in shocks)]
        inner = [{"price_ppm": round(move / shocks[-1] * MILLION)} for move in moves]
        far = [{"price_ppm": round(sign * extreme / shocks[-1] * MILLION), "cover_ppm": 500_000} for sign in (1, -1)]
        terms = {"scenarios": inner + far}
    rows = holds_its_worst(side, int(shocks[-1] * MILLION), **terms)
    found = {cover == 1: {abs(move) for move, _, other, _ in rows if other == cover} for _, _, cover, _ in rows}
    assert len(found[True]) == len(shocks)
    assert all(abs(a - b) < Decimal("1e-6") for a, b in zip(sorted(found[True]), shocks, strict=True))
    assert [abs(move - extreme) < Decimal("1e-6") for move in found[False]] == [True]


def test_okx_adds_underlyings_without_offset(anchors):
    largest = anchors["stress.okx_pm_2025"]["expected"]["MR1_spot_shock"]["BTC,ETH"][-1]
    desk = portfolio(["long", "short"], int(largest * MILLION), preset="okx", modes=["sum"])
    assert desk.unit_margin(HOLDER)[1] == 2 * largest * NOTIONAL


@pytest.mark.parametrize("side", ["long", "short"])
def test_deribit_has_its_buckets_and_its_far_moves(anchors, side):
    expected = anchors["stress.deribit_spm"]["expected"]
    span, buckets = Decimal(expected["price_range"]), int(expected["buckets"])
    rows = holds_its_worst(side, int(span * MILLION), preset="deribit")
    near = sorted({move for move, _, cover, _ in rows if cover == 1})
    assert near == [span * k / (buckets // 2) for k in range(-(buckets // 2), buckets // 2 + 1)]
    assert len({volatility for _, volatility, cover, _ in rows if cover == 1}) == len(expected["vol_states"])
    assert sorted({move for move, _, cover, _ in rows if cover != 1}) == sorted(map(Decimal, expected["extended"]))


# --- prices of liquidation and bankruptcy -----------------------------------------------------------------------


def test_prices_of_liquidation_and_bankruptcy_of_the_worked_example(anchors):
    anchor = anchors["chitra2025.p5_prices"]
    setup, expected = anchor["setup"], anchor["expected"]
    for name, (side, size, collateral) in setup["positions"].items():
        money = Fraction(collateral)
        money = Decimal(money.numerator) / money.denominator
        contract = Contract((setup["p0"],), (size,), ((0, setup["mu"], 100),), tick=Decimal("0.00001"))
        desk = Desk([contract], (money,))
        desk.enrich(OTHER)
        desk.deposit(HOLDER, money)
        desk.seed(HOLDER, OTHER, side, setup["p0"], size)
        desk.mark(setup["p0"])
        liquidation, bankruptcy = desk.liquidation_price(HOLDER), Decimal(0)
        if liquidation is not None:
            desk.mark(liquidation)
            bankruptcy = of_kind(desk.settle(), "LIQUIDATION_ORDER", HOLDER)[0].price
        for found, what in ((liquidation or Decimal(0), "liquidation"), (bankruptcy, "bankruptcy")):
            assert abs(found - Decimal(expected[what][name])) <= anchor["tolerance"]["abs"], (name, what, found)


def long_at_ten(mmr, taker, **sections):
    """100 lots long from 100 at leverage ten, isolated."""
    contract = Contract((100,), (100,), ((0, mmr, 100),), tick=FINE, taker=taker)
    desk = Desk([contract], **sections)
    desk.enrich(HOLDER, OTHER, THIRD, BANK)
    desk.isolate(HOLDER, 10)
    desk.seed(HOLDER, OTHER, "long", 100, 100)
    desk.mark(100)
    return desk


def liquidated(mmr, taker, price):
    """A long at leverage ten, liquidated into bids at a price: its trigger, and its fee beside anybody's there."""
    desk = long_at_ten(mmr, taker)
    trigger = desk.liquidation_price(HOLDER)
    if price is None:
        return trigger, None, None
    for order_id in (1, 2):
        desk.order(THIRD, order_id, "buy", price, 100)
    (free,) = of_kind(desk.order(BANK, 3, "sell", price, 100), "FILL", BANK)
    desk.mark(trigger)
    rows = desk.settle()
    return trigger, free.money, [row.money for row in of_kind(rows, "FILL", HOLDER)]


def walked(row, trigger, lowest):
    """Which fills of a liquidation that walks down from its trigger to a price pay what anybody's pay there."""
    desk = long_at_ten(row["mmr"], row["extra_cost"])
    step = (trigger - lowest) / (LEVELS - 1) // FINE * FINE
    prices = [trigger // FINE * FINE - k * step for k in range(LEVELS - 1)] + [lowest]
    for first in (10, 20):
        for k, price in enumerate(prices):
            desk.order(THIRD, first + k, "buy", price, 100 // LEVELS)
        if first == 10:
            free = of_kind(desk.order(BANK, 3, "sell", lowest, 100), "FILL", BANK)
    desk.mark(trigger)
    paid = of_kind(desk.settle(), "FILL", HOLDER)
    assert [fill.price for fill in paid] == [fill.price for fill in free] == prices
    return [fill.money == other.money for fill, other in zip(paid, free, strict=True)]


@pytest.mark.parametrize("mmr", [Decimal("0.005"), Decimal("0.01"), Decimal("0.02")])
def test_what_the_fund_pays_begins_where_a_fill_is_beyond_its_budget(mmr):
    """Orders that may go beyond bankruptcy, no fees: the budget is then the whole maintenance margin."""
    stage = {"below_ppm": MILLION, "action": "close", "band_ppm": 200_000, "beyond_bankruptcy": True}
    trigger = long_at_ten(mmr, 0).liquidation_price(HOLDER)
    bankrupt = Decimal(90)  # a tenth below the entry
    assert abs(ONE - bankrupt / trigger - mmr) < Decimal("1e-6")
    for beyond in (-1, 0, 1, 1_000):
        desk = long_at_ten(mmr, 0, liquidation={"stages": [stage]})
        desk.enrich(codes.INSURANCE)
        desk.order(THIRD, 1, "buy", bankrupt - beyond * FINE, 100)
        fund = desk.equity(codes.INSURANCE)
        desk.mark(trigger)
        rows = desk.settle()
        assert [row.price for row in of_kind(rows, "FILL", HOLDER)] == [bankrupt - beyond * FINE]
        assert [row.money for row in of_kind(rows, "LIQUIDATION_FEE")] == [-100 * beyond * FINE] * (beyond > 0)
        assert fund - desk.equity(codes.INSURANCE) == max(0, 100 * beyond * FINE)


def test_the_slippage_budget_is_what_a_fill_may_cost_and_still_pay_its_fee(anchors):
    """Below it the fee is cut to what is left, so that whoever is owed it carries the rest."""
    anchor = anchors["liq.slippage_budget"]
    for row in anchor["expected"]["rows"]:
        trigger, _, _ = liquidated(row["mmr"], row["extra_cost"], None)

        def pays_whole_fee(ticks, row=row):
            _, fee, paid = liquidated(row["mmr"], row["extra_cost"], ticks * FINE)
            return paid == [fee]

        ticks = range(int(trigger * Decimal("0.9") / FINE), int(trigger / FINE) + 1)
        lowest = ticks[bisect_left(ticks, True, key=pays_whole_fee)] * FINE
        assert walked(row, trigger, lowest) == [True] * LEVELS, "each fill stands for itself: it is the last that counts"
        assert walked(row, trigger, lowest - FINE) == [True] * (LEVELS - 1) + [False]
        budget = ONE - lowest / trigger
        assert abs(budget - row["budget"]) < Decimal("1e-6"), (row, budget)
        assert abs(budget / row["mmr"] - row["budget_relative"]) < anchor["tolerance"]["abs"]
