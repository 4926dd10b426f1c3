"""Messages of Binance's streams for hand-written captures."""

from replay.tape import InstrumentSpec

BTC = InstrumentSpec("BTCUSDT", "0.1", "0.001", 100)
ETH = InstrumentSpec("ETHUSDT", "0.01", "0.001", 100)
START = 1_680_652_700_000_000  # local stamps in microseconds
SNAPSHOT = {
    "lastUpdateId": 100,
    "E": 1680652700000,
    "T": 1680652699999,
    "bids": [["10.0", "1.000"], ["9.9", "2.000"]],
    "asks": [["10.2", "3.000"]],
}


def event(name, **fields):
    return {"stream": "btcusdt@x", "data": {"e": name, "E": 1680652700001, "s": "BTCUSDT"} | fields}


def depth(first, last, previous, bids=(), asks=()):
    chain = {} if previous is None else {"pu": previous, "T": 1680652700000}
    return event("depthUpdate", U=first, u=last, b=[list(b) for b in bids], a=[list(a) for a in asks], **chain)


def trade(price="10.1", size="0.005", kind="MARKET", sold=True):
    return event("trade", T=1680652700000, t=1, p=price, q=size, X=kind, m=sold)


def mark(rate, next_ms, price="10.12345678", index="10.2", now=1680652700001):
    return event("markPriceUpdate", E=now, p=price, i=index, r=rate, T=next_ms, P="10.1")


def force(**order):
    fields = {
        "s": "BTCUSDT",
        "S": "SELL",
        "o": "LIMIT",
        "f": "IOC",
        "q": "0.010",
        "p": "9.5",
        "ap": "9.87",
        "X": "FILLED",
        "l": "0.004",
        "z": "0.009",
        "T": 1680652700000,
    }
    return {"stream": "btcusdt@forceOrder", "data": {"e": "forceOrder", "E": 1680652700001, "o": fields | order}}
