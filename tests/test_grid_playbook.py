"""What a playbook says of the venue's own stress grid: who is bound by which scenario, what correlation at one asks."""

import numpy as np
import pytest

from exchange import stress
from exchange.core.views import unit_health
from exchange.venue import Exchange
from replay import playbook_view
from replay.grid_playbook import Held, grid_sections
from replay.playbook import playbook
from replay.stress import Plan, groups_of, shocks_of
from tests.desk import Desk
from tests.test_portfolio import A, B, SEVERAL, crowd_of, desk_of, grid, group


def sections(exchange, count=5):
    return grid_sections(exchange, stress.live_units(exchange.state), count)


@pytest.mark.parametrize("seed", range(2))
def test_every_wallet_that_can_lose_is_bound_once_by_the_loss_of_its_printed_grid(seed):
    desk, accounts = crowd_of(np.random.default_rng(seed), SEVERAL)
    before = desk.exchange.state_digest()
    bound, (at_one,) = sections(desk.exchange)
    shown = [desk.exchange.portfolio_margin(account) for account in accounts]
    assert sum(row.wallets for row in bound) == sum(one.loss > 0 for one in shown)
    assert sum(row.loss for row in bound) == sum(one.loss for one in shown)
    assert {row.mode for row in bound} > {"sum"} and all((row.scenario < 0) == (row.mode == "sum") for row in bound)
    assert at_one.at_one.maintenance == sum(one.maintenance for one in shown)
    assert desk.exchange.state_digest() == before


@pytest.mark.parametrize(("modes", "other"), [
    (["one_factor", "rho_one"], ["one_factor"]), (["flipped", "rho_one"], ["flipped"]), (["one_factor"], ["one_factor"])])
def test_without_the_mode_and_with_it_wallets_hold_what_venues_with_those_modes_ask(modes, other):
    asked = {}
    for chosen in (other, [*other, "rho_one"]):
        desk, accounts = crowd_of(np.random.default_rng(5), chosen)
        shown = [desk.exchange.portfolio_margin(account) for account in accounts]
        asked[len(chosen)] = np.array([one.maintenance for one in shown])
    desk, _ = crowd_of(np.random.default_rng(5), modes)
    _, (found,) = sections(desk.exchange)
    assert (found.diversified.maintenance, found.at_one.maintenance) == (asked[1].sum(), asked[2].sum())
    assert found.raised == (asked[2] > asked[1]).sum() > 0


def test_who_is_breached_only_when_correlation_goes_to_one_is_named():
    """A hedge by betas: long both, of which one falls as the other rises. Moving together they lose a fifth."""
    groups = (group("A", "P0"), group("B", "P1", beta_ppm=-1_000_000))
    desk = desk_of(Exchange, grid(*groups, modes=["one_factor"], factor_range_ppm=100_000), money=150_000)
    desk.seed(A, A + 2, 1_000, 10)
    desk.seed(A, A + 2, 1_000, 10, 1)
    bound, (found,) = sections(desk.exchange)
    assert bound == [], "the one factor takes nothing from it"
    assert (found.diversified, found.at_one) == (Held(0, 0), Held(200_000, 1)) and found.who == [A]
    assert unit_health(desk.state, A) == 150_000


def test_a_venue_that_knows_only_correlation_at_one_has_nothing_to_compare_it_with():
    desk = desk_of(Exchange, grid(group("A", "P0"), group("B", "P1")))
    desk.seed(A, B, 1_000, 10)
    _, (found,) = sections(desk.exchange)
    assert found.diversified is None and found.at_one == Held(100_000, 0) and found.raised == 0


def test_without_wallets_in_the_mode_there_is_nothing_to_say():
    desk = Desk(1, None, Exchange)
    desk.fund(A, B, money=10**9)
    desk.mark(1_000)
    desk.seed(A, B, 1_000, 10)
    assert sections(desk.exchange) == ([], [])


def test_the_playbook_shows_the_grid():
    desk, _ = crowd_of(np.random.default_rng(0), SEVERAL)
    venue, plan = desk.exchange.venue, Plan()
    groups = groups_of(plan, venue)
    document = playbook(desk.exchange, groups, shocks_of(plan, groups, venue), 2, ("name", "", 0, 0))
    titles = [str(one.title) for one in playbook_view.playbook_tables(document, venue)]
    assert sum("portfolio margin" in title for title in titles) == 2
    assert (document.grid, document.grid_at_one) == sections(desk.exchange, 2)
