"""Stress scenarios as data: shocks of groups of instruments, and how the groups move together. DESIGN §10.1."""

import re
from math import isqrt
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec

from exchange import config
from exchange.config import Instrument, Venue
from exchange.errors import ConfigError
from exchange.fields import explained
from replay.synthetic.market import Synthetic

PPM = 1_000_000
Mode = Literal["sum", "one_factor", "rho_one", "flipped"]
Point = Annotated[int, msgspec.Meta(ge=-4 * PPM, le=4 * PPM)]
Range = Annotated[int, msgspec.Meta(ge=1, le=2 * PPM)]
Loading = Annotated[int, msgspec.Meta(ge=-PPM, le=PPM)]
POINTS_PPM = (-1_000_000, -666_667, -333_333, 333_333, 666_667, 1_000_000)
RANGE_PPM = 150_000


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Stress(_Struct):
    """One way in which groups move: by each point, a share of a group's range.

    sum: each group alone, each unit's worst of it, added: nothing offsets. one_factor: every group by its loading on
    the factor. rho_one: every group by its full range in one direction. flipped: like one_factor, one group the other
    way, each in turn: a hedge that breaks.
    """

    name: str
    mode: Mode
    points_ppm: tuple[Point, ...] = POINTS_PPM


STRESSES = (  # the sum last: who has nothing to offset is bound by the scenario that is as bad
    Stress(name="one factor", mode="one_factor"),
    Stress(name="rho 1", mode="rho_one"),
    Stress(name="flipped", mode="flipped", points_ppm=(-PPM, PPM)),
    Stress(name="sum", mode="sum"),
)


class Plan(_Struct):
    """The scenarios of a playbook. Points beyond a range are extended moves.

    Groups not stated follow from the symbols, loadings not stated from the synthetic market.
    """

    range_ppm: Range = RANGE_PPM
    ranges_ppm: dict[str, Range] = {}
    loadings_ppm: dict[str, Loading] = {}
    groups: dict[str, tuple[str, ...]] = {}
    stresses: tuple[Stress, ...] = STRESSES


class Shock(NamedTuple):
    """A move of each instrument, ppm of its mark. `group` is the one that moves alone, -1 = all together."""

    name: str
    stress: str
    mode: Mode
    point_ppm: int
    group: int
    ppm: tuple[int, ...]


class Group(msgspec.Struct, frozen=True):
    """Instruments that move together, how far, and how much of it with the factor."""

    name: str
    symbols: tuple[str, ...]
    range_ppm: int
    loading_ppm: int


def load_plan(path: Path | None, range_ppm: int | None = None) -> Plan:
    """A TOML file's plan, the built-in one without a file; `range_ppm` replaces its general range."""
    try:
        plan = msgspec.convert(config.load_toml(path), Plan) if path is not None else Plan()
        if range_ppm is not None:
            plan = msgspec.convert(msgspec.to_builtins(plan) | {"range_ppm": range_ppm}, Plan)
    except msgspec.ValidationError as error:
        raise ConfigError(*explained(error, Plan)) from None
    names = [one.name for one in plan.stresses]
    if not names or len(set(names)) != len(names) or not all(one.points_ppm for one in plan.stresses):
        raise ConfigError("$.stresses", "expected one or more with different names, each with a point or more")
    return plan


def base_of(instrument: Instrument, venue: Venue) -> str:
    """What an instrument is a price of: its underlying's base, the coin it settles in, or its symbol without that."""
    if instrument.option is not None:
        of = next(one for one in venue.instruments if one.symbol == instrument.option.underlying)
        return base_of(of, venue)
    if instrument.kind == "inverse":
        return instrument.settle
    head = re.split(r"[-_/]", instrument.symbol)[0]
    return head.removesuffix(instrument.settle) or instrument.symbol


def groups_of(plan: Plan, venue: Venue, synthetic: Synthetic | None = None) -> list[Group]:
    """Groups in the order of their first instrument; every instrument is in one."""
    stated: dict[str, str] = {}
    symbols = [one.symbol for one in venue.instruments]
    for name, members in plan.groups.items():
        for symbol in members:
            if symbol not in symbols or symbol in stated:
                why = "is in two groups" if symbol in stated else f"is not on the venue, which has {', '.join(symbols)}"
                raise ConfigError(f"$.groups.{name}", f"{symbol!r} {why}")
            stated[symbol] = name
    members_of: dict[str, list[str]] = {}
    for one in venue.instruments:
        members_of.setdefault(stated.get(one.symbol) or base_of(one, venue), []).append(one.symbol)
    for field in ("ranges_ppm", "loadings_ppm"):
        unknown = [name for name in getattr(plan, field) if name not in members_of]
        if unknown:
            raise ConfigError(f"$.{field}.{unknown[0]}", f"no such group; expected one of {', '.join(members_of)}")
    return [
        Group(
            name,
            tuple(members),
            plan.ranges_ppm.get(name, plan.range_ppm),
            plan.loadings_ppm.get(name, _synthetic_loading(synthetic, members)),
        )
        for name, members in members_of.items()
    ]


def _synthetic_loading(synthetic: Synthetic | None, members: list[str]) -> int:
    """Correlation with the common factor of the synthetic market, whose share of the variance is its square; else 1."""
    markets = [one for one in (synthetic.markets if synthetic else ()) if one.symbol in members]
    return isqrt(round(markets[0].correlation * PPM) * PPM) if markets else PPM


def shocks_of(plan: Plan, groups: list[Group], venue: Venue) -> list[Shock]:
    """Every scenario as moves of instruments, stress by stress; those of a `sum` group by group."""
    place = {symbol: g for g, group in enumerate(groups) for symbol in group.symbols}
    of = [place[one.symbol] for one in venue.instruments]
    made: list[Shock] = []
    for stress in plan.stresses:
        if stress.mode == "flipped" and len(groups) == 1:
            continue  # nothing to break from
        alone = {"sum": range(len(groups)), "flipped": range(len(groups))}.get(stress.mode, range(-1, 0))
        for group in alone:
            for point in stress.points_ppm:
                moves = [_move(stress.mode, one, g == group, point) for g, one in enumerate(groups)]
                label = f"{stress.name} {point / PPM:+.0%}" + (f" {groups[group].name}" if group >= 0 else "")
                made.append(Shock(label, stress.name, stress.mode, point, group, tuple(moves[g] for g in of)))
    return made


def _move(mode: Mode, group: Group, alone: bool, point_ppm: int) -> int:
    """Ppm by which a group moves at a point; toward zero."""
    if mode == "sum" and not alone:
        return 0
    loading = group.loading_ppm if mode in ("one_factor", "flipped") else PPM
    move = abs(group.range_ppm * loading * point_ppm) // PPM**2
    positive = (loading > 0) == (point_ppm > 0)
    return move if positive != (mode == "flipped" and alone) else -move
