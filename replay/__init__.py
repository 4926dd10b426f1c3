"""Replays recorded and synthetic feeds through the venue, with a population of leveraged accounts on them."""

__version__ = "0.1.0"
