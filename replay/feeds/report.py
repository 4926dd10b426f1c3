"""What a reader found in its files: kept with the tape, printed by `validate`."""

import msgspec


class DepthGap(msgspec.Struct, frozen=True):
    """A place where the depth chain breaks. The book is dropped there until the next snapshot."""

    file: str
    row: int
    symbol: str
    expected: int
    got: int
    reason: str


class ReadReport(msgspec.Struct, kw_only=True):
    """Counts of one reading session. Times are local receive times in nanoseconds."""

    feed: str
    files: list[str] = []
    lines: int = 0
    messages: dict[str, int] = {}  # by event type
    rows: dict[str, int] = {}  # tape rows by kind
    first_ns: int = 0
    last_ns: int = 0
    clock_offset_ns: int = 0  # median of local - exchange; negative where the recorder's clock is behind
    file_offsets_ns: list[int] = []  # the same, file by file
    stamps_clamped: int = 0  # local stamps that went back and were set to the one before
    stamps_clamped_max_ns: int = 0
    gap_count: int = 0
    gaps: list[DepthGap] = []  # the first thousand
    snapshots: int = 0
    snapshots_redundant: int = 0  # not newer than an unbroken book: left out
    depth_dropped: int = 0  # depth messages lost because no snapshot was known
    depth_superseded: int = 0  # depth messages that the snapshot after them held already
    evidence_prints: int = 0
    evidence_lots: int = 0
    empty_prints: int = 0  # prints of size 0: left out
    forced_orders: int = 0
    funding_settlements: int = 0
    funding_moved: int = 0  # the next settlement was moved before it was reached: nothing is paid
    aggregated_left_out: int = 0  # aggTrade rows of symbols that also have a trade stream
    other_symbols: dict[str, int] = {}  # in all-market streams only
    unknown_keys: dict[str, int] = {}
    unknown_events: dict[str, int] = {}
