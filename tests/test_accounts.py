"""Accounts from files: what is read is what the venue holds, and bad rows are refused by line, all of them."""

import numpy as np
import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standin import StandIn

from exchange import codes, config, schema
from exchange.errors import ConfigError, FeedError
from exchange.reference import margin
from replay import holdings
from replay.accounts import SHOWN, read_accounts
from replay.cli import main
from replay.population import Population, Site
from replay.scenario import build_scenario
from replay.session import run_id

MARK_SUB = 28_000_000
HEADER = "account,symbol,side,quantity,entry_price,leverage,margin,mode,cash"
ROWS = [
    "ann,BTCUSDT,long,2.5,27500,20,,isolated,150.25",
    "bob,BTCUSDT,,-1,28100.5,,2000,cross,",
    'c "three",BTCUSDT,short,0.75,28500,10,3000,isolated,',
    "dan,BTCUSDT,,3,27900,5,,,40000",
    "ann,ETHUSDT,,-4,1900,10,,cross,150.25",
    "eve,ETHUSDT,buy,6,1850,,2000,isolated,0",
]


@pytest.fixture(scope="module")
def venue():
    table = config.load_profile("binance_um") | {"capacity": {"accounts": 400, "positions": 800}}
    other = table["instruments"][0] | {"symbol": "ETHUSDT", "price_max": "100000"}
    return config.build_venue(table | {"instruments": [*table["instruments"], other]})


@pytest.fixture
def written(tmp_path):
    def write(*rows, header=HEADER, name="accounts.csv"):
        path = tmp_path / name
        path.write_text("\n".join([header, *rows]) + "\n")
        return path

    return write


def seeded(venue, accounts, marks=(MARK_SUB, 1_900_000), **fields):
    """The accounts on the reference venue, with a mark for every instrument."""
    stand_in = StandIn(venue)
    index = np.zeros(len(venue.instruments), schema.EVENT)
    index["ts_ns"], index["kind"], index["instrument"] = 10**18 - 1, codes.INDEX, np.arange(len(index))
    index["price"] = marks[: len(index)]
    stand_in.submit(index)
    stand_in.run()
    stand_in.outcomes()
    compiled = config.compile_venue(venue)
    sites = [Site(k, 10**18, marks[k], 2_000_000) for k in range(len(index)) if marks[k]]
    made = holdings.seed_accounts(accounts, Population(**fields), venue, compiled, sites)
    stand_in.submit(made.events)
    stand_in.run()
    outcomes = stand_in.outcomes()
    results = outcomes[outcomes["kind"] == codes.RESULT]
    assert len(results) == len(made.events) and (results["code"] < codes.UNSUPPORTED_KIND).all()
    stand_in.audit()
    return made, stand_in


POSITIONS = st.tuples(
    st.integers(1, 20_000), st.booleans(), st.integers(275_000, 285_000), st.integers(1, 20), st.booleans()
)


@settings(deadline=None, max_examples=25)
@given(st.lists(POSITIONS, min_size=1, max_size=12))
def test_every_account_holds_its_lots_at_its_price_in_its_mode(tmp_path_factory, positions):
    venue = config.build_venue(config.load_profile("binance_um") | {"capacity": {"accounts": 200, "positions": 200}})
    path = tmp_path_factory.mktemp("accounts") / "a.csv"
    rows = [
        f"a{k},BTCUSDT,{'' if up else '-'}{lots / 1000},{ticks / 10},{lev},{'isolated' if alone else 'cross'}"
        for k, (lots, up, ticks, lev, alone) in enumerate(positions)
    ]
    path.write_text("\n".join(["account,symbol,quantity,entry_price,leverage,mode", *rows]))
    made, stand_in = seeded(venue, read_accounts(path, venue))
    for k, (lots, up, ticks, lev, alone) in enumerate(positions):
        wallet = stand_in.world.wallet(codes.FIRST_USER + k, 0)
        held = wallet.positions[0]
        signed = lots if up else -lots
        assert (held.lots, held.entry_value) == (signed, signed * ticks * 100)
        assert (held.mode, held.leverage_e2) == (codes.ISOLATED if alone else codes.CROSS, lev * 100)
        pocket = held.isolated_margin if alone else wallet.cash
        assert 0 <= pocket - -(-lots * ticks * 100 // lev) <= len(made.events), "rounded up trade by trade"
    residual = sum(lots if up else -lots for lots, up, *_ in positions)
    hedged = [stand_in.world.wallet(account, 0).positions[0].lots for account in made.hedgers]
    assert sum(hedged) == -residual
    assert all(stand_in.world.wallet(account, 0).cash == 0 for account in range(made.hedgers.stop, made.next_account))


def test_money_and_positions_of_several_instruments_are_what_the_file_says(venue, written):
    made, stand_in = seeded(venue, read_accounts(written(*ROWS), venue))
    wallets = [stand_in.world.wallet(codes.FIRST_USER + k, 0) for k in range(5)]
    ann, bob, three, dan, eve = wallets
    assert made.summary.assets[0].accounts == 5 and set(ann.positions) == {0, 1}
    assert ann.cash == 150_250_000 and ann.positions[0].isolated_margin >= 2.5 * 27500 / 20 * 10**6
    assert bob.cash == 2_000_000_000, "margin of a cross position is cash of the wallet"
    assert bob.positions[0].leverage_e2 == 1406 and bob.positions[0].lots == -1000
    assert three.positions[0].isolated_margin == 3_000_000_000, "beyond the initial margin: transferred"
    assert dan.cash == 40_000_000_000
    assert (eve.positions[1].lots, eve.positions[1].isolated_margin, eve.cash) == (6_000, 2_000_000_000, 0)
    for wallet in wallets:
        assert not margin.is_breached(stand_in.world, wallet.unit)
        assert not any(margin.is_breached(stand_in.world, position.unit) for position in wallet.positions.values())
    assert made.summary.assets[0].by_positions == {"1": 4, "2": 1}
    assert made.summary.assets[0].top_ten_share == 1.0
    assert {one.entries.source for one in made.summary.instruments} == {"read from accounts.csv"}


def test_csv_and_parquet_give_the_same_accounts(venue, written, tmp_path):
    """Typed columns, other names of the file, an integer account: one content, one digest, one run id."""
    rows = ["7,BTCUSDT,-1.5,28000.5,12.5", "8,BTCUSDT,0.25,27999.9,3"]
    path = written(*rows, header="account,symbol,quantity,entry_price,leverage")
    frame = {
        "account": [7, 8],
        "symbol": ["BTCUSDT"] * 2,
        "quantity": [-1.5, 0.25],
        "entry_price": [28000.5, 27999.9],
        "leverage": [12.5, 3.0],
        "cash": [None, None],
    }
    polars.DataFrame(frame).write_parquet(tmp_path / "other.parquet")
    found = [read_accounts(p, venue) for p in (path, tmp_path / "other.parquet")]
    assert found[0].digest() == found[1].digest()
    events = [seeded(venue, accounts)[0].events.tobytes() for accounts in found]
    assert events[0] == events[1]
    assert found[0].digest() != read_accounts(written(*rows[::-1], header=path.read_text().split()[0]), venue).digest()
    table = {"profile": "binance_um", "feed": {"synthetic": {}}}
    ids = [
        run_id(build_scenario(table | {"population": {"accounts_from": name}}), "tape", found[0].digest())
        for name in ("accounts.csv", "elsewhere/other.parquet")
    ]
    assert ids[0] == ids[1] != run_id(build_scenario(table | {"population": {"accounts_from": "x"}}), "tape", "y")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (",BTCUSDT,,1,28000,10,,,", "account: is empty; expected a name"),
        ("x,XRPUSDT,,1,28000,10,,,", "symbol: 'XRPUSDT'; expected one of BTCUSDT, ETHUSDT"),
        ("x,BTCUSDT,up,1,28000,10,,,", "side: 'up'; expected long or short"),
        ("x,BTCUSDT,,0,28000,10,,,", "quantity: '0'; expected a multiple of 0.001"),
        ("x,BTCUSDT,,0.0005,28000,10,,,", "quantity: '0.0005'"),
        (
            "x,BTCUSDT,,20001,28000,1,,,",
            "quantity: '20001'; expected a multiple of 0.001 other than 0, up to 20000.000",
        ),
        ("x,BTCUSDT,,nan,28000,10,,,", "quantity: 'nan'"),
        (
            "x,BTCUSDT,long,-10,28000,10,,,",
            "quantity: '-10'; expected a quantity above 0, as side says long; or no side",
        ),
        ("x,BTCUSDT,sell,-1,28000,10,,,", "quantity: '-1'; expected a quantity above 0, as side says sell"),
        ("x,BTCUSDT,long,0,28000,10,,,", "quantity: '0'; expected a multiple of 0.001 other than 0"),
        ("x,BTCUSDT,,1,28000.05,10,,,", "entry_price: '28000.05'; expected a multiple of 0.1"),
        ("x,BTCUSDT,,1,-5,10,,,", "entry_price: '-5'"),
        ("x,BTCUSDT,,1,28000,126,,,", "leverage: '126'; expected 1 to 125"),
        ("x,BTCUSDT,,1000,28000,50,,,", "leverage: '50'; expected 1 to 10,"),
        ("x,BTCUSDT,,1,28000,0.5,,,", "leverage: '0.5'"),
        ("x,BTCUSDT,,1,28000,,,,", "leverage: is empty, and so is margin"),
        ("x,BTCUSDT,,1,28000,,100,,", "margin: '100'; expected at least 224.000000"),
        ("x,BTCUSDT,,1,28000,10,2000,,", "margin: '2000'; expected at least 2800.000000"),
        ("x,BTCUSDT,,1,28000,10,,both,", "mode: 'both'; expected cross or isolated"),
        ("x,BTCUSDT,,1,28000,10,,,-1", "cash: '-1'"),
        ("bob,BTCUSDT,,1,28000,10,,,", "symbol: 'bob' has BTCUSDT in line 3 already"),
        ("ann,BTCUSDT,,1,28000,10", "row: 6 cells; expected one for each column"),
    ],
)
def test_each_bad_row_is_named_by_line_and_column(venue, written, row, said):
    path = written(ROWS[0], ROWS[1], row, ROWS[4])
    with pytest.raises(FeedError) as caught:
        read_accounts(path, venue)
    assert f"\n  {path}:4: {said}" in str(caught.value) and "1 bad of 4 rows" in str(caught.value)


def test_cash_of_one_account_is_one_amount(venue, written):
    with pytest.raises(FeedError, match="accounts.csv:3: cash: '9'"):
        read_accounts(written(ROWS[0], ROWS[4].replace("150.25", "9")), venue)


def test_lines_are_those_of_the_file_and_at_most_twenty_are_listed(venue, written):
    bad = [f'"x\n{k}",BTCUSDT,,0,28000,10,,,' for k in range(SHOWN + 3)]  # two lines a row
    path = written(ROWS[0], "", *bad)
    with pytest.raises(FeedError) as caught:
        read_accounts(path, venue)
    text = str(caught.value)
    assert f"{path}:5: quantity" in text and f"{path}:{5 + 2 * (SHOWN - 1)}: quantity" in text
    assert text.count("quantity: '0'") == SHOWN and text.endswith("and 3 more") and "23 bad of 24 rows" in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"account,symbol,quantity\n", "expected account, symbol, quantity, entry_price"),
        (HEADER.encode() + b",shoe_size\n", "shoe_size"),
        (HEADER.encode() + b",cash\n", "each once"),
        (HEADER.encode() + b"\n", "no rows below the header"),
        (b"PAR1 broken", "cannot be read as Parquet"),
        (b"\xff\xfe\xfa", "is neither text nor Parquet"),
    ],
)
def test_what_is_no_table_of_accounts_is_refused(venue, tmp_path, content, said):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(FeedError) as caught:
        read_accounts(path, venue)
    assert said in str(caught.value) and caught.value.exit_code == 3


def test_accounts_at_or_below_maintenance_are_refused_by_line(venue, written):
    rows = ["low,BTCUSDT,,1,29000,30,,isolated,", ROWS[1], "broke,BTCUSDT,,1,28000,10,,cross,100"]
    accounts = read_accounts(written(*rows), venue)
    with pytest.raises(FeedError) as caught:
        seeded(venue, accounts)
    text = str(caught.value)
    assert "accounts.csv:2: margin: 'low'" in text and "accounts.csv:4: margin: 'broke'" in text
    assert "accounts.csv:3" not in text and "2 bad of 3 rows" in text


@pytest.mark.parametrize("hedgers", [1, 3])
def test_hedgers_are_funded_for_the_tier_of_what_they_hold(venue, written, hedgers):
    """560 million USDT: at the default leverage of 3 a hedger alone would be below its maintenance of 30 %."""
    accounts = read_accounts(written("whale,BTCUSDT,,20000,28000,1,,cross,"), venue)
    made, stand_in = seeded(venue, accounts, hedgers=hedgers)
    assert stand_in.liquidating() == []
    for account in made.hedgers:
        wallet = stand_in.world.wallet(account, 0)
        held, value = wallet.positions[0], abs(margin.position_value(stand_in.world, wallet.positions[0]))
        tier = next(t for t in reversed(config.compile_venue(venue).tiers.tolist()) if t[0] <= value)
        assert held.leverage_e2 == min(300, tier[3] // 100 * 100) and stand_in.equity(account) >= value // 3


def test_a_hedger_that_no_margin_keeps_healthy_is_refused(written):
    table = config.load_profile("binance_um")
    table["instruments"][0]["tiers"] = [{"floor": "0", "maintenance_ppm": 990_000, "leverage_max": 1}]
    venue = config.build_venue(table | {"capacity": {"accounts": 200, "positions": 200}})
    accounts = read_accounts(written("long,BTCUSDT,,1,0.2,1,9000,cross,"), venue)
    with pytest.raises(ConfigError, match="maintenance") as caught:
        seeded(venue, accounts, marks=(299,), hedgers=1)
    assert caught.value.where == "$.population.hedgers"


def test_margin_cannot_be_set_apart_from_a_wallet_that_lacks_initial_margin(venue, written):
    accounts = read_accounts(written("x,BTCUSDT,,1,28000,10,,cross,2000", "x,ETHUSDT,,1,1900,10,500,isolated,"), venue)
    with pytest.raises(FeedError, match="accounts.csv:3: margin: 'x' has cross positions"):
        seeded(venue, accounts)


def test_positions_in_an_instrument_that_is_not_in_the_feed_are_refused(venue, written):
    with pytest.raises(ConfigError, match="positions in ETHUSDT, of which the feed has no book; add its capture"):
        seeded(venue, read_accounts(written(*ROWS), venue), marks=(MARK_SUB, 0))


def test_a_bad_file_is_exit_code_3_and_leaves_nothing(tmp_path, capsys, written):
    path = written("x,BTCUSDT,,0,28000,10,,,")
    assert main(["run", "cascade", "--accounts-from", str(path), "-o", str(tmp_path / "run")]) == 3
    assert f"{path}:2: quantity" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
