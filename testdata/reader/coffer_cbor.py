"""CBOR for coffer_read.py: only what docs/format.md knows (sections 4 and 10), and only in its shortest form."""

from __future__ import annotations

from typing import Any


class Damage(Exception):
    """Bytes that are not as the document says. The text names the object."""


def must(ok: object, what: str) -> None:
    if not ok:
        raise Damage(what)


class Cbor:
    """A decoder of the items that the document knows, in their shortest form.

    strict is the profile of trees and manifests, which has no text; sparse is that of trees alone,
    where no field of a map is empty."""

    def __init__(self, data: bytes, strict: bool = False, sparse: bool = False):
        self.data, self.at, self.strict, self.sparse = data, 0, strict, sparse

    def whole(self) -> Any:
        value = self.item(0)
        must(self.at == len(self.data), "bytes follow the end of its CBOR")
        return value

    def take(self, n: int) -> bytes:
        must(self.at + n <= len(self.data), "its CBOR is cut short")
        self.at += n
        return self.data[self.at - n:self.at]

    def item(self, depth: int) -> Any:
        first = self.take(1)[0]
        major, arg = first >> 5, first & 31
        if major == 7:
            must(arg in (20, 21) and not self.sparse, "CBOR of an unknown simple value")
            return arg == 21
        if arg >= 24:
            must(arg < 28, "CBOR of indefinite length")
            width = 1 << arg - 24
            arg = int.from_bytes(self.take(width), "big")
            must(arg >= (24 if width == 1 else 1 << 4 * width), "a number in CBOR is not in its shortest form")
        must(depth <= 8, "its CBOR is nested too deeply")
        if major == 0:
            return arg
        if major == 1:
            return -1 - arg
        if major == 2:
            return self.take(arg)
        if major == 3 and not self.strict:
            return self.take(arg).decode("utf-8")
        if major == 4:
            return [self.item(depth + 1) for _ in range(arg)]
        must(major == 5, f"CBOR of major type {major}")
        result: dict[int, Any] = {}
        last = -1
        for _ in range(arg):
            key = self.item(depth + 1)
            must(type(key) is int and key > last, "the keys of a map in CBOR do not ascend")
            last = key
            result[key] = self.item(depth + 1)
            must(not self.sparse or result[key] not in (0, b"", []), f"field {key} is empty and should be left out")
        return result


def typed(m: dict[int, Any], key: int, kind: type, default: Any = None) -> Any:
    """The value of a field, which must be of a kind, and there if it has no default."""
    value = m.get(key, default)
    must(type(value) is kind, f"field {key} is missing or not a {kind.__name__}")
    return value
