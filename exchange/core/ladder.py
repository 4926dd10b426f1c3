"""A price ladder: a 64-way bitmap tree over price-indexed levels, four words deep. Used by the book and by the guards.

A set bit at depth 0 is a non-empty level; a set bit above it is a non-zero word below. Tick 0 is never set, so 0 means
none. Four depths hold 64**4 levels under each top word; the few top words are scanned.
"""

import numpy as np

from exchange.core.kernel import high_bit, leaf, low_bit

ONE = np.uint64(1)
ALL = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


@leaf
def bit(i):
    return ONE << np.uint64(i & 63)


@leaf
def mark_level(words, ladder, ticks):
    """Record that a level is no longer empty. Mutates `words`."""
    words[ladder["word_base0"] + (ticks >> 6)] |= bit(ticks)
    words[ladder["word_base1"] + (ticks >> 12)] |= bit(ticks >> 6)
    words[ladder["word_base2"] + (ticks >> 18)] |= bit(ticks >> 12)
    words[ladder["word_base3"] + (ticks >> 24)] |= bit(ticks >> 18)


@leaf
def clear_level(words, ladder, ticks):
    """Record that a level is empty. Mutates `words`."""
    at = ladder["word_base0"] + (ticks >> 6)
    words[at] &= ~bit(ticks)
    if words[at] == 0:
        at = ladder["word_base1"] + (ticks >> 12)
        words[at] &= ~bit(ticks >> 6)
        if words[at] == 0:
            at = ladder["word_base2"] + (ticks >> 18)
            words[at] &= ~bit(ticks >> 12)
            if words[at] == 0:
                words[ladder["word_base3"] + (ticks >> 24)] &= ~bit(ticks >> 18)


@leaf
def below_or_at(words, base, i):
    """Index of the highest set bit at or below i in the row of words from base, within i's own word; -1 = none."""
    word = words[base + (i >> 6)] & (ALL >> np.uint64(63 - (i & 63)))
    if word == 0:
        return np.int64(-1)
    return (i >> 6 << 6) + high_bit(word)


@leaf
def above_or_at(words, base, i):
    """Index of the lowest set bit at or above i, within i's own word; -1 = none."""
    word = words[base + (i >> 6)] & (ALL << np.uint64(i & 63))
    if word == 0:
        return np.int64(-1)
    return (i >> 6 << 6) + low_bit(word)


@leaf
def highest_in(words, base, i):
    """Index of the highest set bit of word i of a row; the word is not zero."""
    return (i << 6) + high_bit(words[base + i])


@leaf
def lowest_in(words, base, i):
    return (i << 6) + low_bit(words[base + i])


@leaf
def find_down(words, ladder, ticks):
    """The highest non-empty level at or below `ticks`; 0 = none."""
    base0, base1 = np.int64(ladder["word_base0"]), np.int64(ladder["word_base1"])
    base2, base3 = np.int64(ladder["word_base2"]), np.int64(ladder["word_base3"])
    found = below_or_at(words, base0, ticks)
    if found >= 0:
        return found
    i = (ticks >> 6) - 1
    if i < 0:
        return np.int64(0)
    found = below_or_at(words, base1, i)
    if found < 0:
        i = (i >> 6) - 1
        if i < 0:
            return np.int64(0)
        found = below_or_at(words, base2, i)
        if found < 0:
            i = (i >> 6) - 1
            if i < 0:
                return np.int64(0)
            found = below_or_at(words, base3, i)
            top = (i >> 6) - 1
            while found < 0 and top >= 0:
                if words[base3 + top] != 0:
                    found = highest_in(words, base3, top)
                top -= 1
            if found < 0:
                return np.int64(0)
            found = highest_in(words, base2, found)
        found = highest_in(words, base1, found)
    return highest_in(words, base0, found)


@leaf
def find_up(words, ladder, ticks):
    """The lowest non-empty level at or above `ticks`; 0 = none."""
    base0, base1 = np.int64(ladder["word_base0"]), np.int64(ladder["word_base1"])
    base2, base3 = np.int64(ladder["word_base2"]), np.int64(ladder["word_base3"])
    ticks_max = np.int64(ladder["ticks_max"])
    found = above_or_at(words, base0, ticks)
    if found >= 0:
        return found
    i = (ticks >> 6) + 1
    if i > ticks_max >> 6:
        return np.int64(0)
    found = above_or_at(words, base1, i)
    if found < 0:
        i = (i >> 6) + 1
        if i > ticks_max >> 12:
            return np.int64(0)
        found = above_or_at(words, base2, i)
        if found < 0:
            i = (i >> 6) + 1
            if i > ticks_max >> 18:
                return np.int64(0)
            found = above_or_at(words, base3, i)
            top = (i >> 6) + 1
            while found < 0 and top < ladder["top_words"]:
                if words[base3 + top] != 0:
                    found = lowest_in(words, base3, top)
                top += 1
            if found < 0:
                return np.int64(0)
            found = lowest_in(words, base2, found)
        found = lowest_in(words, base1, found)
    return lowest_in(words, base0, found)
