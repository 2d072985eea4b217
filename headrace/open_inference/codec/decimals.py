"""The float64 nearest to a decimal number, as machine code: what Python's float gives, to the bit.

Few digits and a small power of ten are both exact, and IEEE rounds their product or quotient once
(Clinger 1990). Otherwise the digits are multiplied by the power's first 128 bits, which are enough for 19
digits (Lemire 2021, "Number Parsing at a Gigabyte per Second"; Mushtak and Lemire 2023 for why always).
"""

from __future__ import annotations

import numpy as np

from headrace.compiled import inlined

MOST_DIGITS = 19  # of any digits, so many fit a word
_LEAST, _MOST = -342, 308  # beyond these powers of ten, 19 digits are 0 or no float64
_EXACT = np.uint64(2**53)  # up to here every integer is a float64
_TENS = np.array([10.0**power for power in range(23)])  # and these are
_TIES = -4, 23  # only with these powers can digits lie halfway between two float64
_HALF, _LOW = np.uint64(32), np.uint64(2**32 - 1)
_ZERO, _ONE, _THREE, _NINE, _TOP = (np.uint64(number) for number in (0, 1, 3, 9, 63))
_UNSURE = np.uint64(2**9 - 1)
_HIDDEN, _FRACTION = np.uint64(52), np.uint64(2**52 - 1)


def _power_of_five(power: int) -> int:
    """Return the first 128 bits of 5 ** power; cut off, and for -27 and above rounded up, as the proof needs it."""
    if power >= 0:
        exact = 5**power
        return exact << 128 >> exact.bit_length()
    divisor = 5**-power
    return (1 << 127 + divisor.bit_length()) // divisor + (power >= -27)


#: The upper and the lower word of each.
_FIVES = np.array([divmod(_power_of_five(power), 2**64) for power in range(_LEAST, _MOST + 1)], np.uint64)


@inlined
def _high(left: np.uint64, right: np.uint64) -> np.uint64:
    """Return the upper word of a product of two words."""
    lower, upper = left & _LOW, left >> _HALF
    low, high = right & _LOW, right >> _HALF
    middle = upper * low + (lower * low >> _HALF)
    return upper * high + (middle >> _HALF) + ((lower * high + (middle & _LOW)) >> _HALF)


@inlined
def bit_length(word: np.uint64) -> int:
    """Return how many bits a word has without the zeros before them; it becomes one instruction."""
    bits = 0
    while word:
        word >>= _ONE
        bits += 1
    return bits


@inlined
def nearest(digits: np.uint64, power: int | np.int64) -> float:
    """Return the float64 nearest to digits * 10 ** power, digits below 10 ** 19; NaN if it is none or subnormal."""
    if digits <= _EXACT and -23 < power < 23:
        exact = _TENS[np.uint64(-power if power < 0 else power)]
        return np.int64(digits) / exact if power < 0 else np.int64(digits) * exact
    if digits == _ZERO:
        return 0.0
    if not _LEAST <= power <= _MOST:
        return np.nan
    zeros = 64 - bit_length(digits)
    digits <<= np.uint64(zeros)
    place = np.uint64(power - _LEAST)
    five, beyond = _FIVES[place, 0], _FIVES[place, 1]
    high, low = _high(digits, five), digits * five
    if high & _UNSURE == _UNSURE:
        more = _high(digits, beyond)
        low += more
        high += np.uint64(low < more)
    upper = high >> _TOP
    shift = upper + _NINE
    mantissa = high >> shift  # with one bit more than a float64 has, by which it is rounded
    if low <= _ONE and _TIES[0] <= power <= _TIES[1] and mantissa & _THREE == _ONE and mantissa << shift == high:
        mantissa -= _ONE  # halfway: to even
    mantissa = (mantissa + (mantissa & _ONE)) >> _ONE
    exponent = (217706 * power >> 16) + 63 + np.int64(upper) - zeros + 1023 + np.int64(mantissa >> _HIDDEN + _ONE)
    if not 0 < exponent < 2047:
        return np.nan
    return np.int64(np.int64(mantissa & _FRACTION) | exponent << 52).view(np.float64)
