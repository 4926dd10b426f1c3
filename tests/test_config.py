"""The configuration is refused, with the path of the field, before it can hurt; every shipped profile passes."""

import copy
import re
from itertools import pairwise

import msgspec
import pytest

from exchange import config, units
from exchange.errors import ConfigError
from exchange.venue import Exchange
from tests.desk import venue_table

PROFILES = sorted(path.stem for path in config.profiles_folder().glob("*.toml"))


def changed(**fields):
    """The small venue with fields of its first instrument replaced."""
    return venue_table(1, fields)


def refused(table):
    """The error of a table on both roads: as plain data, and as ready Structs handed to the venue."""
    with pytest.raises(ConfigError) as plain:
        config.build_venue(table)
    try:
        structs = msgspec.convert(table, config.Venue)
    except msgspec.ValidationError:
        return plain.value  # the types alone refuse it; there is no Struct to hand over
    with pytest.raises(ConfigError) as ready:
        Exchange(structs)
    assert str(ready.value) == str(plain.value)
    return plain.value


@pytest.mark.parametrize("place, path", [
    ((), "$.venue"), (("instruments", 0), "$.venue.instruments[0]"), (("assets", 0), "$.venue.assets[0]"),
    (("instruments", 0, "tiers", 1), "$.venue.instruments[0].tiers[1]"), (("fees",), "$.venue.fees"),
    (("mark",), "$.venue.mark"), (("capacity",), "$.venue.capacity"),
])
def test_an_unknown_field_is_refused_by_its_path(place, path):
    table = copy.deepcopy(venue_table())
    node = table
    for key in place:
        node = node[key]
    node["no_such_field"] = 1
    error = refused(table)
    assert error.where == path
    assert "no_such_field" in str(error)
    assert error.exit_code == 2


@pytest.mark.parametrize("field, value, where", [
    ("tick", "abc", ".tick"), ("tick", "0", ".tick"), ("tick", "-1", ".tick"), ("tick", "NaN", ".tick"),
    ("tick", "Infinity", ".tick"), ("tick", 1.5, ".tick"), ("lot", "", ".lot"), ("multiplier", "0", ".multiplier"),
    ("price_max", "4000.5", ".price_max"), ("order_max", "0.5", ".order_max"), ("position_max", "0", ".position_max"),
    ("open_interest_max", "-5", ".open_interest_max"), ("settle", "EUR", ".settle"), ("kind", "option-like", ".kind"),
    ("mark_per_tick", 0, ".mark_per_tick"), ("market_band_ppm", 1_000_000, ".market_band_ppm"), ("tiers", [], ".tiers"),
    ("fees", {"maker_ppm": -200, "taker_ppm": 100}, ".fees"), ("order_max", str(2**31), ".order_max"),
    ("price_max", str(2**31), ".price_max"),
])
def test_a_field_out_of_range_is_refused_by_its_path(field, value, where):
    assert refused(changed(**{field: value})).where.startswith(f"$.venue.instruments[0]{where}")


def test_money_that_a_quantum_cannot_express_is_refused_and_the_named_quantum_does():
    table = changed(tick="0.01", lot="0.001", price_max="40")
    error = refused(table)
    assert error.where == "$.venue.instruments[0].tick"
    quantum = re.search(r"a quantum of (\S+) would do", str(error)).group(1)
    table["assets"][0]["quantum"] = quantum
    table["instruments"][0]["mark_per_tick"] = 1
    config.build_venue(table)


def test_a_mark_finer_than_a_quantum_is_refused_and_the_named_quantum_does():
    table = changed(mark_per_tick=1_000)
    error = refused(table)
    assert error.where == "$.venue.instruments[0].mark_per_tick"
    table["assets"][0]["quantum"] = re.search(r"a quantum of (\S+) would do", str(error)).group(1)
    config.build_venue(table)


@pytest.mark.parametrize("field", ["position_max", "open_interest_max"])
@pytest.mark.parametrize("quantum", ["0.00000000000001", "0.000000000000001", "0.0000000000000001"])
def test_money_that_could_wrap_is_refused_and_the_named_quantum_does(field, quantum):
    table = changed(**{field: "2000000000"})
    table["assets"][0]["quantum"] = quantum
    error, complained = refused(table), []
    while error is not None:  # the next bound may ask for more; one that was named must hold
        assert error.where.startswith("$.venue.instruments[0].") and error.where not in complained
        assert "2**62" in str(error)
        complained.append(error.where)
        table["assets"][0]["quantum"] = re.search(r"a quantum of (\S+) for USD would do", str(error)).group(1)
        try:
            config.build_venue(table)
            error = None
        except ConfigError as other:
            error = other
    assert f"$.venue.instruments[0].{field}" in complained


@pytest.mark.parametrize("changes, field, what", [
    ({"position_max": "1000000000", "open_interest_max": "10"}, "position_max", "value at price_min"),
    ({"open_interest_max": "2000000000", "price_min": "1000"}, "open_interest_max", "value times the price"),
])
def test_an_inverse_contract_is_bounded_by_its_lowest_price_and_its_numerator(changes, field, what):
    error = refused(changed(kind="inverse", multiplier="1000000000", **changes))
    assert error.where == f"$.venue.instruments[0].{field}" and what in str(error)
    table = changed(kind="inverse", multiplier="1000000000", **changes)
    while error is not None:
        table["assets"][0]["quantum"] = re.search(r"a quantum of (\S+) for USD would do", str(error)).group(1)
        try:
            config.build_venue(table)
            error = None
        except ConfigError as other:
            assert other.where != error.where
            error = other


def test_a_face_that_a_quantum_cannot_express_is_refused_and_the_named_quantum_does():
    table = changed(kind="inverse", multiplier="0.01", tick="10")
    error = refused(table)
    assert error.where == "$.venue.instruments[0].multiplier"
    table["assets"][0]["quantum"] = re.search(r"a quantum of (\S+) would do", str(error)).group(1)
    config.build_venue(table)


def test_a_ladder_that_ends_below_its_start_is_refused():
    assert refused(changed(price_min="5000")).where == "$.venue.instruments[0].price_min"


def test_sub_ticks_that_pass_forty_bits_are_refused():
    table = changed(price_max="2000000000", mark_per_tick=1_000, order_max="1", position_max="1", open_interest_max="1")
    table["assets"][0]["quantum"] = "0.001"
    assert refused(table).where == "$.venue.instruments[0].mark_per_tick"


@pytest.mark.parametrize("rows, where", [
    ([("1", 10_000, 50)], "tiers[0].floor"),
    ([("0", 10_000, 50), ("0", 20_000, 50)], "tiers[1].floor"),
    ([("0", 10_000, 50), ("500", 20_000, 50), ("400", 30_000, 50)], "tiers[2].floor"),
    ([("0", 10_000, 50), ("1000", 9_000, 50)], "tiers[1].maintenance_ppm"),
    ([("0", 10_000, 50), ("1000", 20_000, 51)], "tiers[1].leverage_max"),
    ([("0", 10_000, 50), ("0.01", 20_000, 50)], "tiers[1].floor"),  # the edge would lie within a quantum
    ([("0", 10_000, 50), ("1000.005", 20_000, 50)], "tiers[1].floor"),
    ([("0", 10_000, 50), ("1000", 1_000_000, 50)], "tiers"),
    ([("0", 10_000, 50), ("-1", 20_000, 50)], "tiers[1].floor"),
    ([("0", 10_000, 0)], "tiers[0].leverage_max"),
    ([("0", 1_000_001, 50)], "tiers[0].maintenance_ppm"),
])
def test_tiers_that_are_not_continuous_whole_and_rising_are_refused(rows, where):
    tiers = [dict(zip(("floor", "maintenance_ppm", "leverage_max"), row, strict=True)) for row in rows]
    assert refused(changed(tiers=tiers)).where == f"$.venue.instruments[0].{where}"


def test_maintenance_does_not_jump_at_any_marginal_tiers_edge_of_any_profile():
    for name in PROFILES:
        venue = config.build_venue(config.load_profile(name))
        compiled = config.compile_venue(venue)
        for row, instrument in zip(compiled.instruments, venue.instruments, strict=True):
            if instrument.margin.tiers == "step":  # where it jumps by rule
                continue
            tiers = compiled.tiers[row["tier_base"]:row["tier_base"] + row["tier_count"]].tolist()
            for (_, cum, rate, *_), (floor, next_cum, next_rate, *_) in pairwise(tiers):
                assert floor * rate - cum * 1_000_000 == floor * next_rate - next_cum * 1_000_000


@pytest.mark.parametrize("field, value", [("accounts", 0), ("positions", -1), ("orders", 0), ("external_levels", 0),
                                          ("outcomes", 0), ("orders", 2**31)])
def test_a_capacity_out_of_range_is_refused(field, value):
    assert refused(venue_table(capacity={field: value})).where == f"$.venue.capacity.{field}"


def test_an_outbox_that_one_event_could_overfill_is_refused_and_the_named_size_is_accepted():
    error = refused(venue_table(capacity={"orders": 100, "outcomes": 4_595}))
    assert error.where == "$.venue.capacity.outcomes"
    assert "5 * orders + 4096" in str(error)
    config.build_venue(venue_table(capacity={"orders": 100, "outcomes": 4_596}))


@pytest.mark.parametrize("sections, where", [
    ({"index": {"rule": "median"}}, "$.venue.instruments[0].constituents"),
    ({"index": {"rule": "newest"}}, "$.venue.index.rule"),
    ({"mark": {"samples": 0}}, "$.venue.mark.samples"),
    ({"funding": {"interval_ns": 0}}, "$.venue.funding.interval_ns"),
    ({"depth": {"half_life_ns": 7}}, "$.venue.depth.half_life_ns"),
    ({"fees": {"taker_ppm": 100_001}}, "$.venue.fees.taker_ppm"),
    ({"fees": {"maker_ppm": -502, "maker_beyond_ppb": 999, "taker_ppm": 500}}, "$.venue.instruments[0].fees"),
    ({"liquidation": {"order_delay_ns": -1}}, "$.venue.liquidation.order_delay_ns"),
    ({"assets": [{"name": "USD", "quantum": "0.01"}] * 2}, "$.venue.assets"),
    ({"assets": [{"name": "USD", "quantum": "0"}]}, "$.venue.assets[0].quantum"),
    ({"assets": []}, "$.venue.assets"), ({"instruments": []}, "$.venue.instruments"),
])
def test_a_section_that_cannot_work_is_refused_by_its_path(sections, where):
    assert refused({**venue_table(), **sections}).where == where


def test_weights_that_do_not_add_up_are_refused():
    table = changed(constituents=[{"name": "a", "weight_ppm": 600_000}, {"name": "b", "weight_ppm": 300_000}])
    assert refused({**table, "index": {"rule": "weighted"}}).where == "$.venue.instruments[0].constituents"


def test_two_instruments_of_one_symbol_are_refused():
    table = venue_table(2)
    table["instruments"][1]["symbol"] = "P0"
    assert refused(table).where == "$.venue.instruments"


@pytest.mark.parametrize("name", PROFILES)
def test_every_shipped_profile_validates_and_survives_its_own_table(name):
    venue = config.build_venue(config.load_profile(name))
    assert venue.source and venue.date
    assert config.build_venue(config.to_table(venue)) == venue


def test_there_is_a_shipped_profile():
    assert PROFILES


def test_an_unknown_profile_names_those_that_exist():
    with pytest.raises(ConfigError, match=PROFILES[0]):
        config.load_profile("no_such_venue")


@pytest.mark.parametrize("text", ["[venue\n", "\x00", "[[[[", "venue = " + "[" * 2_000])
def test_a_file_that_is_not_toml_is_refused_by_its_name(tmp_path, text):
    path = tmp_path / "venue.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"venue\.toml"):
        config.load_profile(str(path))


def test_a_file_without_a_venue_and_a_file_that_is_not_there_are_refused(tmp_path):
    path = tmp_path / "empty.toml"
    path.write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"no \[venue\] table"):
        config.load_profile(str(path))
    with pytest.raises(ConfigError):
        config.load_profile(str(tmp_path / "absent.toml"))


def test_decimal_text_converts_exactly_and_rounds_only_where_it_says():
    step = units.decimal("0.05")
    assert units.whole(units.decimal("0.15"), step) == 3
    with pytest.raises(ValueError, match="not a multiple"):
        units.whole(units.decimal("0.151"), step)
    assert [units.nearest(units.decimal(text), step) for text in ("0.124", "0.125", "-0.125")] == [2, 3, -2]
    assert [units.floor_count(units.decimal(text), step) for text in ("0.149", "0.15", "-0.01")] == [2, 3, -1]
