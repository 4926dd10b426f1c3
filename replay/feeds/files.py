"""Capture files as blocks of lines: plain or gzip, read in bounded memory, hashed on the way."""

import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path

from exchange.errors import FeedError
from replay.tape import Source

BLOCK_BYTES = 4 << 20
LINE_BYTES_MAX = 8 << 20  # a snapshot of 5,000 levels a side is 0.3 MB
TEXT_BYTES_MAX = 1 << 38
RATIO_MAX = 200  # captures compress 5 to 15 times; a zlib bomb 1,000 times
RATIO_FREE_BYTES = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"


class CaptureFile:
    """One capture. `blocks()` yields lists of lines once; `source` is known after the last of them."""

    def __init__(self, path: Path, text_bytes_max: int = TEXT_BYTES_MAX):
        self.name = Path(path).name
        self.row = 0  # lines given out so far
        self._path = Path(path)
        self._text_max = text_bytes_max
        self._hash = hashlib.sha256()
        self._size = 0

    @property
    def source(self) -> Source:
        return Source(self.name, self._size, self._hash.hexdigest())

    def blocks(self) -> Iterator[list[bytes]]:
        """Yield the lines without their ends, in lists of about four megabytes. A last line needs no end."""
        rest = b""
        for text in self._texts():
            lines = (rest + text).split(b"\n") if rest else text.split(b"\n")
            rest = lines.pop()
            if len(rest) > LINE_BYTES_MAX:
                raise FeedError(
                    f"{self.name}:{self.row + len(lines) + 1}", f"a line longer than {LINE_BYTES_MAX} bytes"
                )
            if lines:
                yield lines
                self.row += len(lines)
        if rest:
            yield [rest]
            self.row += 1

    def _chunks(self) -> Iterator[bytes]:
        if not self._path.is_file():
            raise FeedError(self.name, "no such file, or not a regular one")
        with open(self._path, "rb") as file:
            while chunk := file.read(BLOCK_BYTES):
                self._hash.update(chunk)
                self._size += len(chunk)
                yield chunk

    def _texts(self) -> Iterator[bytes]:
        chunks = self._chunks()
        first = next(chunks, b"")
        total = 0
        for text in self._gunzip(first, chunks) if first.startswith(GZIP_MAGIC) else _chain(first, chunks):
            total += len(text)
            if total > self._text_max:
                raise FeedError(f"{self.name}:{self.row + 1}", f"more than {self._text_max} bytes of text")
            if total > RATIO_FREE_BYTES and total > RATIO_MAX * self._size:
                raise FeedError(
                    f"{self.name}:{self.row + 1}", f"decompresses more than {RATIO_MAX} times: not a capture"
                )
            yield text

    def _gunzip(self, first: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Decompress member after member. `max_length` bounds each piece, whatever the file claims."""
        stream = zlib.decompressobj(31)
        last = b""
        for data in _chain(first, chunks):
            while data:
                if stream.eof:
                    stream = zlib.decompressobj(31)
                try:
                    text = stream.decompress(data, BLOCK_BYTES)
                except zlib.error as error:
                    raise FeedError(
                        f"{self.name}:{self.row + 1}", f"bad gzip after {self.row} good rows: {error}"
                    ) from None
                data = stream.unused_data if stream.eof else stream.unconsumed_tail
                last = text[-1:] or last
                if text:
                    yield text
        if not stream.eof and (text := stream.flush()):  # a match that was copied half when the last piece was full
            last = text[-1:]
            yield text
        if not stream.eof:
            good = f"{self.row} good rows" + ("" if last in (b"", b"\n") else " and a part of one")
            raise FeedError(f"{self.name}:{self.row + 1}", f"truncated gzip: it ends after {good}")


def _chain(first: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from chunks


def head(path: Path, size: int = 4096) -> bytes:
    """The first bytes of a capture's text, for telling feeds apart. Short or empty when the file is."""
    if not Path(path).is_file():
        raise FeedError(Path(path).name, "no such file, or not a regular one")
    with open(path, "rb") as file:
        data = file.read(size)
    if not data.startswith(GZIP_MAGIC):
        return data
    try:
        return zlib.decompressobj(31).decompress(data, size)
    except zlib.error as error:
        raise FeedError(Path(path).name, f"bad gzip: {error}") from None
