"""Every shipped scenario under every shipped profile: what is always true stays true, by audit and by the log alone."""

from functools import cache

import numpy as np
import pytest

from exchange import audit, codes, config
from exchange.rows import joined
from exchange.schema import OUTCOME
from exchange.venue import Exchange
from replay import figures, venues
from replay.inputs import NO_INPUTS
from replay.plays import Variant
from replay.recorder import NullRecorder
from replay.scenario import data_folder, load_scenario
from replay.session import Session, venue_for
from replay.source import open_feed
from replay.tape import level_slots

SCENARIOS = sorted(path.stem for path in data_folder().glob("*.toml"))
PROFILES = sorted(path.stem for path in config.profiles_folder().glob("*.toml"))
SMALL = ("population.accounts=250", "population.size_truncation=5000", "feed.synthetic.levels=200",
         "feed.synthetic.duration_ms=75000", "run.seed_after_ms=5000", "run.interval_ms=5000")
QUICK = {  # every scenario gets liquidations in this time; shocks of its own where it has none
    "calm": ('shocks=[{kind="move",start_ms=10000,over_ms=20000,ppm=-90000}]',),
    "cascade": ('shocks=[{kind="move",start_ms=10000,over_ms=20000,ppm=-35000,depth_ppm=300000}]',),
    "contagion": (),
}
PORTFOLIO_SHARE = 0.3


class Log(NullRecorder):
    """Every outcome of a run."""

    def __init__(self):
        self.chunks = []

    def outcomes(self, variant, rows):
        """Keep a chunk."""
        self.chunks.append(rows.copy())


@cache
def opened(name):
    plan = load_scenario(data_folder() / f"{name}.toml", (*SMALL, *QUICK[name]))
    return plan, open_feed(plan)


def played(scenario, profile):
    """The venue at the end of a run, what the run says of it, and every outcome."""
    plan, tape = opened(scenario)
    plan = venues.under(plan, profile, tape, PORTFOLIO_SHARE)
    variant, log = Variant(plan.run.refills[0], "overlay"), Log()
    exchange = Exchange(venue_for(plan, variant, level_slots(tape.rows)))
    made = Session(plan, tape, variant, 0, exchange, log, lambda _: None, NO_INPUTS).run()
    return exchange, made, joined(log.chunks, OUTCOME)


def moves(log):
    """(account, instrument, change of the position, whether it was forced on the account), in the log's order."""
    results = log[(log["kind"] == codes.RESULT) & (log["code"] == codes.OK) & (log["flags"] == codes.OPEN_POSITION)]
    fills, takeovers, closes, takes = (
        figures.of_kind(log, kind) for kind in (codes.FILL, codes.TAKEOVER, codes.ADL, codes.TAKEN))
    bought = np.where(fills["flags"] & codes.SELL, -fills["lots"], fills["lots"])
    forced = (fills["flags"] & (codes.FORCED | codes.MAKER)) == codes.FORCED
    recorded = fills["counterparty"] == codes.EXTERNAL  # these say nothing of their own side
    blocks = [
        (results, results["account"], results["lots"], False), (results, results["order_id"], -results["lots"], False),
        (fills, fills["account"], bought, forced),
        (fills[recorded], fills[recorded]["counterparty"], -bought[recorded], False),
        (takeovers, takeovers["account"], -takeovers["lots"], True),
        (takeovers, takeovers["counterparty"], takeovers["lots"], False),
        (closes, closes["account"], closes["lots"], True),
        (takes, takes["account"], takes["lots"], np.arange(len(takes)) % 2 == 0),  # the unit's, then the taker's
    ]
    order = np.argsort(np.concatenate([rows["seq"] for rows, *_ in blocks]), kind="stable")
    columns = [[rows["instrument"] for rows, *_ in blocks]] + [
        [np.broadcast_to(block[k], len(block[0])) for block in blocks] for k in (1, 2, 3)]
    instrument, account, lots, pressed = (np.concatenate(column)[order] for column in columns)
    return account, instrument, lots, pressed


def check_forced(account, instrument, lots, forced):
    """What is forced on an account makes its position smaller, and never turns it round."""
    order = np.lexsort((np.arange(len(lots)), instrument, account))
    account, instrument, lots, forced = (column[order] for column in (account, instrument, lots, forced))
    after = np.cumsum(lots)
    starts = np.flatnonzero(np.diff(account, prepend=-1) | np.diff(instrument, prepend=-1))
    after -= np.repeat(np.concatenate(([0], after))[starts], np.diff(np.append(starts, len(lots))))
    before = (after - lots)[forced]
    assert np.all(before * lots[forced] < 0) and np.all(np.abs(lots[forced]) <= np.abs(before))


def check_books_agree(exchange, log, account, instrument, lots):
    """Positions that the log adds up to are the venue's, and add up to nothing; so does money, to what came in."""
    positions, assets = exchange.state.ledger.positions[1:], len(exchange.venue.assets)
    held = {}
    for row in positions[positions["lots"] != 0]:
        held[int(row["wallet"]) // assets, int(row["instrument"])] = int(row["lots"])
    added = {}
    for key, change in zip(zip(account.tolist(), instrument.tolist(), strict=True), lots.tolist(), strict=True):
        added[key] = added.get(key, 0) + change
    assert {key: value for key, value in added.items() if value} == held
    for k in range(len(exchange.venue.instruments)):
        assert sum(value for (_, place), value in held.items() if place == k) == 0
    moved = log[(log["kind"] == codes.RESULT) & (log["code"] == codes.OK)]
    for asset, wallets in enumerate(np.arange(assets)):
        cash = int(exchange.state.ledger.wallets["cash"][wallets::assets].sum())
        mine = positions[positions["wallet"] % assets == asset]
        came = [int(moved["lots"][(moved["flags"] == kind) & (moved["instrument"] == asset)].sum())
                for kind in (codes.DEPOSIT, codes.WITHDRAW)]
        assert cash + int(mine["isolated_margin"].sum()) - int(mine["entry_value"].sum()) == came[0] - came[1]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_run_ends_and_nothing_is_made_or_lost_in_it(scenario, profile):
    exchange, made, log = played(scenario, profile)
    audit.check(exchange.state)
    assert sum(total.liquidated_accounts for total in made.totals) > 0, "else nothing is shown here"
    account, instrument, lots, forced = moves(log)
    auctioned = any(stage.action == "auction" for stage in exchange.venue.liquidation.stages)  # where nobody takes
    assert forced.any() or auctioned
    check_forced(account, instrument, lots, forced)
    check_books_agree(exchange, log, account, instrument, lots)
    users = log[log["account"] >= codes.FIRST_USER]  # the fund's own begins again until others can have what it holds
    starts, ends = (len(figures.of_kind(users, kind)) for kind in (codes.LIQUIDATION_START, codes.LIQUIDATION_END))
    ledger = exchange.state.ledger
    going_on = np.count_nonzero(ledger.wallets["stage"]) + np.count_nonzero(ledger.positions["stage"])
    assert 0 <= starts - ends <= going_on, "a liquidation that neither ended nor goes on"


def test_a_forced_fill_that_grows_or_turns_a_position_is_found():
    account, instrument = np.array([8, 8, 9, 8]), np.zeros(4, np.int64)
    lots, forced = np.array([5, -3, 1, -2]), np.array([False, True, False, True])
    check_forced(account, instrument, lots, forced)
    for wrong in ([5, -3, 1, -3], [5, 3, 1, -2], [0, -3, 1, -2]):
        with pytest.raises(AssertionError):
            check_forced(account, instrument, np.array(wrong), forced)
