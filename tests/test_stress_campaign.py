"""What-if reads on the venues and streams of the campaign: every model, collateral, options; and nothing changes."""

import pytest

from exchange.switch import switched
from replay import playbook
from replay.stress import Plan, groups_of, shocks_of
from tests.campaign.what_if import lived, reads
from tests.desk import every_byte


@pytest.mark.parametrize("seed", range(1, 13))
def test_reads_say_what_the_venue_says_and_change_no_byte(seed):
    reads(seed)


@pytest.mark.parametrize("seed", range(1, 9))
def test_a_playbook_and_a_switch_change_no_byte_of_the_venue(seed):
    exchange = lived(seed)
    before, digest = every_byte(exchange.state), exchange.state_digest()
    groups = groups_of(Plan(), exchange.venue)
    document = playbook.playbook(exchange, groups, shocks_of(Plan(), groups, exchange.venue), 3, ("", "", 0, 0))
    assert sum(row.binds_units for row in document.scenarios) == document.units
    assert not switched(exchange, exchange.venue).breaches.any()
    assert exchange.state_digest() == digest
    after = every_byte(exchange.state)
    assert [name for name in before if before[name] != after[name]] == []
