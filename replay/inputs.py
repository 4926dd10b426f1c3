"""What a population is made of beside its numbers: kline files and account files."""

import hashlib
from pathlib import Path

import msgspec

from replay.accounts import Accounts, read_accounts
from replay.klines import Klines, read_klines
from replay.scenario import Scenario


class Inputs(msgspec.Struct, frozen=True):
    """Files of `$.population`, read."""

    klines: Klines | None = None
    accounts: Accounts | None = None

    def digest(self) -> str:
        """Hash of their content; empty without any."""
        parts = [part.digest() for part in (self.klines, self.accounts) if part is not None]
        return hashlib.sha256("".join(parts).encode()).hexdigest() if parts else ""


NO_INPUTS = Inputs()


def open_inputs(scenario: Scenario) -> Inputs:
    """Read the files that the scenario's population names.

    Raises
    ------
    FeedError
        At `file:line`, when a file cannot be used.
    """
    population = scenario.population
    klines = accounts = None
    if population is not None and population.history:
        klines = read_klines([Path(file) for file in population.history])
    if population is not None and population.accounts_from:
        accounts = read_accounts(Path(population.accounts_from), scenario.venue)
    return Inputs(klines, accounts)
