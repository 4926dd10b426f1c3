"""Typed errors. Each says what, where, what was expected, and knows its exit code."""


class DeleverageError(Exception):
    """Base of every error a user can cause; `exit_code` is what the command line returns."""

    exit_code = 1


class ConfigError(DeleverageError):
    """A configuration that cannot be used. `where` is a path such as `$.venue.instruments[0].tick`."""

    exit_code = 2

    def __init__(self, where: str, message: str):
        super().__init__(f"{where}: {message}")
        self.where = where


class FeedError(DeleverageError):
    """A feed file that cannot be read. `where` is `file:row`."""

    exit_code = 3

    def __init__(self, where: str, message: str):
        super().__init__(f"{where}: {message}")
        self.where = where


class InvariantError(DeleverageError):
    """An invariant of the venue does not hold: a bug here, never the user's."""

    exit_code = 4
