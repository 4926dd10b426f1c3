"""Stages of liquidation: thresholds on equity over maintenance, what happens in each and when. DESIGN §4.1.

Part of the venue's configuration (`exchange/config.py`).
"""

import itertools
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import numpy as np

from exchange import codes, units
from exchange.errors import ConfigError
from exchange.terms import money_of

if TYPE_CHECKING:
    from exchange.config import Venue

MILLION = 10**6
RATIO_MAX_PPM = 10 * MILLION
STAGES_MAX = 8
PAUSE_MIN_NS = 1_000_000  # between the steps of a reduction: what cannot be sold is not tried again at the same time
CURVES = ("concession_ppm", "allowance_ppm", "payout_ppm")  # what changes with the time of an auction, by code
BIDS_MAX = 8
STEP_FIELDS = ("share_ppm", "tiers_down", "after_fees", "notional_above", "notional_min", "notional_max", "offer_ppm")
ORDER_FIELDS = ("band_ppm", "band_around", "spread_ppm", "shortage_ppm")
AUCTION_FIELDS = ("duration_ns", "period_ns", "concession_from", "bidder", "bids_ppm", *CURVES)
FIELDS = [
    *((name, ("reduce",)) for name in (*STEP_FIELDS, "then_all", "fill_or_kill")),
    *((name, ("reduce", "close")) for name in ORDER_FIELDS),
    *((name, ("auction",)) for name in AUCTION_FIELDS),
    ("beyond_bankruptcy", ("reduce", "close", "auction")),
]
ONE_OF = {("share_ppm", "tiers_down", "after_fees"): "size of a step", ("band_ppm", "spread_ppm"): "limit of an order"}
ACTIONS = {
    "warn": codes.STAGE_WARN,
    "cancel_orders": codes.STAGE_CANCEL,
    "reduce": codes.STAGE_PART,
    "close": codes.STAGE_CLOSE,
    "takeover": codes.STAGE_FUND,
    "auction": codes.STAGE_AUCTION,
}
CONCESSIONS = ("equity", "mark", "index")  # by code
ENDS = ("close", "takeover", "auction")

STAGE = np.dtype(  # one an asset and stage: [asset * count + stage]; one row with count 0 where there are none
    [
        ("count", "i8"),  # stages of the venue
        ("below_ppm", "i8"),
        ("exit_ppm", "i8"),
        ("action", "i8"),
        ("dwell_ns", "i8"),
        ("cooldown_ns", "i8"),
        ("share_ppm", "i8"),  # of a step; 0 = back to the exit
        ("tiers_down", "i8"),  # of a step, instead; 0 = no matter
        ("after_fees", "i8"),  # the exit is to be reached with the fees of the step paid
        ("notional_above", "i8"),  # up to it a reduction takes the whole leg
        ("notional_min", "i8"),  # of a step
        ("notional_max", "i8"),  # of a step; 0 = no bound
        ("offer_ppm", "i8"),  # of what the book offers, the most of a step; 0 = no bound
        ("band_ppm", "i8"),  # of its orders, around the mark; 0 = none
        ("spread_ppm", "i8"),  # of a leg's maintenance, the most that its orders give up; 0 = no bound
        ("shortage_ppm", "i8"),  # how fast they get there: times the share of maintenance that is missing
        ("band_index", "i8"),  # the band is around the index
        ("fill_or_kill", "i8"),
        ("then_all", "i8"),  # after the first step: all of a leg
        ("beyond", "i8"),  # the fund pays for what is beyond the bankruptcy price
        ("duration_ns", "i8"),  # of an auction
        ("period_ns", "i8"),  # the venue looks at it
        ("concession_from", "i8"),  # CONCEDE_*
        ("curve_points", "i8", (len(CURVES),)),
        ("curve_ns", "i8", (len(CURVES) * codes.CURVE_POINTS,)),
        ("curve_ppm", "i8", (len(CURVES) * codes.CURVE_POINTS,)),
        ("bidder", "i8"),  # account of the standing bids
        ("bids", "i8"),
        ("bid_ppm", "i8", (BIDS_MAX,)),  # concession at which one is made
        ("bid_share_ppm", "i8", (BIDS_MAX,)),  # of what is left
    ],
    align=True,
)
STANDING = np.dtype(  # one a unit and stage
    [
        ("due_ns", "i8"),  # when it acts, as of its last entry
        ("ready_ns", "i8"),  # the end of its cooldown
        ("began_ns", "i8"),  # since when it drives; this and what follows is 0 where it does not
        ("kept", "i8"),  # equity that what takers took of a whole unit has left behind
        ("freed", "i8"),  # how much less is missing by what takers took
        ("bid", "i8"),  # standing bids that were made
        ("acted", "i8"),  # times it acted since the unit came into it, where that counts
        ("inside", "i1"),
        ("timed", "i1"),  # its timer is set
        ("drives", "i1"),  # the unit's liquidation is this stage's
    ],
    align=True,
)

Ratio = Annotated[int, msgspec.Meta(ge=1, le=RATIO_MAX_PPM)]
Share = Annotated[int, msgspec.Meta(ge=1, le=MILLION)]
Band = Annotated[int, msgspec.Meta(ge=1, le=MILLION - 1)]
Tiers = Annotated[int, msgspec.Meta(ge=1, le=1_000)]
Speed = Annotated[int, msgspec.Meta(ge=1, le=2**32)]
Nanoseconds = Annotated[int, msgspec.Meta(ge=0, le=10**18)]
Pause = Annotated[int, msgspec.Meta(ge=PAUSE_MIN_NS, le=10**18)]
Slope = Annotated[int, msgspec.Meta(ge=1 - MILLION, le=MILLION)]
Curve = Annotated[tuple[tuple[Nanoseconds, Slope], ...], msgspec.Meta(max_length=codes.CURVE_POINTS)]
Bids = Annotated[tuple[tuple[Slope, Share], ...], msgspec.Meta(max_length=BIDS_MAX)]


class Stage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Entered when equity / maintenance is below `below_ppm`, left at `exit_ppm` (the same unless said) or more.

    It acts after `dwell_ns` in it and not within `cooldown_ns` of its last action on the unit. `reduce` takes
    `share_ppm` of a leg, or what brings it `tiers_down` tiers lower, without either what brings the unit back to its
    exit at the mark (with `after_fees`: and pays for it), and all of a leg worth no more than `notional_above` (of the
    settlement asset); at least `notional_min`, at most `notional_max` and `offer_ppm` of the lots that the book offers;
    and again after each cooldown (`then_all`: from then on all of a leg, until the unit has left the stage). Its
    orders, and those of `close`, are limited at the bankruptcy price, or nearer: `band_ppm` from the mark
    (`band_around`: or the index), or where they give up `spread_ppm` of the leg's maintenance, the less the less of
    its maintenance the unit lacks (`shortage_ppm` times that share); with `beyond_bankruptcy` these limits may lie
    beyond it, as far as the fund can pay for. With `fill_or_kill` a step that the book cannot fill whole is not
    sent: the fund takes the leg.

    `auction` offers the unit to takers (TAKE) for `duration_ns`, at a concession that grows along `concession_ppm`,
    points of [ns since its start, ppm] with straight lines between: a share of the unit's equity for a share of all its
    legs, or a share of the mark or index for lots of one leg (`concession_from`). Along `allowance_ppm` grows how much
    of what is missing takers of one leg may make good; along `payout_ppm`, what the fund pays to takers of a unit that
    owes, as a share of what it lacks to its exit. The venue looks at it every `period_ns`, and then `bidder` makes the
    next of `bids_ppm`, [concession from which on, share of what is left].
    """

    below_ppm: Ratio
    action: Literal["warn", "cancel_orders", "reduce", "close", "takeover", "auction"]
    dwell_ns: Nanoseconds = 0
    cooldown_ns: Nanoseconds = 0
    exit_ppm: Ratio | None = None
    share_ppm: Share | None = None
    tiers_down: Tiers | None = None
    after_fees: bool | None = None
    notional_above: str | None = None
    notional_min: str | None = None
    notional_max: str | None = None
    offer_ppm: Share | None = None
    band_ppm: Band | None = None
    spread_ppm: Share | None = None
    shortage_ppm: Speed | None = None
    band_around: Literal["mark", "index"] | None = None
    then_all: bool | None = None
    fill_or_kill: bool | None = None
    beyond_bankruptcy: bool | None = None
    duration_ns: Pause | None = None
    period_ns: Pause | None = None
    concession_from: Literal["equity", "mark", "index"] | None = None
    concession_ppm: Curve | None = None
    allowance_ppm: Curve | None = None
    payout_ppm: Curve | None = None
    bidder: int | None = None
    bids_ppm: Bids | None = None


def exit_of(stage: Stage) -> int:
    return stage.below_ppm if stage.exit_ppm is None else stage.exit_ppm


def _check(stages: tuple[Stage, ...], where: str) -> None:
    for k, stage in enumerate(stages):
        place, before = f"{where}[{k}]", stages[k - 1] if k else None
        if before is not None and stage.below_ppm >= before.below_ppm:
            raise ConfigError(f"{place}.below_ppm", f"expected below {before.below_ppm}, that of the stage before")
        if exit_of(stage) < stage.below_ppm:
            raise ConfigError(f"{place}.exit_ppm", f"expected at least below_ppm, {stage.below_ppm}")
        if before is not None and exit_of(stage) > exit_of(before):
            raise ConfigError(f"{place}.exit_ppm", f"expected at most {exit_of(before)}, that of the stage before")
        if stage.action == "reduce" and stage.cooldown_ns < PAUSE_MIN_NS:
            raise ConfigError(f"{place}.cooldown_ns", f"between two steps of a reduction: at least {PAUSE_MIN_NS}")
        for name, actions in FIELDS:
            if stage.action not in actions and getattr(stage, name) is not None:
                raise ConfigError(f"{place}.{name}", f"only a stage with action {' or '.join(actions)} has it")
        for names, what in ONE_OF.items():
            stated = [name for name in names if getattr(stage, name)]
            if len(stated) > 1:
                raise ConfigError(f"{place}.{stated[1]}", f"{stated[0]} makes the {what} already: state one of them")
        if stage.shortage_ppm is not None and stage.spread_ppm is None:
            raise ConfigError(f"{place}.shortage_ppm", "how fast the spread grows: state spread_ppm too")
        if stage.band_around is not None and stage.band_ppm is None:
            raise ConfigError(f"{place}.band_around", "what the band is around: state band_ppm too")
        if stage.beyond_bankruptcy and stage.action != "auction" and not (stage.band_ppm or stage.spread_ppm):
            raise ConfigError(f"{place}.beyond_bankruptcy", "how far beyond: state band_ppm or spread_ppm")
        if stage.action == "auction":
            _check_auction(stage, place)
    if stages[-1].action not in ENDS:
        raise ConfigError(f"{where}[{len(stages) - 1}].action", f"the last stage must end it: one of {', '.join(ENDS)}")


def _check_auction(stage: Stage, place: str) -> None:
    """What an auction needs, and what goes together in it."""
    for name in ("duration_ns", "period_ns", "concession_ppm"):
        if not getattr(stage, name):
            raise ConfigError(f"{place}.{name}", "an auction needs it")
    of_unit = _concedes(stage) == codes.CONCEDE_EQUITY
    for name in CURVES:
        points = getattr(stage, name) or ()
        if any(b[0] <= a[0] or b[1] < a[1] for a, b in itertools.pairwise(points)):
            raise ConfigError(f"{place}.{name}", "points must rise in time, and not fall in ppm")
        if points and points[0][1] < 0 and (of_unit or name != "concession_ppm"):
            raise ConfigError(f"{place}.{name}", "expected from 0 on: only a concession from a price may be a premium")
        if points and points[-1][1] == MILLION and not of_unit and name == "concession_ppm":
            raise ConfigError(f"{place}.{name}", f"of a price, less than {MILLION}")
    if stage.allowance_ppm and of_unit:
        raise ConfigError(f"{place}.allowance_ppm", "of one leg: state concession_from")
    if stage.payout_ppm and not of_unit:
        raise ConfigError(f"{place}.payout_ppm", "of a whole unit: only with the concession from its equity")
    if stage.beyond_bankruptcy and of_unit:
        raise ConfigError(f"{place}.beyond_bankruptcy", "of one leg; what the fund pays for a unit is payout_ppm")
    if (stage.bidder is None) != (not stage.bids_ppm):
        raise ConfigError(f"{place}.bidder", "standing bids need bidder and bids_ppm")


def _concedes(stage: Stage) -> int:
    return CONCESSIONS.index(stage.concession_from or "equity")


def compile_stages(venue: "Venue") -> np.ndarray:
    """The stages of every asset as records (STAGE)."""
    stages, where = venue.liquidation.stages, "$.venue.liquidation.stages"
    rows = np.zeros(max(1, len(stages) * len(venue.assets)), STAGE)
    if not stages:
        return rows
    _check(stages, where)
    if venue.liquidation.detection_delay_ns:
        raise ConfigError("$.venue.liquidation.detection_delay_ns", "with stages each has its own delay, dwell_ns")
    for place, asset in enumerate(venue.assets):
        quantum = units.decimal(asset.quantum)
        for k, stage in enumerate(stages):
            above, least, most = (
                money_of(getattr(stage, name), quantum, f"{where}[{k}].{name}")
                for name in ("notional_above", "notional_min", "notional_max")
            )
            if stage.notional_max is not None and most < max(1, least):
                place = f"{where}[{k}].notional_max"
                raise ConfigError(place, f"expected at least notional_min and 1 quantum, got {most} quanta")
            row = rows[place * len(stages) + k]
            values = (
                len(stages),
                stage.below_ppm,
                exit_of(stage),
                ACTIONS[stage.action],
                stage.dwell_ns,
                stage.cooldown_ns,
                stage.share_ppm or 0,
                stage.tiers_down or 0,
                stage.after_fees or 0,
                above,
                least,
                most,
                stage.offer_ppm or 0,
                stage.band_ppm or 0,
                stage.spread_ppm or 0,
                stage.shortage_ppm or MILLION,
                stage.band_around == "index",
                stage.fill_or_kill or 0,
                stage.then_all or 0,
                stage.beyond_bankruptcy or 0,
                stage.duration_ns or 0,
                stage.period_ns or 0,
                _concedes(stage),
            )
            for name, value in zip(STAGE.names, values, strict=False):
                row[name] = value
            _compile_auction(row, stage, venue.capacity.accounts, f"{where}[{k}]")
    return rows


def _compile_auction(row: np.void, stage: Stage, accounts: int, where: str) -> None:
    """Curves and standing bids."""
    for k, name in enumerate(CURVES):
        points = getattr(stage, name) or ()
        row["curve_points"][k] = len(points)
        for j, (after_ns, ppm) in enumerate(points):
            row["curve_ns"][k * codes.CURVE_POINTS + j], row["curve_ppm"][k * codes.CURVE_POINTS + j] = after_ns, ppm
    if stage.bidder is None:
        return
    if not codes.FIRST_USER <= stage.bidder < codes.FIRST_USER + accounts:
        raise ConfigError(f"{where}.bidder", f"no user's id: {codes.FIRST_USER} to {codes.FIRST_USER + accounts - 1}")
    row["bidder"], row["bids"] = stage.bidder, len(stage.bids_ppm or ())
    for j, (ppm, share_ppm) in enumerate(stage.bids_ppm or ()):
        row["bid_ppm"][j], row["bid_share_ppm"][j] = ppm, share_ppm


def multiple(venue: "Venue") -> int:
    """How many times its maintenance a unit is compared with, rounded up."""
    return max([1, *(-(-exit_of(stage) // MILLION) for stage in venue.liquidation.stages)])
