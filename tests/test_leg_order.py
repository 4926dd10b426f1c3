"""Which leg of several a liquidation closes first: as listed, options last, by loss, or by margin over closing costs.

One lot moving one tick is one unit of money; the account is long in three instruments, from 1,000.
"""

import msgspec
import pytest

from exchange import codes, config
from exchange.errors import ConfigError
from exchange.reference.liquidation import rank
from exchange.reference.venue import ReferenceVenue
from tests.campaign.twin import Twin
from tests.campaign_events import make_venue
from tests.desk import FIRST, INSTRUMENT, UNIT, venue_table
from tests.test_waterfall import of_kind, settled

A, B, C = range(FIRST, FIRST + 3)
PER_TICK = INSTRUMENT["mark_per_tick"]
RICH = 100_000


def ordered(order, cash, *marks, **changes):
    """Instruments of the orders that are sent, in their order, to an account long of ten each, at (instrument, mark)."""
    table = venue_table(count=3, liquidation={"leg_order": order} if order else {})
    for k, terms in changes.items():
        table["instruments"][int(k[1:])] |= terms
    twin = Twin(table)
    for account, units in ((A, cash), (B, RICH), (codes.INSURANCE, RICH)):
        twin.send(codes.DEPOSIT, account=account, qty=units * UNIT)
    for k in range(3):
        twin.send(codes.MARK, price=1_000 * PER_TICK, instrument=k)
        assert twin.send(codes.OPEN_POSITION, account=A, order_id=B, price=1_000, qty=10, instrument=k) == codes.OK
    for k, ticks in marks:
        twin.send(codes.MARK, price=ticks * PER_TICK, instrument=k)
    return [k for (k,) in of_kind(settled(twin), codes.LIQUIDATION_ORDER, "instrument")]


@pytest.mark.parametrize(("order", "legs"), [
    (None, [0, 1, 2]), ("list", [0, 1, 2]), ("futures_first", [0, 1, 2]), ("largest_loss", [1, 0, 2])])
def test_the_leg_that_lost_most_is_closed_first_where_the_venue_says_so(order, legs):
    assert ordered(order, 400, (2, 1_010), (0, 990), (1, 980)) == legs


def test_equal_losses_go_by_instrument():
    assert ordered("largest_loss", 400, (2, 990), (1, 990), (0, 990)) == [0, 1, 2]


@pytest.mark.parametrize(("cash", "changed", "legs"), [
    (400, {"i0": {"fees": {"maker_ppm": 0, "taker_ppm": 1_000}}}, [1, 2, 0]),
    (500, {"i2": {"tiers": [{"floor": "0", "maintenance_ppm": 20_000, "leverage_max": 50}]}}, [2, 0, 1])])
def test_the_leg_whose_maintenance_is_most_of_what_closing_costs_is_closed_first(cash, changed, legs):
    assert ordered("margin_freed", cash, (0, 990), (1, 990), (2, 990), **changed) == legs


def test_options_are_closed_after_futures_where_the_venue_says_so():
    """Places as a liquidation would have them, of an option listed before a future."""
    for seed in range(400):
        venue = make_venue(seed)
        kinds = [instrument.kind for instrument in venue.instruments]
        if "option" in kinds[:-1] and any(kind in ("linear", "inverse") for kind in kinds[kinds.index("option") :]):
            break
    venue = msgspec.structs.replace(
        venue, liquidation=msgspec.structs.replace(venue.liquidation, leg_order="futures_first"))
    world = ReferenceVenue(venue).world
    ranks = [rank(world, world.position(A, k)) for k in range(len(kinds))]
    held = [k for k, kind in enumerate(kinds) if kind != "spot"]
    assert sorted(held, key=lambda k: ranks[k]) == sorted(held, key=lambda k: (kinds[k] == "option", k))


def test_an_order_that_is_none_is_refused():
    with pytest.raises(ConfigError):
        config.build_venue(venue_table(liquidation={"leg_order": "by_name"}))
