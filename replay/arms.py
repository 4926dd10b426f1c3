"""Ways to liquidate on one venue: what an arm changes, and the proof that it changes nothing else. DESIGN §10.5."""

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from exchange import codes, config
from exchange.errors import ConfigError
from exchange.fields import explained
from replay.inputs import Inputs
from replay.plays import Variant
from replay.population import PPM
from replay.scenario import Scenario, merge
from replay.session import venue_for
from replay.venues import Difference, differences

# How a unit is liquidated, and whether deleveraging comes before or after the fund.
PATH = ("liquidation.", "adl.trigger", "adl.start_below", "adl.stop_at", "adl.window_ns", "adl.drawdown")
SECOND_NS = 1_000_000_000


class Arm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way to liquidate: what of the venue is otherwise. Auctions with standing bids get the study's bidder."""

    name: str
    venue: dict[str, Any]
    about: str = ""


class _ArmFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    arms: list[Arm]


class Ready(msgspec.Struct, frozen=True):
    """An arm on the scenario's venue, and every rule in which it differs from the first."""

    arm: Arm
    venue: config.Venue
    digest: str
    differs: list[Difference]


def shipped_arms(venue: config.Venue) -> list[Arm]:
    """Five paths. Each reacts as late as the scenario's venue without stages does."""
    start = {"below_ppm": PPM, "dwell_ns": venue.liquidation.detection_delay_ns}
    close = {**start, "action": "close"}
    steps = {**start, "action": "reduce", "share_ppm": 250_000, "cooldown_ns": SECOND_NS}
    auction = {
        **start,
        "action": "auction",
        "duration_ns": 3 * SECOND_NS,
        "period_ns": SECOND_NS // 4,
        "concession_ppm": [[0, 0], [3 * SECOND_NS, PPM]],
        "bids_ppm": [[100_000, 500_000], [300_000, 500_000], [600_000, PPM]],
    }

    def path(name: str, about: str, *stages: dict[str, Any], **other: Any) -> Arm:
        return Arm(name, {"liquidation": {"stages": stages}, **other}, about)

    arms = [
        path("market", "one order for all of it, limited at bankruptcy; the rest to the fund", close),
        path("steps", "a quarter a second while it lacks margin", steps, {"below_ppm": 1, "action": "takeover"}),
        path("auction", "offered to a standing bidder for 3 s; the rest to the fund", auction),
        path("takeover", "the fund has it at once at bankruptcy", {**start, "action": "takeover"}),
    ]
    if venue.adl.trigger not in ("first", "never"):
        before = {"trigger": "first", "start_below": None, "stop_at": None, "window_ns": None, "drawdown": None}
        before |= {"drawdown_ppm": None}
        arms.append(path("market_adl", "as market; the rest is deleveraged, not the fund's", close, adl=before))
    return arms


def read_arms(path: Path) -> list[Arm]:
    """Arms of a TOML file: `[[arms]]` with a name and tables of the venue below `[arms.venue]`."""
    try:
        return msgspec.convert(config.load_toml(path), _ArmFile).arms
    except msgspec.ValidationError as error:
        where, message = explained(error, _ArmFile)
        raise ConfigError(f"{path}: {where}", message) from None


def prepare(scenario: Scenario, arms: list[Arm], inputs: Inputs, levels: int) -> tuple[list[Ready], int]:
    """The arms on the scenario's venue, and the account of the standing bidder; all have room for it.

    Raises
    ------
    ConfigError
        When there is nothing to compare, or an arm differs from the first in more than the path.
    """
    if scenario.population is None:
        raise ConfigError("$.population", "missing; there is nobody to liquidate")
    names = [arm.name for arm in arms]
    if len(arms) < 2 or len(set(names)) < len(names):
        raise ConfigError("arms", f"expected two or more of different names, got {', '.join(names) or 'none'}")
    accounts = venue_for(scenario, Variant("none", "overlay"), levels, inputs).capacity.accounts
    bidder, own = codes.FIRST_USER + accounts, config.to_table(scenario.venue)
    own["capacity"]["accounts"] = accounts + 1
    own["liquidation"] |= {"stages": (), "detection_delay_ns": 0}
    ready: list[Ready] = []
    for arm in arms:
        try:
            venue = config.build_venue(merge(own, _with_bidder(arm.venue, bidder)))
        except ConfigError as error:
            raise ConfigError(f"arm {arm.name}", str(error)) from None
        differs = differences(ready[0].venue if ready else venue, venue)
        check_path(arm.name, names[0], differs)
        ready.append(Ready(arm, venue, digest(config.to_table(venue)), differs))
    return ready, bidder


def check_path(name: str, first: str, differs: list[Difference]) -> None:
    """Refuse an arm that is another venue: what it did could not be told from what its path did."""
    other = [row.path for row in differs if not row.path.startswith(PATH)]
    if other:
        raise ConfigError(
            f"arm {name}",
            f"differs from {first} in {', '.join(other)}; arms may differ in the path alone: liquidation.*, and when "
            "adl comes. Put what is to hold in all of them into the scenario",
        )


def _with_bidder(table: dict[str, Any], bidder: int) -> dict[str, Any]:
    """The bidder in auctions with standing bids that name none."""
    liquidation = table.get("liquidation", {})
    stages = [
        {"bidder": bidder, **stage} if isinstance(stage, dict) and stage.get("bids_ppm") else stage
        for stage in liquidation.get("stages", ())
    ]
    return {**table, "liquidation": {**liquidation, "stages": stages}}


def digest(*parts: Any) -> str:
    """A short hash of bytes, and of what else there is as JSON."""
    made = hashlib.sha256()
    for part in parts:
        made.update(part if isinstance(part, bytes) else msgspec.json.encode(part))
    return made.hexdigest()[:16]
