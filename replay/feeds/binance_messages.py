"""The JSON of Binance's streams as typed Structs. Levels stay raw text: the kernels parse them in bulk."""

from collections import Counter
from typing import Annotated, Any

import msgspec

Millis = Annotated[int, msgspec.Meta(ge=0, le=4_102_444_800_000)]  # to the year 2100, so that nanoseconds fit
UpdateId = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class _Event(msgspec.Struct, tag_field="e", forbid_unknown_fields=True, gc=False, kw_only=True):
    s: str
    E: Millis = 0
    T: Millis = 0
    ps: str = ""
    st: Any = None


class DepthUpdate(_Event, tag="depthUpdate", gc=False, kw_only=True):
    U: UpdateId
    u: UpdateId
    pu: Annotated[int, msgspec.Meta(ge=-1, le=2**62)] | None = None  # futures only: the chain's own rule
    b: msgspec.Raw
    a: msgspec.Raw


class Trade(_Event, tag="trade", gc=False, kw_only=True):
    t: int
    p: str
    q: str
    m: bool
    X: str = "MARKET"
    M: bool = True
    a: int = 0
    b: int = 0


class AggTrade(_Event, tag="aggTrade", gc=False, kw_only=True):
    a: int
    p: str
    q: str
    f: int
    l: int
    m: bool
    M: bool = True
    nq: str = ""


class BookTicker(_Event, tag="bookTicker", gc=False, kw_only=True):
    u: UpdateId
    b: str
    B: str
    a: str
    A: str


class MarkPrice(_Event, tag="markPriceUpdate", gc=False, kw_only=True):
    p: str
    i: str = ""
    P: str = ""
    r: str = ""
    ap: str = ""


class ForcedOrder(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The order inside a forceOrder event: `ap` is its average price, `z` what it filled."""

    s: str
    S: str
    q: str
    p: str
    ap: str
    z: str
    o: str = ""
    f: str = ""
    X: str = ""
    l: str = ""
    T: Millis = 0
    ps: str = ""
    st: Any = None


class ForceOrder(msgspec.Struct, tag_field="e", tag="forceOrder", forbid_unknown_fields=True, gc=False):
    o: ForcedOrder
    E: Millis = 0
    st: Any = None
    ps: str = ""


class SpotBookTicker(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Spot sends neither event type nor time."""

    u: UpdateId
    s: str
    b: str
    B: str
    a: str
    A: str
    E: Millis = 0
    T: Millis = 0


class Snapshot(msgspec.Struct, forbid_unknown_fields=True):
    """The answer of the REST depth call, as recorders put it between the stream's lines."""

    lastUpdateId: UpdateId
    bids: msgspec.Raw
    asks: msgspec.Raw
    E: Millis = 0
    T: Millis = 0
    symbol: str = ""
    pair: str = ""


AnyEvent = DepthUpdate | Trade | AggTrade | BookTicker | MarkPrice | ForceOrder
EVENTS: dict[str, type] = {
    "depthUpdate": DepthUpdate,
    "trade": Trade,
    "aggTrade": AggTrade,
    "bookTicker": BookTicker,
    "markPriceUpdate": MarkPrice,
    "forceOrder": ForceOrder,
}


class _Envelope(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    data: AnyEvent
    stream: str = ""


class _SpotEnvelope(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    data: SpotBookTicker
    stream: str = ""


BAD_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_decode_event = msgspec.json.Decoder(_Envelope).decode
_decode_spot = msgspec.json.Decoder(_SpotEnvelope).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Decoder:
    """Lines to messages: one strict pass for what is known, a slow second look at everything else.

    `unknown_keys` counts keys by "event.key", `unknown_events` messages of kinds that this reader does not know.
    """

    def __init__(self) -> None:
        self.unknown_keys: Counter[str] = Counter()
        self.unknown_events: Counter[str] = Counter()

    def decode(self, text: bytes) -> Any:
        """The message of a line: None for an unknown kind, a list for the array messages of all-market streams.

        Raises
        ------
        msgspec.DecodeError, UnicodeDecodeError, RecursionError
            Where the text is no JSON object or a known message lacks a field.
        """
        try:
            return _decode_event(text).data
        except msgspec.ValidationError:
            pass
        try:
            return _decode_spot(text).data
        except msgspec.ValidationError:
            return self._decode_slowly(text)

    def _decode_slowly(self, text: bytes) -> Any:
        envelope = _decode_object(text)
        if "data" not in envelope:
            return self._decode_body(envelope)
        body = envelope.pop("data")
        envelope.pop("stream", None)
        self.unknown_keys.update(f"envelope.{key}" for key in envelope)
        if not bytes(body).startswith(b"["):
            return self._decode_body(_decode_object(body))
        several = [self._decode_body(_decode_object(one)) for one in _decode_list(body)]
        return [message for message in several if message is not None]

    def _decode_body(self, fields: dict[str, Any]) -> Any:
        """One message, unknown keys counted and left out; None for an unknown kind."""
        name = msgspec.json.decode(fields["e"], type=str) if "e" in fields else ""
        if "lastUpdateId" in fields and not name:
            return self._known("depth", Snapshot, fields)
        if not name and {"u", "s", "b", "B", "a", "A"} <= fields.keys():
            return self._known("bookTicker", SpotBookTicker, fields)
        if name not in EVENTS:
            self.unknown_events[name or "(no event type)"] += 1
            return None
        if name == "forceOrder" and "o" in fields:
            order = _decode_object(fields["o"])
            fields["o"] = self._strip("forceOrder.o", ForcedOrder, order)
        return self._known(name, EVENTS[name], fields)

    def _known(self, name: str, kind: type, fields: dict[str, Any]) -> Any:
        return msgspec.json.decode(msgspec.json.encode(self._strip(name, kind, fields)), type=kind)

    def _strip(self, name: str, kind: type, fields: dict[str, Any]) -> dict[str, Any]:
        known = {field.encode_name for field in msgspec.structs.fields(kind)}
        if name in EVENTS and kind is EVENTS[name]:
            known.add("e")
        self.unknown_keys.update(f"{name}.{key}" for key in fields if key not in known)
        return {key: value for key, value in fields.items() if key in known}
