"""Published anchors of a cascade: a flat recorded book, accounts on every tick of it, a seller, and a whole venue."""

import pytest

from exchange import codes, config, schema
from exchange.venue import Exchange
from replay import figures

SECOND = 1_000_000_000
TOP = 20_000  # best bid; the ask stands still a tick above it
QUANTA = 100  # of a lot moving one tick
SELLER, SHORT, FIRST = codes.FIRST_USER, codes.FIRST_USER + 1, codes.FIRST_USER + 2
MAINTENANCE_PPM = 400_000  # so wide that every order is limited far below the book that it meets
PERIODS_MAX = 2_000
DEPTH = 20


class FlatBook:
    """`depth` lots bid on every tick, never refilled; `per_tick` lots long to be liquidated at each tick below the top."""

    def __init__(self, depth, per_tick, accounts, ticks, mark="last", mode="overlay"):
        self.per_tick, self.seq, self.clock_ns = per_tick, 0, 0
        limit = str(10 * (depth * ticks + per_tick * accounts))
        instrument = {
            "symbol": "P", "settle": "USD", "tick": "1", "lot": "1", "price_max": "40000", "order_max": limit,
            "position_max": limit, "open_interest_max": limit, "mark_per_tick": 2, "market_band_ppm": 999_999,
            "tiers": [{"floor": "0", "maintenance_ppm": MAINTENANCE_PPM, "leverage_max": 2}]}
        capacity = {"accounts": accounts + 8, "positions": accounts + 64, "orders": ticks + 64,
                    "external_levels": ticks + 64, "outcomes": 1 << 16}
        self.exchange = Exchange(config.build_venue({
            "name": "flat", "assets": [{"name": "USD", "quantum": "0.01"}], "instruments": [instrument],
            "fees": {"maker_ppm": 0, "taker_ppm": 0}, "depth": {"refill": "none"}, "capacity": capacity,
            "mark": {"components": [{"price": mark}]}, "liquidation": {"mode": mode}}))
        levels = [self.row(codes.LEVEL_SET, side=codes.BID, price=TOP - k, qty=depth) for k in range(ticks)]
        ask = self.row(codes.LEVEL_SET, side=codes.ASK, price=TOP + 1, qty=depth, flags=codes.LAST)
        known = [self.row(codes.INDEX, price=2 * TOP), self.row(codes.TRADE_PRINT, side=codes.BID, price=TOP + 1, qty=1)]
        self.send(*levels, ask, *known)
        self.clock_ns = SECOND
        self.run(self.clock_ns + 1)  # the first mark
        rich = [self.row(codes.DEPOSIT, account=account, qty=2**52) for account in (SELLER, SHORT) for _ in range(8)]
        rows = [row for k in range(accounts) for row in self.holder(FIRST + k, TOP - k)]
        assert all(code == codes.OK for code in self.send(*rich, *rows)["code"])

    def row(self, kind, **fields):
        self.seq += 1
        return {"seq": self.seq, "kind": kind, **fields}

    def holder(self, account, ticks):
        """A long opened at the top: below its maintenance with the mark at `ticks`, above it half a tick higher.

        Cash that makes its equity at the mark m `QUANTA * (m - 0.6 * (ticks + 0.5))` a lot, the maintenance 0.4 m.
        """
        cash = self.per_tick * (QUANTA * TOP - 60 * ticks - 30)
        return (self.row(codes.DEPOSIT, account=account, qty=cash),
                self.row(codes.OPEN_POSITION, account=account, order_id=SHORT, price=TOP, qty=self.per_tick))

    def send(self, *rows):
        self.exchange.submit(schema.events(*({"ts_ns": self.clock_ns, **row} for row in rows)))
        self.exchange.run()
        return self.exchange.outcomes()

    def run(self, until_ns):
        self.exchange.run(until_ns)
        return self.exchange.outcomes()

    def sell(self, lots):
        """A market order of a bystander: its fills."""
        rows = self.send(self.row(codes.NEW, account=SELLER, order_id=1, side=codes.ASK, qty=lots, flags=codes.MARKET,
                                  time_in_force=codes.IOC))
        return rows[(rows["kind"] == codes.FILL) & (rows["account"] == SELLER)]

    def generations(self):
        """Lots closed by force after each mark, until one closes none; how many accounts in all."""
        lots, accounts, self.forced = [], 0, []
        for _ in range(PERIODS_MAX):
            self.clock_ns += SECOND
            rows = self.run(self.clock_ns + 1)
            forced = figures.forced_fills(rows)
            accounts += int((rows["kind"] == codes.LIQUIDATION_START).sum())
            if not len(forced):
                self.exchange.audit()
                return lots, accounts
            self.forced.append(forced)
            lots.append(int(forced["lots"].sum()))
        raise AssertionError("it does not end")

    def fallen(self):
        """How many whole ticks the bids have lost."""
        best, _ = self.exchange.levels(0, codes.BID, 1)[0]
        return TOP - int(best)


def cascade(ratio, ticks, accounts, mark="last", mode="overlay", depth=DEPTH):
    """(book, generations, liquidated accounts) after somebody sold so many ticks of the book."""
    book = FlatBook(depth, round(ratio * DEPTH), accounts, 2 * (ticks + accounts), mark, mode)
    fills = book.sell(ticks * depth)
    assert int(fills["lots"].sum()) == ticks * depth
    return book, *book.generations()


@pytest.fixture(scope="module")
def flat(anchors):
    return anchors["cascade.flat_book.last_or_best_bid"]


def rows_of(anchor):
    return [{name: float(value) for name, value in row.items()} for row in anchor["expected"]["table"]]


# --- what one order does to a flat book --------------------------------------------------------------------------


@pytest.mark.parametrize("ticks", [1, 2, 7, 40])
def test_an_order_that_walks_a_flat_book_gets_half_of_what_it_walks_less(anchors, ticks):
    """Q of n levels: (n - 1) / 2 ticks on average, the last n - 1 below the best."""
    assert anchors["book.flat_walk"]["expected"]["vwap_slippage_ticks"] == "(n-1)/2 for Q=n*alpha"
    fills = FlatBook(DEPTH, 1, 0, 50).sell(ticks * DEPTH)
    slippage = ((TOP - fills["price"]) * fills["lots"]).sum()
    assert 2 * slippage == (ticks - 1) * ticks * DEPTH and fills["price"][-1] == TOP - (ticks - 1)


@pytest.mark.parametrize("ticks", [1, 2, 7, 40])
def test_a_liquidation_walks_it_like_anybody(ticks):
    book = FlatBook(DEPTH, ticks * DEPTH, 1, 60)
    book.sell(DEPTH)  # the best level: the trade at it makes the mark that liquidates the one holder
    assert book.generations() == ([ticks * DEPTH], 1)
    (fills,) = book.forced
    assert 2 * ((TOP - 1 - fills["price"]) * fills["lots"]).sum() == (ticks - 1) * ticks * DEPTH
    assert fills["price"][-1] == TOP - ticks


# --- feedback ----------------------------------------------------------------------------------------------------


def test_a_cascade_amplifies_a_sale_by_one_over_one_less_its_ratio(flat):
    """Mark is the last trade. Amplification, the ratio of successive generations, and the share nobody outside sold."""
    tolerance = float(flat["tolerance"]["rel"])
    for row in rows_of(flat):
        ratio, ticks = row["rho_over_alpha"], 200
        fed, generations, liquidated = cascade(ratio, ticks, round(ticks / (1 - ratio)) + 50)
        alone, one, _ = cascade(ratio, ticks, ticks + 50, mode="shadow")
        assert alone.fallen() == ticks and len(one) == 1, "without feedback only the seller moves the book"
        assert fed.fallen() / alone.fallen() == pytest.approx(row["amplification"], rel=tolerance)
        assert liquidated == pytest.approx(ticks * row["amplification"], rel=tolerance)
        sold = [ticks * DEPTH, *generations]
        large = [(a, b) for a, b in zip(sold, generations, strict=False) if b >= 100 * fed.per_tick]
        assert all(b / a == pytest.approx(row["generation_ratio"], rel=tolerance) for a, b in large)
        assert generations[0] / sold[0] == pytest.approx(row["R"], rel=tolerance)
        assert sum(generations) / sum(sold) == pytest.approx(row["endogenous_share"], rel=tolerance)


def test_a_mark_of_the_mid_halves_the_ratio(flat):
    """The ask stands still, so that the mid falls half as far as the bids."""
    assert "rho/(2 alpha) for mid mark" in flat["expected"]["amplification"]
    for row in rows_of(flat):
        ratio, ticks = row["rho_over_alpha"], 400
        fed, generations, _ = cascade(ratio, ticks, 500, mark="mid")
        assert fed.fallen() / ticks == pytest.approx(1 / (1 - ratio / 2), rel=float(flat["tolerance"]["rel"]))
        assert generations[0] / (ticks * DEPTH) == pytest.approx(ratio / 2, rel=float(flat["tolerance"]["rel"]))


@pytest.mark.parametrize("accounts", [300, 600])
def test_from_the_critical_ratio_on_it_ends_with_the_last_account(flat, accounts):
    """Below it, where it ends does not depend on how many there are."""
    ratio, ticks = float(flat["expected"]["critical_rho_over_alpha"]), 20
    _, generations, liquidated = cascade(ratio, ticks, accounts)
    assert liquidated == accounts and set(generations) == {ticks * DEPTH}
    assert cascade(0.9, ticks, accounts)[2] == pytest.approx(ticks / (1 - 0.9), abs=10)


def test_without_feedback_as_many_are_liquidated_as_the_marks_alone_imply(anchors):
    """In shadow mode, and in a book so deep that nobody moves its best price: amplification is 1."""
    assert "amplification = 1 when depth is infinite" in anchors["impact.market_neutral_no_feedback"]["expected"]["rule"]
    ticks, ratio, deep = 100, 0.9, 10**5
    for mode, depth in (("shadow", DEPTH), ("shadow", deep), ("overlay", deep)):
        book, generations, liquidated = cascade(ratio, ticks, 200, "mid", mode, depth)
        mark_sub = int(book.exchange.markets[0]["mark_sub"])
        implied = sum(mark_sub <= 2 * (TOP - k) for k in range(200))
        assert implied == ticks // 2 and liquidated == implied and generations == [implied * book.per_tick]
        assert book.fallen() == ticks
    assert cascade(ratio, ticks, 200, "mid")[2] > implied, "a book of that depth is moved"
