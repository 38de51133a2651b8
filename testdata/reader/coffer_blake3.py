"""BLAKE3 for coffer_read.py: the three modes, up to 64 bytes of output (docs/format.md, section 1).

All chunks of 1024 bytes of an input are hashed at once: every number below holds one 32-bit word of each of
them, in lanes of 64 bits. Python's long numbers then do the work of a vector unit.
"""

from __future__ import annotations

import functools
import struct
from array import array

_IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
_ORDER = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
_G = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
      (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
_START, _END, _PARENT, _ROOT, _KEYED, _CONTEXT, _MATERIAL = 1, 2, 4, 8, 16, 32, 64


def _lanes(words: array) -> int:
    return int.from_bytes(array("Q", words).tobytes(), "little")


def _unlanes(number: int, n: int) -> array:
    return array("Q", number.to_bytes(8 * n, "little"))


def _compress(cv: list[int], m: list[int], n: int, counter: int, length: int, flags: int) -> list[int]:
    """The compression function, in n lanes. counter has the lanes' numbers, the rest is the same in all."""
    one = int.from_bytes(b"\1\0\0\0\0\0\0\0" * n, "little")
    low = one * 0xFFFFFFFF
    v = cv + [one * w for w in _IV[:4]] + [counter & low, counter >> 32 & low, one * length, one * flags]
    for _ in range(7):
        for i, (a, b, c, d) in enumerate(_G):
            v[a] = v[a] + v[b] + m[2 * i] & low
            x = v[d] ^ v[a]
            v[d] = (x >> 16 | x << 16) & low
            v[c] = v[c] + v[d] & low
            x = v[b] ^ v[c]
            v[b] = (x >> 12 | x << 20) & low
            v[a] = v[a] + v[b] + m[2 * i + 1] & low
            x = v[d] ^ v[a]
            v[d] = (x >> 8 | x << 24) & low
            v[c] = v[c] + v[d] & low
            x = v[b] ^ v[c]
            v[b] = (x >> 7 | x << 25) & low
        m = [m[i] for i in _ORDER]
    return [v[i] ^ v[i + 8] for i in range(8)] + [v[i + 8] ^ cv[i] for i in range(8)]


def _chunks(key: tuple[int, ...], mode: int, data: bytes, n: int, first: int, root: int) -> list[int]:
    """The outputs of n chunks of equal length, side by side."""
    size = len(data) // n
    counter = _lanes(array("Q", range(first, first + n)))
    one = int.from_bytes(b"\1\0\0\0\0\0\0\0" * n, "little")
    cv = [one * k for k in key]
    out: list[int] = []
    padded = data if size % 64 == 0 and size else data + bytes(-size % 64 or 64)  # only a single chunk is short
    words = array("I", padded)
    step = len(words) // n
    for at in range(0, step, 16):
        last = at + 16 == step
        flags = mode | (_START if at == 0 else 0) | (_END | root if last else 0)
        m = [_lanes(words[at + j::step]) for j in range(16)]
        out = _compress(cv, m, n, counter, size - 4 * at if last else 64, flags)
        cv = out[:8]
    return out


def _blake3(key: tuple[int, ...], mode: int, data: bytes, size: int = 32) -> bytes:
    full = max(0, (len(data) - 1) // 1024)  # chunks before the last one
    out = _chunks(key, mode, data[1024 * full:], 1, full, _ROOT if full == 0 else 0)
    if full > 0:
        before = _chunks(key, mode, data[:1024 * full], full, 0, 0)
        cvs = [_unlanes(before[i], full) + array("Q", [out[i]]) for i in range(8)]
        while len(cvs[0]) > 1:  # pair by pair; one that is left over goes up as it is
            count = len(cvs[0])
            n = count // 2
            m = [_lanes(w[side:2 * n:2]) for side in (0, 1) for w in cvs]
            one = int.from_bytes(b"\1\0\0\0\0\0\0\0" * n, "little")
            out = _compress([one * k for k in key], m, n, 0, 64, mode | _PARENT | (_ROOT if count == 2 else 0))
            cvs = [_unlanes(out[i], n) + w[2 * n:] for i, w in enumerate(cvs)]
    return struct.pack("<16I", *out)[:size]


def blake3_hash(data: bytes) -> bytes:
    return _blake3(_IV, 0, data)


def blake3_keyed(key: bytes, data: bytes) -> bytes:
    return _blake3(struct.unpack("<8I", key), _KEYED, data)


@functools.lru_cache
def _context_key(context: str) -> tuple[int, ...]:
    return struct.unpack("<8I", _blake3(_IV, _CONTEXT, context.encode("ascii")))


def blake3_derive(context: str, data: bytes, size: int = 32) -> bytes:
    return _blake3(_context_key(context), _MATERIAL, data, size)
