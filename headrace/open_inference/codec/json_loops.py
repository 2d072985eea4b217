"""The loop that finds lists of numbers in a JSON text and reads them, as machine code.

It reads what the member "data" of an object is, where that is a list of numbers and nulls, or of such lists of one
length. What it reads is what orjson reads, to the bit. Anything else ends the list's reading: it is left to
orjson, to be read or refused.
"""

from __future__ import annotations

import numpy as np

from headrace.compiled import LONG, OUT_DOUBLES, OUT_LONGS, OUT_WORDS, TEXT, compiled, inlined
from headrace.open_inference.codec.decimals import MOST_DIGITS, bit_length, nearest
from headrace.open_inference.codec.json_numbers import PADDING

_OPEN, _CLOSE, _COMMA, _COLON, _QUOTE, _BACKSLASH = b'[],:"\\'
_MINUS, _PLUS, _DOT, _ZERO = b"-+.0"
_D, _A, _T, _E, _N, _U, _L = b"datenul"
_UNREAD = -1  # in place of where something ends: it is not read
_TEN, _LARGEST = np.uint64(10), np.uint64(2**63 - 1)
_SCALES = np.array([10**count for count in range(9)], np.uint64)
_PAIRS = np.uint64(0x000000FF000000FF)
#: One byte eight times: the digit 0, an opening bracket, 1, the top bit, and what takes 10 and more to the top bit.
_CODES, _OPENS, _ONES, _TOPS, _TO_TOP = (np.uint64(byte * 0x0101010101010101) for byte in (48, 91, 1, 128, 118))


@inlined
def _byte(text: np.ndarray, at: int) -> int:
    return text[np.uint64(at)]  # an index without a sign is not looked at for being negative: twice as fast


@inlined
def _is_blank(byte: int) -> bool:
    return byte == 0x20 or byte == 0x0A or byte == 0x0D or byte == 0x09


@inlined
def _after_blanks(text: np.ndarray, at: int) -> int:
    while _is_blank(_byte(text, at)):
        at += 1
    return at


@inlined
def _eight(text: np.ndarray, at: int) -> np.uint64:
    """Return the next eight bytes as a word, the first as its lowest byte."""
    word = np.uint64(0)
    for place in range(8):  # becomes one instruction
        word |= np.uint64(text[np.uint64(at) + np.uint64(place)]) << np.uint64(8 * place)
    return word


@inlined
def _place(bits: np.uint64) -> int:
    """Return in which byte of a word its lowest bit is that is set, the lowest byte being 0."""
    return bit_length(bits - np.uint64(1) & ~bits) >> 3


@inlined
def _value(word: np.uint64) -> np.uint64:
    """Return the number that eight digits are, a byte each, the first in the lowest: pairs, fours, all in one."""
    word = word * _TEN + (word >> np.uint64(8))
    upper, lower = word >> np.uint64(16) & _PAIRS, word & _PAIRS
    return (lower * np.uint64(100 + (10**6 << 32)) + upper * np.uint64(1 + (10**4 << 32))) >> np.uint64(32)


@inlined
def _digits(text: np.ndarray, at: int, before: np.uint64) -> tuple[int, np.uint64]:
    """Return where digits end, and their number with those before them; more than fit a word give any.

    They are read by eight, because a processor guesses badly how many there are.
    """
    while True:
        word = _eight(text, at) ^ _CODES
        other = (word + _TO_TOP | word) & _TOPS  # its lowest bit that is set is in the first byte that is no digit
        if other == np.uint64(0):
            at, before = at + 8, before * _SCALES[8] + _value(word)
            continue
        count = _place(other)
        word = word << np.uint64(8 * (7 - count)) << np.uint64(8)  # zeros before them
        return at + count, before * _SCALES[count] + _value(word)


@inlined
def _exponent(text: np.ndarray, at: int) -> tuple[int, int | np.int64]:
    """Return where the exponent ends whose sign or first digit is here, and the exponent."""
    minus = _byte(text, at) == _MINUS
    if minus or _byte(text, at) == _PLUS:
        at += 1
    end, power = _digits(text, at, np.uint64(0))
    if not 0 < end - at <= 4:
        return _UNREAD, 0
    return end, -np.int64(power) if minus else np.int64(power)


@inlined
def _number(text: np.ndarray, at: int) -> tuple[int, bool, int | np.int64, float]:
    """Return where a number or null ends, whether it is an integer, and it as one or as a float64."""
    if _byte(text, at) == _N and _byte(text, at + 1) == _U and _byte(text, at + 2) == _L and _byte(text, at + 3) == _L:
        return at + 4, False, 0, np.nan
    minus = _byte(text, at) == _MINUS
    first = at + minus
    at, digits = _digits(text, first, np.uint64(0))
    if at == first or (_byte(text, first) == _ZERO and at > first + 1):
        return _UNREAD, False, 0, 0.0
    count = at - first
    if _byte(text, at) != _DOT and _byte(text, at) | 0x20 != _E:
        if count > MOST_DIGITS or digits > _LARGEST:
            return _UNREAD, False, 0, 0.0
        return at, True, -np.int64(digits) if minus else np.int64(digits), 0.0
    power = 0
    if _byte(text, at) == _DOT:
        dot = at
        at, digits = _digits(text, dot + 1, digits)
        power = dot + 1 - at
        if power == 0:
            return _UNREAD, False, 0, 0.0
        count -= power
    if count > MOST_DIGITS:
        while _byte(text, first) == _ZERO or _byte(text, first) == _DOT:
            count -= _byte(text, first) == _ZERO
            first += 1
        if count > MOST_DIGITS:
            return _UNREAD, False, 0, 0.0
    if _byte(text, at) | 0x20 == _E:
        at, exponent = _exponent(text, at + 1)
        power += exponent
    value = nearest(digits, power)
    if value != value:
        return _UNREAD, False, 0, 0.0
    return at, False, 0, -value if minus else value


@inlined
def _numbers(
    text: np.ndarray, at: int, words: np.ndarray, floats: np.ndarray, begin: int, whole: bool
) -> tuple[int, int, bool]:
    """Read the numbers up to the bracket that closes them: where it is, where they end in `words`, are all integers."""
    to = begin
    while True:
        at, integer, word, value = _number(text, _after_blanks(text, at))
        if at == _UNREAD:
            return _UNREAD, to, whole
        if integer and whole:
            words[to] = word
        else:
            if whole:  # up to here
                for each in range(to):
                    floats[each] = words[each]
                whole = False
            floats[to] = word if integer else value
        to += 1
        at = _after_blanks(text, at)
        if _byte(text, at) != _COMMA:
            return at if _byte(text, at) == _CLOSE else _UNREAD, to, whole
        at += 1


@inlined
def _list(text: np.ndarray, at: int, last: int, words: np.ndarray, floats: np.ndarray) -> tuple[int, int, int, bool]:
    """Read the list that begins here: where it ends, how many rows and numbers it has, are all integers.

    A flat list has 0 rows. No list ends beyond `last`, the text's last closing bracket, which is part of no number.
    """
    rows, columns, size, whole = 0, 0, 0, True
    row = _after_blanks(text, at + 1)
    flat = _byte(text, row) != _OPEN
    at = at if flat else row
    while _byte(text, at) == _OPEN:
        begin = size
        at, size, whole = _numbers(text, at + 1, words, floats, begin, whole)
        if flat and at != _UNREAD:
            return at + 1, 0, size, whole
        columns = columns or size - begin
        if at in (_UNREAD, last) or size - begin != columns:
            break
        rows += 1
        at = _after_blanks(text, at + 1)
        if _byte(text, at) == _CLOSE:
            return at + 1, rows, size, whole
        if _byte(text, at) != _COMMA:
            break
        at = _after_blanks(text, at + 1)
    return _UNREAD, 0, 0, whole


@inlined
def _next_list(text: np.ndarray, at: int, last: int) -> int:
    """Return where the next opening bracket is, from here on; beyond `last` if there is none."""
    while at <= last:
        word = _eight(text, at) ^ _OPENS
        brackets = word - _ONES & ~word & _TOPS  # its lowest bit that is set is in the first bracket
        if brackets != np.uint64(0):
            return at + _place(brackets)
        at += 8
    return at


@inlined
def _before_blanks(text: np.ndarray, at: int) -> int:
    at -= 1
    while at > 0 and _is_blank(_byte(text, at)):
        at -= 1
    return at


@inlined
def _is_data(text: np.ndarray, at: int) -> bool:
    """Tell whether "data" and a colon end before here, and no backslash is before the first quote."""
    colon = _before_blanks(text, at)
    if colon < len('{"data"') or _byte(text, colon) != _COLON:
        return False
    quote = _before_blanks(text, colon)
    return (
        quote >= len('{"data')
        and _byte(text, quote) == _QUOTE
        and _byte(text, quote - 1) == _A
        and _byte(text, quote - 2) == _T
        and _byte(text, quote - 3) == _A
        and _byte(text, quote - 4) == _D
        and _byte(text, quote - 5) == _QUOTE
        and _byte(text, quote - 6) != _BACKSLASH
    )


@compiled(TEXT, OUT_LONGS, OUT_DOUBLES, OUT_WORDS, returns=LONG)
def read_lists(text: np.ndarray, words: np.ndarray, floats: np.ndarray, found: np.ndarray) -> int:
    """Read the lists of a JSON text, uint8 [n], and return how many.

    Their numbers go to `words`, int64 [n // 2], one list after another, as integers where all of a list are;
    else as float64, in the same memory, which `floats` is. A row of `found`, int64 [most lists, 5], becomes where a
    list begins and ends in the text, its rows (0 where it is flat), how many numbers it has and whether they are
    integers. Lists after the last that has a row are not read.
    """
    last = len(text) - PADDING - 1
    while last > 0 and text[last] != _CLOSE:
        last -= 1
    count, used, at = 0, 0, _next_list(text, 1, last)
    while at < last and count < len(found):
        end = _UNREAD
        if _is_data(text, at):
            end, rows, size, whole = _list(text, at, last, words[used:], floats[used:])
        if end != _UNREAD:
            row = found[count]
            row[0], row[1], row[2], row[3], row[4] = at, end, rows, size, whole
            count, used, at = count + 1, used + size, end - 1
        at = _next_list(text, at + 1, last)
    return count
