"""Pegged orders: where each stands, when it moves, waits and comes back. DESIGN §3.6.

Numbers worked out by hand, kernels and reference side by side, audited after every command.
"""

import pytest

from exchange import codes, config, schema
from exchange.codes import (
    ASK,
    BAD_PEG,
    BAD_TERMS,
    BID,
    FILLED,
    GTD,
    IOC,
    MARKET,
    PARKED_ORDER,
    PEG_BEST,
    PEG_MID,
    PEG_OPPOSITE,
    POST_ONLY,
    REDUCE_ONLY,
    RESTING,
    TO_LIMIT,
)
from exchange.errors import InvariantError
from exchange.venue import Exchange
from tests.desk import FIRST, every_byte, venue_table
from tests.test_terms import World

A, B, C = FIRST, FIRST + 1, FIRST + 2
HIGH = 4_000  # the ladder's last price
LAST = codes.LAST


class Pegs(World):
    """A book of 990 (B's order 1) and 1,010 (B's order 2) on an instrument with pegs."""

    def __init__(self, count=1, quoted=True, **instrument):
        super().__init__(count=count, instrument={"pegged": True, "iceberg": "refresh", **instrument})
        if quoted:
            self.new(B, 1, BID, 990, 5)
            self.new(B, 2, ASK, 1_010, 5)

    def peg(self, order_id, side, peg, offset=0, cap=None, qty=4, account=A, **fields):
        cap = (1_200 if side == BID else 900) if cap is None else cap
        return self.new(account, order_id, side, cap, qty, peg=peg, offset_ticks=offset, **fields)

    def moves(self):
        """(order id, price, lots) of each order that the last command or timers repriced."""
        return [(row["order_id"], row["price"], row["lots"]) for row in self.last if row["kind"] == codes.REPRICED]

    def at(self, order_id):
        """Where an order rests, 0 while it waits."""
        order = self.reference.world.orders[order_id]
        return 0 if order.is_parked else order.ticks

    def queue(self, side, ticks):
        return [order.order_id for order in self.reference.world.books[0].queue(side, ticks).values()]


@pytest.fixture
def world():
    return Pegs()


@pytest.fixture
def empty():
    return Pegs(quoted=False)


# --- price ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "peg", "offset", "price"), [
    (BID, PEG_BEST, 0, 990), (BID, PEG_BEST, 3, 987), (BID, PEG_BEST, -3, 993), (BID, PEG_OPPOSITE, 5, 1_005),
    (BID, PEG_MID, 0, 1_000), (BID, PEG_MID, 2, 998), (ASK, PEG_BEST, 0, 1_010), (ASK, PEG_BEST, 3, 1_013),
    (ASK, PEG_BEST, -3, 1_007), (ASK, PEG_OPPOSITE, 5, 995), (ASK, PEG_MID, -1, 999),
    (BID, PEG_OPPOSITE, 0, 1_009), (BID, PEG_OPPOSITE, -7, 1_009), (ASK, PEG_OPPOSITE, 0, 991)])
def test_a_peg_stands_away_from_its_reference_and_never_takes(world, side, peg, offset, price):
    assert world.peg(3, side, peg, offset) == RESTING
    assert world.at(3) == price and world.kinds() == [(codes.RESULT, 3, RESTING)]
    assert [(row["price"], row["lots"]) for row in world.last] == [(price, 4)]


def test_the_middle_is_rounded_away_from_the_other_side(world):
    world.new(B, 4, BID, 991, 1)
    world.peg(5, BID, PEG_MID)
    world.peg(6, ASK, PEG_MID)
    assert (world.at(5), world.at(6)) == (1_000, 1_001)


@pytest.mark.parametrize(("side", "cap", "price"), [(BID, 985, 985), (BID, 1_100, 990), (ASK, 1_020, 1_020)])
def test_the_cap_is_the_worst_price(world, side, cap, price):
    world.peg(3, side, PEG_BEST, cap=cap)
    assert world.at(3) == price


def test_prices_keep_the_step_of_the_instrument_rounded_away_from_the_other_side():
    world = Pegs(orders={"price_step_ticks": 5})
    world.peg(3, BID, PEG_BEST, 1)
    world.peg(4, ASK, PEG_BEST, 1, cap=3)  # a cap keeps no step
    world.peg(5, BID, PEG_OPPOSITE)
    assert (world.at(3), world.at(4), world.at(5)) == (985, 1_015, 1_005)


def test_references_pass_over_levels_of_pegged_orders_and_count_recorded_size(world):
    world.peg(3, BID, PEG_BEST, -4)
    world.peg(4, BID, PEG_BEST)
    assert (world.at(3), world.at(4)) == (994, 990)
    world.send(codes.LEVEL_SET, side=BID, price=996, qty=3, flags=LAST)
    assert world.moves() == [(3, 1_000, 4), (4, 996, 4)]
    world.new(C, 5, BID, 1_000, 1)  # where a pegged one stands already
    assert world.moves() == [(3, 1_004, 4), (4, 1_000, 4)]


def test_a_middle_needs_both_sides_and_the_others_their_own(empty):
    empty.new(B, 1, BID, 990, 5)
    for order_id, side, peg in ((3, BID, PEG_MID), (4, ASK, PEG_BEST), (5, BID, PEG_OPPOSITE)):
        assert empty.peg(order_id, side, peg) == PARKED_ORDER
    assert empty.peg(6, ASK, PEG_OPPOSITE, 2) == RESTING
    assert [empty.at(k) for k in (3, 4, 5, 6)] == [0, 0, 0, 992]


def test_a_price_outside_the_ladder_is_none():
    world = Pegs(quoted=False, price_min="900")
    world.new(B, 1, BID, 905, 5)
    assert world.peg(3, BID, PEG_BEST, 6) == PARKED_ORDER
    assert world.peg(4, BID, PEG_BEST, 5) == RESTING
    world.new(B, 2, ASK, HIGH - 2, 5)
    assert world.peg(5, ASK, PEG_BEST, 3) == PARKED_ORDER
    assert world.peg(6, ASK, PEG_BEST, 2) == RESTING


# --- moves -----------------------------------------------------------------------------------------------------


def test_a_peg_follows_when_the_event_is_over_and_joins_the_tail(world):
    world.peg(3, BID, PEG_BEST)
    world.peg(4, BID, PEG_BEST)
    assert world.queue(BID, 990) == [1, 3, 4]
    world.new(C, 5, BID, 992, 1)
    assert world.kinds() == [(codes.RESULT, 5, RESTING), (codes.REPRICED, 3, 0), (codes.REPRICED, 4, 0)]
    assert world.moves() == [(3, 992, 4), (4, 992, 4)] and world.queue(BID, 992) == [5, 3, 4]
    world.cancel(C, 5)
    assert world.queue(BID, 990) == [1, 3, 4]
    assert all(row["flags"] == 0 for row in world.last if row["kind"] == codes.REPRICED)


def test_a_peg_that_stands_right_keeps_its_place(world):
    world.peg(3, BID, PEG_BEST)
    world.new(C, 5, BID, 990, 1)
    world.new(C, 6, ASK, 1_005, 1)
    assert world.moves() == [] and world.queue(BID, 990) == [1, 3, 5]


def test_a_sale_that_moves_is_flagged_and_its_margin_follows(world):
    world.peg(3, ASK, PEG_BEST)
    world.send(codes.LEVEL_SET, side=ASK, price=1_003, qty=1, flags=LAST)
    assert [(row["flags"], row["price"], row["account"]) for row in world.last] == [(codes.SELL, 1_003, A)]
    position = world.reference.world.find_position(A, 0)
    assert position is not None and world.core.state.ledger.positions["ask_value"].max() >= 4 * 1_003 * 100


def test_what_a_taker_left_is_not_repriced_before_the_event_is_over(world):
    world.peg(3, ASK, PEG_BEST)
    assert world.new(C, 5, BID, 1_010, 7) == FILLED  # order 2, then 2 of the 4
    assert world.kinds()[-1] == (codes.REPRICED, 3, 0) and world.moves() == [(3, 0, 2)]
    assert world.at(3) == 0


def test_facing_pegs_stand_a_tick_apart_where_they_would_cross(world):
    world.peg(3, BID, PEG_OPPOSITE, qty=1)
    world.peg(4, ASK, PEG_OPPOSITE, qty=1)
    assert (world.at(3), world.at(4)) == (1_009, 1_010)
    world.cancel(B, 2)  # the bid has no reference, so the ask may go where its own is
    assert world.moves() == [(3, 0, 1), (4, 991, 1)]
    world.new(B, 5, ASK, 1_020, 5)
    assert world.fired() == [(3, RESTING, 990, 1)]


def test_one_held_off_by_another_follows_it_in_the_same_event(world):
    world.peg(3, BID, PEG_OPPOSITE, 5, qty=1)
    world.peg(4, ASK, PEG_OPPOSITE, 20, qty=1)
    assert (world.at(3), world.at(4)) == (1_005, 1_010)
    world.send(codes.LEVEL_SET, side=BID, price=1_000, qty=3)
    world.send(codes.LEVEL_SET, side=ASK, price=1_030, qty=3)
    assert world.moves() == []
    world.cancel(B, 2)
    assert world.moves() == [(3, 1_009, 1), (4, 1_020, 1), (3, 1_019, 1)]


def test_nothing_moves_in_the_middle_of_a_recorded_message(world):
    world.send(codes.LEVEL_SET, side=BID, price=995, qty=3, flags=LAST)
    world.peg(3, BID, PEG_BEST)
    world.send(codes.LEVEL_SET, side=BID, price=995, qty=0)
    assert world.moves() == []
    world.send(codes.LEVEL_SET, side=BID, price=994, qty=0, flags=0)
    world.send(codes.LEVEL_SET, side=BID, price=994, qty=2, flags=LAST)
    assert world.moves() == [(3, 994, 4)]
    world.send(codes.BOOK_CLEAR)
    assert world.moves() == [] and world.at(3) == 994
    world.send(codes.MARK, price=10_000)
    assert world.moves() == [(3, 990, 4)]


# --- waiting ---------------------------------------------------------------------------------------------------


def test_without_a_reference_it_waits_and_comes_back_like_a_triggered_order(world):
    world.peg(3, BID, PEG_BEST)
    world.cancel(B, 1)
    assert world.moves() == [(3, 0, 4)] and world.at(3) == 0
    assert world.core.state.ledger.positions["bid_lots"].sum() == 0
    world.new(B, 4, BID, 980, 1)
    assert world.fired() == [(3, RESTING, 980, 4)] and world.at(3) == 980


def test_it_waits_while_the_market_stands_still(world):
    world.peg(3, BID, PEG_BEST)
    world.peg(4, ASK, PEG_MID)
    world.send(codes.HALT)
    assert world.moves() == [(3, 0, 4), (4, 0, 4)]
    assert world.peg(5, BID, PEG_BEST) == codes.HALTED
    world.send(codes.RESUME)
    assert world.fired() == [(3, RESTING, 990, 4), (4, RESTING, 1_000, 4)]


def test_a_new_one_may_wait_in_an_auction_and_takes_no_part_in_it(world):
    world.peg(3, BID, PEG_BEST)
    world.send(codes.AUCTION_START)
    assert world.moves() == [(3, 0, 4)]
    assert world.peg(4, ASK, PEG_OPPOSITE, 1, flags=POST_ONLY) == PARKED_ORDER
    world.new(C, 5, ASK, 980, 3)
    world.send(codes.AUCTION_END)
    assert [row["lots"] for row in world.last if row["kind"] == codes.AUCTION] == [3]
    assert world.fired() == [(3, RESTING, 990, 4), (4, RESTING, 991, 4)]


def test_one_that_waits_enters_with_every_check_and_a_refusal_is_its_end(world):
    world.send(codes.OPEN_POSITION, account=A, order_id=C, price=1_000, qty=3)
    world.peg(3, ASK, PEG_BEST, flags=REDUCE_ONLY)
    world.send(codes.HALT)
    assert world.moves() == [(3, 0, 3)]  # it was cut to its position when it was placed
    world.send(codes.OPEN_POSITION, account=C, order_id=A, price=1_000, qty=3)
    world.send(codes.RESUME)
    assert world.fired() == [(3, codes.REDUCE_ONLY_INCREASES, 900, 3)] and 3 not in world.live()


def test_a_waiting_one_is_cancelled_expires_and_is_found_by_cancel_all(world):
    world.send(codes.AUCTION_START)
    world.peg(3, BID, PEG_BEST, cap=995)
    world.peg(4, BID, PEG_BEST, time_in_force=GTD, expiry_ns=world.clock + 5)
    world.peg(5, BID, PEG_BEST)
    world.cancel(A, 3)
    assert [(row["price"], row["lots"], row["code"]) for row in world.last] == [(995, 4, codes.CANCELLED_BY_USER)]
    world.settle(5)
    assert world.kinds() == [(codes.CANCELLED, 4, codes.CANCELLED_BY_EXPIRY)]
    world.send(codes.CANCEL_ALL, account=A, instrument=0)
    assert world.kinds(codes.CANCELLED) == [(codes.CANCELLED, 5, codes.CANCELLED_BY_USER)]
    assert world.core.state.io.control[0]["pegged"] == 0


def test_a_filled_part_is_gone_when_it_waits(world):
    world.peg(3, ASK, PEG_BEST, -1)
    world.new(C, 5, BID, 1_009, 1)
    world.send(codes.HALT)
    assert world.moves() == [(3, 0, 3)]
    world.send(codes.RESUME)
    assert world.fired() == [(3, RESTING, 1_009, 3)]
    assert world.reference.world.orders[3].order_lots == 3


def test_it_keeps_its_partner_while_it_waits_and_when_it_comes_back(world):
    world.peg(3, BID, PEG_BEST)
    world.stop(A, 4, BID, 1_100, 4, link_id=3)
    world.send(codes.HALT)
    world.send(codes.RESUME)
    assert world.fired() == [(3, RESTING, 990, 4)] and {3, 4} <= {*world.live()}
    world.cancel(A, 3)
    assert (codes.CANCELLED, 4, codes.CANCELLED_BY_LINK) in world.kinds()


def test_a_refused_return_takes_its_partner_along(world):
    world.send(codes.OPEN_POSITION, account=A, order_id=C, price=1_000, qty=3)
    world.peg(3, ASK, PEG_BEST, flags=REDUCE_ONLY)
    world.stop(A, 4, BID, 1_100, 4, link_id=3)
    world.send(codes.HALT)
    world.send(codes.OPEN_POSITION, account=C, order_id=A, price=1_000, qty=3)
    world.send(codes.RESUME)
    world.settle()
    assert world.kinds() == [(codes.TRIGGERED, 3, codes.REDUCE_ONLY_INCREASES),
                             (codes.CANCELLED, 4, codes.CANCELLED_BY_LINK)]


def test_the_venues_mass_cancel_passes_over_what_waits(world):
    world.peg(3, BID, PEG_BEST)
    world.peg(4, BID, PEG_MID)
    world.cancel(B, 2)
    assert world.moves() == [(4, 0, 4)]
    world.send(codes.CANCEL_ALL, account=0, instrument=0)
    assert world.live() == [4]


# --- form and admission ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [
    {"peg": 4}, {"peg": -1}, {"peg": PEG_MID, "time_in_force": IOC}, {"peg": PEG_MID, "flags": MARKET},
    {"peg": PEG_MID, "flags": MARKET, "time_in_force": TO_LIMIT}, {"peg": PEG_MID, "min_lots": 1},
    {"peg": PEG_MID, "trigger": 1, "trigger_ticks": 1_100}, {"peg": PEG_MID, "offset_ticks": HIGH + 1},
    {"peg": PEG_MID, "offset_ticks": -HIGH - 1}, {"peg": PEG_MID, "offset_ticks": -(2**31)}])
def test_what_cannot_be_pegged_is_refused(world, fields):
    before = every_byte(world.core.state)
    before.pop("terms")
    assert world.new(A, 3, BID, 1_000, 4, **fields) == BAD_PEG
    after = every_byte(world.core.state)
    assert {name for name in before if before[name] != after[name]} <= {"positions", "wallets", "legs", "control"}


def test_pegs_are_offered_where_the_instrument_says_so():
    world = Pegs(pegged=False)
    assert world.peg(3, BID, PEG_MID) == BAD_PEG


def test_the_cap_is_what_admission_looks_at(world):
    world.send(codes.DEPOSIT, account=C + 1, qty=20_000)
    assert world.peg(3, BID, PEG_BEST, cap=3_000, account=C + 1) == codes.INSUFFICIENT_MARGIN
    assert world.peg(3, BID, PEG_BEST, cap=1_010, account=C + 1) == RESTING


def test_guards_of_price_pass_it_by_and_those_of_quantity_hold():
    world = Pegs(orders={"collar_ppm": 20_000, "fat_finger_ppm": 20_000, "order_min": "3", "open_orders": 2})
    assert world.peg(3, BID, PEG_BEST, cap=2_000) == RESTING
    assert world.peg(4, BID, PEG_BEST, qty=2) == codes.LOTS_TOO_SMALL
    assert world.peg(4, ASK, PEG_BEST, cap=500) == RESTING
    assert world.peg(5, ASK, PEG_BEST) == codes.TOO_MANY_ORDERS


def test_the_outbox_holds_two_moves_of_every_order():
    made = [Pegs(pegged=offered).core.state.prices.policy[0] for offered in (False, True)]
    plain, pegged = (int(policy["outcomes_per_order"]) for policy in made)
    assert pegged == plain + codes.MOVES_PER_PEG


# --- amending ----------------------------------------------------------------------------------------------------


def test_a_smaller_quantity_keeps_its_place_and_a_cap_or_an_offset_does_not(world):
    world.peg(3, BID, PEG_BEST, 2, cap=1_000)
    world.peg(4, BID, PEG_BEST, 2)
    assert world.amend(A, 3, 2, price=1_000, offset_ticks=2) == RESTING
    assert world.queue(BID, 988) == [3, 4]
    assert world.amend(A, 3, 2, price=999) == RESTING and world.queue(BID, 988) == [4, 3]
    assert world.amend(A, 3, 2, offset_ticks=-1) == RESTING and world.at(3) == 991
    assert world.amend(A, 3, 2, price=989) == RESTING and world.at(3) == 989
    assert world.amend(A, 3, 5) == RESTING and world.at(3) == 989


def test_the_peg_is_fixed_and_distances_stay_in_the_ladder(world):
    world.peg(3, BID, PEG_BEST)
    assert world.amend(A, 3, 4, peg=PEG_MID) == BAD_TERMS
    assert world.amend(A, 3, 4, trigger_ticks=5) == BAD_TERMS
    assert world.amend(A, 3, 4, offset_ticks=-HIGH - 1) == BAD_PEG
    assert world.amend(B, 1, 4, offset_ticks=1) == BAD_TERMS


def test_one_that_waits_takes_changes_in_place(world):
    world.send(codes.AUCTION_START)
    world.peg(3, BID, PEG_BEST)
    world.peg(4, BID, PEG_BEST)
    assert world.amend(A, 3, 9, price=985, offset_ticks=3) == PARKED_ORDER
    world.send(codes.AUCTION_END)
    assert world.fired() == [(3, RESTING, 985, 9), (4, RESTING, 990, 4)]


def test_an_amended_cap_brings_back_what_waits():
    world = Pegs(quoted=False, price_min="900")
    world.new(B, 1, BID, 905, 5)
    world.peg(3, BID, PEG_BEST, 6)
    assert world.amend(A, 3, 4, offset_ticks=5) == PARKED_ORDER
    assert world.fired() == [(3, RESTING, 900, 4)]
    assert world.amend(A, 3, 4, offset_ticks=9) == PARKED_ORDER and world.at(3) == 0


# --- with others ---------------------------------------------------------------------------------------------------


def test_an_iceberg_moves_with_its_reserve_and_waits_with_all_of_it(world):
    world.peg(3, BID, PEG_BEST, cap=1_000, qty=19, display_lots=6)
    world.new(C, 5, BID, 991, 1)
    assert world.moves() == [(3, 991, 19)]
    assert world.core.state.book.pools[0]["slices"] == 3
    world.send(codes.HALT)
    assert world.moves() == [(3, 0, 19)] and world.core.state.book.pools[0]["slices"] == 0
    world.send(codes.RESUME)
    assert world.fired() == [(3, RESTING, 991, 19)] and world.core.state.book.pools[0]["slices"] == 3


def test_a_liquidation_removes_pegs_that_rest_and_that_wait(world):
    poor = C + 1
    world.send(codes.DEPOSIT, account=poor, qty=40_000)
    world.send(codes.OPEN_POSITION, account=poor, order_id=B, price=1_000, qty=15)
    assert world.peg(3, BID, PEG_BEST, cap=990, qty=1, account=poor) == RESTING
    world.cancel(B, 2)
    assert world.peg(4, ASK, PEG_BEST, cap=1_000, qty=1, account=poor) == PARKED_ORDER
    world.mark(980)
    world.settle()
    assert world.kinds(codes.CANCELLED) == [(codes.CANCELLED, k, codes.CANCELLED_BY_LIQUIDATION) for k in (3, 4)]


def test_instruments_go_one_after_the_other_and_orders_as_they_came():
    world = Pegs(count=2)
    world.send(codes.MARK, instrument=1, price=10_000)
    world.peg(3, BID, PEG_BEST)
    world.send(codes.LEVEL_SET, instrument=1, side=BID, price=970, qty=3, flags=LAST)
    world.peg(4, BID, PEG_BEST, instrument=1)
    world.peg(5, BID, PEG_BEST)
    world.send(codes.LEVEL_SET, instrument=1, side=BID, price=971, qty=3, flags=0)
    world.new(C, 6, BID, 992, 1)
    assert world.moves() == [(3, 992, 4), (5, 992, 4), (4, 971, 4)]


# --- audit -----------------------------------------------------------------------------------------------------------


def forget_one(state):
    state.io.control[0]["pegged"] = 1


def drop_the_tail(state):
    state.triggers.watches[0]["peg_tail"] = 0


def cut_the_chain(state):
    state.book.terms["next"][3] = 0


def move_the_cap(state):
    state.book.terms["limit_ticks"][3] = 980


def give_a_price(state):
    state.book.terms["peg"][4] = PEG_BEST


@pytest.mark.parametrize("damage", [forget_one, drop_the_tail, cut_the_chain, move_the_cap, give_a_price])
def test_the_audit_names_the_rule_that_was_broken(damage):
    world = Pegs(quoted=False)
    world.new(B, 1, BID, 990, 5)
    world.new(B, 2, BID, 989, 5)
    assert world.peg(3, BID, PEG_BEST) == RESTING
    assert world.peg(4, BID, PEG_MID) == PARKED_ORDER
    world.core.audit()
    damage(world.core.state)
    with pytest.raises(InvariantError, match="PEG-1"):
        world.core.audit()


def test_moves_are_in_the_stream_of_book_changes():
    made = Exchange(config.build_venue(venue_table(instrument={"pegged": True}, publish_book=True)))
    rows = [{"kind": codes.MARK, "price": 10_000}, {"kind": codes.DEPOSIT, "account": A, "qty": 10**8},
            {"kind": codes.DEPOSIT, "account": B, "qty": 10**8},
            {"kind": codes.NEW, "account": B, "order_id": 1, "side": BID, "price": 990, "qty": 5},
            {"kind": codes.NEW, "account": A, "order_id": 3, "side": BID, "price": 1_200, "qty": 4, "peg": PEG_BEST},
            {"kind": codes.NEW, "account": B, "order_id": 2, "side": BID, "price": 991, "qty": 5}]
    made.submit(schema.events(*({"ts_ns": 10**9, **row} for row in rows)))
    made.run()
    changes = made.book_changes()
    assert [(int(row["order_id"]), int(row["action"]), int(row["ticks"])) for row in changes] == [
        (1, codes.BOOK_ADD, 990), (3, codes.BOOK_ADD, 990), (2, codes.BOOK_ADD, 991), (3, codes.BOOK_REMOVE, 990),
        (3, codes.BOOK_ADD, 991)]
