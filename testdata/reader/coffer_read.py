#!/usr/bin/python3
"""A small reader of coffer repositories, written from docs/format.md alone.

It proves that the document is enough, and it is a second opinion for the day on which the program
itself cannot be had. It only reads. The numbers in the comments are sections of the document.
Debian 12: apt-get install python3-cryptography python3-zstandard python3-argon2

    coffer_read.py --repo DIR (--key-file F | --password P | --recovery-key K | --open) COMMAND
    list                                snapshots
    ls [--recursive] [--full] SNAP [PATH]   a directory of a snapshot
    cat SNAP PATH                       the bytes of a file
    check                               everything: all packs, blocks, chunks, trees and files

SNAP is an ID or its first digits. In names every byte but visible ASCII stands as \\xNN.
"""

from __future__ import annotations

import argparse
import base64
import bisect
import hashlib
import hmac
import os
import re
import struct
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterator, Optional

from coffer_blake3 import blake3_derive, blake3_hash, blake3_keyed
from coffer_cbor import Cbor, Damage, must, typed

try:
    import argon2.low_level
    import zstandard
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
except ImportError as err:
    sys.exit(f"coffer_read: {err}; install python3-cryptography, python3-zstandard and python3-argon2")


def uvarint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        must(at < len(data) and shift < 64, "a uvarint is cut short or too long")
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return value, at


# ---------------------------------------------------------------- sealing (4)

def unseal(key: bytes, sealed: bytes, ad: bytes) -> bytes:
    must(len(sealed) >= 40, "too short to be sealed")
    subkey = blake3_keyed(key, sealed[:24])
    try:
        return AESGCM(subkey).decrypt(bytes(12), sealed[24:], ad)
    except InvalidTag:
        raise Damage("authentication failed") from None


def decode(encoded: bytes, limit: int) -> bytes:
    must(encoded, "no codec byte")
    codec, body = encoded[0], encoded[1:]
    if codec == 1:
        try:
            must(zstandard.get_frame_parameters(body).content_size <= limit, "its zstd frame is too large")
            frame = zstandard.ZstdDecompressor().decompressobj()
            plain = frame.decompress(body)
        except zstandard.ZstdError as e:
            raise Damage(f"zstd: {e}") from None
        must(not frame.unused_data and frame.eof, "bytes follow its zstd frame, or it is cut short")
        must(len(plain) == zstandard.get_frame_parameters(body).content_size, "its zstd frame has another size")
        return plain
    must(codec == 0, f"unknown codec {codec}")
    must(len(body) <= limit, "too many plain bytes")
    return body


# ------------------------------------------------------------- key slots (3)

def derived(slot: dict[int, Any], kind: str, secret: bytes) -> bytes:
    salt = typed(slot, 5, bytes)
    if kind != "password":
        return blake3_derive(f"coffer 2026-11-20 key slot {kind} v1", salt + secret, 64)
    time, memory, lanes = (typed(slot, k, int) for k in (6, 7, 8))
    must(3 <= time <= 16 and 65536 <= memory <= 1 << 20 and 1 <= lanes <= 64, "weak or absurd parameters of argon2id")
    return argon2.low_level.hash_secret_raw(secret, salt, time, memory, lanes, 64, argon2.low_level.Type.ID, 19)


def unwrap(name: str, data: bytes, kind: str, secret: bytes) -> Optional[bytes]:
    """The master key, or None if the slot is for another secret."""
    must(len(data) <= 4096, "too long for a slot")
    slot = Cbor(data).whole()
    must(type(slot) is dict and slot.get(1) == 1, "not a slot of version 1")
    if typed(slot, 2, str) != kind:
        return None
    must(len(typed(slot, 5, bytes)) == 32 and len(typed(slot, 10, bytes)) == 72, "a slot with odd lengths")
    both = derived(slot, kind, secret)
    if not hmac.compare_digest(both[32:], typed(slot, 9, bytes)):
        return None
    numbers = " ".join(str(slot.get(k, 0)) for k in (1, 4, 6, 7, 8))
    ad = f"coffer key slot v1\0{name}\0{kind}\0{numbers}\0{slot.get(3, '')}".encode()
    return unseal(both[:32], slot[10], ad)


def recovery(text: str) -> bytes:
    try:
        raw = base64.b32decode("".join(c for c in text.upper() if c not in "- \t\r\n"))
    except ValueError:
        raw = b""
    if len(raw) != 35 or blake3_hash(raw[:32])[:3] != raw[32:]:
        sys.exit("coffer_read: this is not a recovery key, or it has a typing error")
    return raw[:32]


# ------------------------------------------------------------- repository

@dataclass(frozen=True)
class Block:
    pack: str
    kind: int
    offset: int
    sealed: int
    plain: int


@dataclass
class Segment:  # (8)
    packs: list[tuple[str, int, int]] = field(default_factory=list)  # name, kind, size
    blocks: list[Block] = field(default_factory=list)
    entries: list[tuple[bytes, int, int, int]] = field(default_factory=list)  # id, block, offset, length and form


def parse_segment(b: bytes) -> Segment:
    must(len(b) >= 24 and b[:8] == b"COFSEG1\n", "not a segment")
    np, nb, ne, nr = struct.unpack_from("<4I", b, 8)
    must(len(b) == 24 + 40 * np + 16 * nb + 1024 + 44 * ne + 36 * nr, "a segment whose counts do not fit its length")
    seg, at = Segment(), 24
    for g, sid, seq, kind, size in struct.iter_unpack("<Q16sIB3xQ", b[at:at + 40 * np]):
        seg.packs.append((f"packs/{g:010d}/{sid.hex()}-{seq:06d}", kind, size))
    at += 40 * np
    for pack, offset, sealed, plain in struct.iter_unpack("<4I", b[at:at + 16 * nb]):
        must(pack < np and offset + sealed <= seg.packs[pack][2], "a block outside its pack")
        seg.blocks.append(Block(*seg.packs[pack][:2], offset, sealed, plain))
    at += 16 * nb
    fan = struct.unpack_from("<256I", b, at)
    at += 1024
    ids = [b[at + 32 * i:at + 32 * i + 32] for i in range(ne)]
    must(all(x < y for x, y in zip(ids, ids[1:])), "a segment whose IDs do not ascend")
    must(all(fan[c] == bisect.bisect_right(ids, bytes([c]) + b"\xff" * 31) for c in range(256)), "a segment with a wrong fan-out")
    columns = [struct.unpack_from(f"<{ne}I", b, at + (32 + 4 * c) * ne) for c in range(3)]
    seg.entries = list(zip(ids, *columns))
    for _, block, offset, form in seg.entries:
        must(block < nb and offset + (form >> 1) <= seg.blocks[block].plain, "an entry outside its block")
    return seg


@dataclass
class Bulk:  # (10)
    xattrs: list[list[bytes]] = field(default_factory=list)
    holes: list[tuple[int, int]] = field(default_factory=list)
    ids: list[bytes] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)

    def add(self, fields: dict[int, Any]) -> None:
        self.xattrs += fields.get(24, [])
        must(all(a[0] < b[0] for a, b in zip(self.xattrs, self.xattrs[1:])), "extended attributes out of order")
        holes = holes_of(fields.get(23, b""))
        must(not holes or not self.holes or holes[0][0] >= sum(self.holes[-1]), "holes overlap")
        self.holes += holes
        self.ids += ids_of(fields.get(21, b""))
        self.lengths += fields.get(22, [])


class Repository:
    def __init__(self, root: Path, kind: str, secret: bytes):
        self.root = root
        self.blocks: dict[Block, bytes] = {}
        self.index: dict[bytes, tuple[Block, int, int]] = {}
        self.segments: dict[str, Segment] = {}
        self.manifests: dict[str, dict[int, Any]] = {}
        self.asked: set[str] = set()  # commits that the next prune drops
        self.proved: set[tuple[int, bytes]] = set()  # chunks whose ID has been computed
        self.trouble: list[str] = []
        config = self.get("config")
        must(config.startswith(b"coffer repository 1\n"), "config: this is no coffer repository of format 1")
        line, _, sealed = config[20:].partition(b"\n")
        must(re.fullmatch(rb"[0-9a-f]{32}", line) is not None, "config: no repository id")
        self.id = bytes.fromhex(line.decode())
        self.unlock(kind, secret)
        self.config = self.record("config", sealed)
        must(self.config.get(2) == line.decode(), "config: two repository ids")
        values = tuple(self.config.get(k) for k in (1, 4, 5, 6, 7))
        must(values == (1, "blake3-256", "aes-256-gcm/blake3", "zstd", "rabin-53"), f"config: unknown parameters {values}")

    def get(self, name: str, at: int = 0, size: int = -1) -> bytes:
        try:
            with open(self.root / name, "rb") as f:
                f.seek(at)
                data = f.read(size)
        except OSError as e:
            raise Damage(f"{name}: {e.strerror}") from None
        must(size < 0 or len(data) == size, f"{name}: it is too short")
        return data

    def names(self, prefix: str) -> list[str]:
        top = self.root / prefix
        return sorted(str(p.relative_to(self.root)) for p in top.rglob("*") if p.is_file())

    def unlock(self, kind: str, secret: bytes) -> None:
        trouble = []
        for name in self.names("keys"):
            try:
                master = unwrap(name.split("/")[-1], self.get(name), kind, secret)
            except (Damage, UnicodeDecodeError) as e:
                trouble.append(f"{name}: {e}")
                continue
            if master is not None:
                self.block_key = blake3_derive("coffer 2026-11-20 block key v1", master)
                self.record_key = blake3_derive("coffer 2026-11-20 record key v1", master + self.id)
                return
        raise Damage("; ".join(trouble) or "keys: wrong password or key")

    def open_record(self, name: str, sealed: bytes, limit: int = 64 << 20) -> bytes:
        try:
            return decode(unseal(self.record_key, sealed, b"coffer record v1\0" + name.encode()), limit)
        except Damage as e:
            raise Damage(f"{name}: {e}") from None

    def record(self, name: str, sealed: Optional[bytes] = None) -> dict[int, Any]:
        plain = self.open_record(name, self.get(name) if sealed is None else sealed)
        try:
            m = Cbor(plain).whole()
            must(type(m) is dict and m.get(1) == 1, "not a record of version 1")
        except (Damage, UnicodeDecodeError) as e:
            raise Damage(f"{name}: {e}") from None
        return m

    def load_snapshots(self) -> None:
        """Reads what counts in the newest generation (9)."""
        names = self.names("generations")
        numbers = [int(n.split("/")[1]) for n in names if not n.endswith(".done")]
        must(numbers, "generations: there is none, part of the repository is missing")
        g = max(numbers)
        gen, done = self.generation(f"generations/{g:010d}", g), None
        if f"generations/{g:010d}.done" in names:
            done = self.generation(f"generations/{g:010d}.done", g)
        segments = typed(gen, 3, list, []) + (typed(done, 3, list, []) if done else [])
        for ref in typed(done if done else gen, 4, list, []):
            self.load_piece(typed(ref, 1, str), typed(ref, 2, int))
        if done is None:
            segments += self.commits(g - 1, set(typed(gen, 5, list, []) + typed(gen, 6, list, [])))
        segments += self.commits(g, set())
        for ref in segments:
            self.load_segment(typed(ref, 1, str), typed(ref, 3, list, []))
        for name in self.names("asks"):
            self.asked.update(typed(self.record(name), 2, list, []))

    def generation(self, name: str, g: int) -> dict[int, Any]:
        m = self.record(name)
        must(typed(m, 2, int) == g, f"{name}: it says that it is {m[2]}")
        return m

    def load_piece(self, name: str, commits: int) -> None:
        try:
            m = self.record(name)
        except Damage as e:
            self.trouble.append(str(e))
            m = self.record(name + ".b")
        must(len(typed(m, 2, list)) == commits, f"{name}: it does not have {commits} commits")
        for c in m[2]:
            self.manifests[typed(c, 1, str)] = manifest(name, typed(c, 3, bytes))

    def commits(self, g: int, covered: set[str]) -> list[Any]:
        """Reads the fates of a generation; returns the segments of its commits."""
        segments = []
        for name in self.names(f"fates/{g:010d}"):
            fate = self.record(name)
            if typed(fate, 2, int) != 1:
                must(fate[2] == 2, f"{name}: unknown outcome")
                continue
            id_ = name.split("/")[-1]
            if id_ not in covered:
                segments += typed(fate, 3, list, [])
                self.manifests[id_] = manifest(name, typed(fate, 4, bytes, b""))
        return segments

    def load_segment(self, name: str, dead: list[int]) -> None:
        plain = self.open_record(name, self.get(name), 1 << 30)
        try:
            seg = self.segments[name] = parse_segment(plain)
            must(all(d < len(seg.packs) for d in dead), "a dead pack that it does not have")
        except Damage as e:
            raise Damage(f"{name}: {e}") from None
        gone = {seg.packs[d][0] for d in dead}
        seg.packs = [p for p in seg.packs if p[0] not in gone]
        seg.entries = [e for e in seg.entries if seg.blocks[e[1]].pack not in gone]
        for id_, block, offset, form in seg.entries:
            if form & 1 == 0 or id_ not in self.index:  # a whole copy goes before a recipe (6)
                self.index[id_] = (seg.blocks[block], offset, form)

    def open_block(self, b: Block) -> bytes:
        if b not in self.blocks:
            plain = decode(unseal(self.block_key, self.get(b.pack, b.offset, b.sealed), b"coffer block v1"), b.plain)
            must(len(plain) == b.plain, f"a block opens to {len(plain)} bytes and not {b.plain}")
            if len(self.blocks) >= 16:
                self.blocks.pop(next(iter(self.blocks)))
            self.blocks[b] = plain
        return self.blocks[b]

    def chunk(self, kind: int, id_: bytes) -> bytes:
        """A chunk, proved to be the one of its ID (6)."""
        must(id_ in self.index, f"chunk {id_.hex()}: no pack holds it")
        block, offset, form = self.index[id_]
        must(form & 1 == 0, f"chunk {id_.hex()}: it is a recipe, use a newer program")
        try:
            data = self.open_block(block)[offset:offset + (form >> 1)]
            if (kind, id_) not in self.proved:
                must(chunk_id(kind, data) == id_, "its bytes have another ID")
                self.proved.add((kind, id_))
        except Damage as e:
            raise Damage(f"{block.pack}: chunk {id_.hex()}: {e}") from None
        return data

    # ------------------------------------------------------------ trees (10)

    def tree_chunk(self, id_: bytes, kind: int) -> tuple[int, Any]:
        """Level and body of a tree chunk."""
        data = self.chunk(2, id_)
        try:
            must(len(data) <= 256 << 10, "too long")
            array_ = Cbor(data, strict=True, sparse=True).whole()
            must(type(array_) is list and len(array_) == 4 and array_[:2] == [1, kind], f"not a tree chunk of version 1 and kind {kind}")
            must(type(array_[2]) is int and 0 <= array_[2] <= 7, "a level that cannot be")
        except Damage as e:
            raise Damage(f"tree chunk {id_.hex()}: {e}") from None
        return array_[2], array_[3]

    def page(self, id_: bytes, level: int, low: bytes, last: Optional[bytes]) -> Iterator[dict[int, Any]]:
        """The entries below a page, whose names lie above low and end with last."""
        found, items = self.tree_chunk(id_, 1)
        where = f"tree chunk {id_.hex()}"
        must(level < 0 or found == level, f"{where}: a page of another level")
        must(type(items) is list and 1 <= len(items) <= 1024, f"{where}: a page of no or too many items")
        prior = low
        for item in items:
            if found == 0:
                name = entry_name(where, item)
            else:
                must(type(item) is list and len(item) == 2 and type(item[0]) is bytes and len(item[1]) == 32, f"{where}: not a child")
                name = item[0]
            must(name > prior, f"{where}: names do not ascend")
            if found == 0:
                yield check_entry(where, item)
            else:
                yield from self.page(item[1], found - 1, prior, name)
            prior = name
        must(last is None or prior == last, f"{where}: it does not end with the name that the page above says")

    def listing(self, tree: bytes) -> Iterator[dict[int, Any]]:
        if tree != bytes(32):
            yield from self.page(tree, -1, b"", None)

    def resolve(self, root: bytes, path: bytes) -> dict[int, Any]:
        entry: dict[int, Any] = {0: b"", 1: 0o20755, 19: root}
        for part in path.split(b"/"):
            if part not in (b"", b"."):
                below = (e for e in self.listing(entry.get(19, bytes(32))) if e[0] == part)
                found = next(below, None)
                if found is None:
                    sys.exit(f"coffer_read: {show(path)}: there is no such path in the snapshot")
                entry = found
        return entry

    def bulk(self, entry: dict[int, Any]) -> Bulk:
        """Xattrs, holes and content of an entry, also where they have spilled."""
        out = Bulk()
        if 25 not in entry:
            out.add(entry)
            if len(out.ids) == 1:  # its length is what the holes leave of the size
                must(not out.lengths, "the length of a single chunk stands where it should be left out")
                out.lengths = [entry.get(10, 0) - sum(length for _, length in out.holes)]
            return out
        order = 0
        for id_ in self.pieces(entry):
            level, body = self.tree_chunk(id_, 2)
            must(level == 0 and set(body) in _SORTS, f"tree chunk {id_.hex()}: not a piece")
            sort = _SORTS.index(set(body))
            must(sort >= order, f"tree chunk {id_.hex()}: a piece out of its place")
            order = sort
            out.add(body)
        return out

    def pieces(self, entry: dict[int, Any]) -> Iterator[bytes]:
        for id_ in ids_of(entry[25]):
            if entry.get(26, 0) == 0:
                yield id_
                continue
            level, body = self.tree_chunk(id_, 2)
            must(level == 1, f"tree chunk {id_.hex()}: not a list of pieces")
            yield from ids_of(body)

    def content(self, entry: dict[int, Any]) -> Iterator[bytes]:
        """The bytes of a file, piece by piece, holes as zeros."""
        bulk = self.bulk(entry)
        must(len(bulk.ids) == len(bulk.lengths) and min(bulk.lengths, default=1) > 0, "chunks and lengths of a file do not fit")
        must(sum(bulk.lengths) + sum(n for _, n in bulk.holes) == entry.get(10, 0), "chunks and holes do not make up the size of a file")
        at, holes = 0, iter(bulk.holes + [(1 << 64, 0)])
        hole, zeros = next(holes)
        for id_, length in zip(bulk.ids, bulk.lengths):
            data = self.chunk(1, id_)
            must(len(data) == length, f"chunk {id_.hex()}: it has {len(data)} bytes and not {length}")
            done = 0
            while done < length:
                if at == hole:
                    yield bytes(zeros)
                    at += zeros
                    hole, zeros = next(holes)
                step = min(length - done, hole - at)
                yield data[done:done + step]
                done, at = done + step, at + step
        while hole < 1 << 64:  # at the end
            must(at == hole, "a hole lies outside its file")
            yield bytes(zeros)
            at += zeros
            hole, zeros = next(holes)

    # -------------------------------------------------------- check (7)

    def check_pack(self, seg: Segment, name: str, kind: int, size: int) -> None:
        data = self.get(name)
        must(len(data) == size, f"it has {len(data)} bytes and not {size}")
        sid, seq = name.split("/")[2].split("-")
        header = struct.pack("<8sHBBI16sII", b"COFPACK\n", 1, kind, 0, 1, bytes.fromhex(sid), int(seq), 0)
        must(data[:40] == header, "its header belongs to another pack")
        must(blake3_hash(data[:-32]) == data[-32:], "its bytes do not have the hash in its footer")
        offset, length, zero, magic = struct.unpack("<QII8s", data[-56:-32])
        must((zero, magic) == (0, b"COFPEND\n") and offset + length + 56 == size, "its footer is wrong")
        trailer = self.open_record(f"trailer/{sid}-{seq}-{kind}", data[offset:offset + length], 256 << 20)
        at, own = 40, []
        for sealed, chunks in parse_trailer(trailer):
            own.append((at, sealed, chunks))
            at += sealed
        must(at == offset, "its blocks do not end where its trailer begins")
        numbers = [i for i, b in enumerate(seg.blocks) if b.pack == name]
        held: dict[int, list[tuple[int, int, bytes]]] = {i: [] for i in numbers}
        for id_, block, start, form in seg.entries:
            if block in held:
                held[block].append((start, form, id_))
        indexed = [(seg.blocks[i].offset, seg.blocks[i].sealed, held[i]) for i in numbers]
        must(len(own) == len(indexed), "its own list of blocks is not the one in the index")
        for (at, sealed, chunks), (offset, size_, known) in zip(own, indexed):  # the index may lack copies (8)
            must((at, sealed) == (offset, size_) and set(known) <= set(chunks), "its own list of chunks is not the one in the index")

    def check(self) -> None:
        for name in (n for p in ("generations", "sessions", "catalogue", "notes") for n in self.names(p)):
            self.attempt(name, lambda: self.record(name))
        for seg in self.segments.values():
            for name, kind, size in seg.packs:
                self.attempt(name, lambda: self.check_pack(seg, name, kind, size))
            for id_, block, _, _ in seg.entries:
                self.attempt(seg.blocks[block].pack, lambda: self.chunk(seg.blocks[block].kind, id_))
        for id_, m in self.manifests.items():
            self.attempt(f"snapshot {id_}", lambda: self.check_tree(m[10]))

    def attempt(self, what: str, step: Any) -> None:
        try:
            step()
        except Damage as e:
            text = str(e) if what in str(e) else f"{what}: {e}"
            if text not in self.trouble:
                self.trouble.append(text)

    def check_tree(self, tree: bytes) -> None:
        for entry in self.listing(tree):
            if entry[1] >> 12 == 2:
                self.check_tree(entry.get(19, bytes(32)))
            elif entry[1] >> 12 == 1:
                for _ in self.content(entry):
                    pass
            else:
                self.bulk(entry)


def chunk_id(kind: int, data: bytes) -> bytes:
    return blake3_derive(f"coffer 2026-11-20 chunk {'tree' if kind == 2 else 'data'} v1", data)


def parse_trailer(b: bytes) -> list[tuple[int, list[tuple[int, int, bytes]]]]:
    """For each block its sealed length, and offset, 2*length+form and ID of its chunks (7)."""
    count, at = uvarint(b, 0)
    blocks: list[tuple[int, list[int]]] = []
    for _ in range(count):
        sealed, at = uvarint(b, at)
        chunks, at = uvarint(b, at)
        forms = []
        for _ in range(chunks):
            form, at = uvarint(b, at)
            forms.append(form)
        blocks.append((sealed, forms))
    out = []
    for sealed, forms in blocks:
        offset, chunks_ = 0, []
        for form in forms:
            chunks_.append((offset, form, b[at:at + 32]))
            offset, at = offset + (form >> 1), at + 32
        out.append((sealed, chunks_))
    must(at == len(b), "its trailer has another length")
    return out


def manifest(name: str, payload: bytes) -> dict[int, Any]:  # (11)
    try:
        m = Cbor(payload, strict=True).whole()
        must(type(m) is dict and m.get(1) == 1, "not a manifest of version 1")
        must(set(m) <= set(range(1, 29)), "a manifest with unknown fields")
        must(set(m) >= {2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18}, "a manifest without all its fields")
        must(m[4] in (1, 2, 3) and type(m[10]) is bytes and len(m[10]) == 32, "a manifest with odd fields")
        must(all(is_id(m[key]) for key in (26, 28) if key in m), "a manifest with an odd ID in it")
        if 27 in m:
            check_hold(m)
    except Damage as e:
        raise Damage(f"{name}: {e}") from None
    return m


def is_id(value: Any) -> bool:
    return type(value) is bytes and len(value) == 32 and set(value) <= set(b"0123456789abcdef")


def check_hold(m: dict[int, Any]) -> None:
    hold = m[27]
    must(26 in m, "a hold that does not say on which snapshot it is")
    must(type(hold) is dict and {2, 4} <= set(hold) <= {1, 2, 3, 4}, "an odd hold")
    must(all(type(hold[key]) is bytes and 0 < len(hold[key]) <= 4096 for key in (1, 3) if key in hold), "a hold with odd texts")
    must(all(is_time(hold[key]) for key in (2, 4)), "a hold with odd times")


def is_time(value: Any) -> bool:
    return type(value) is list and len(value) == 2 and all(type(n) is int for n in value) and 0 <= value[1] < 10**9


# Which fields a piece of a bulk has: xattrs, holes, content, in this order.
_SORTS: list[set[int]] = [{24}, {23}, {21, 22}]

# Fields that only entries of some types have.
_FOR = {16: "45", 17: "45", 15: "3", 19: "2", 20: "2", 27: "2", 21: "1", 22: "1", 23: "1"}


def entry_name(where: str, e: Any) -> bytes:
    must(type(e) is dict, f"{where}: not an entry")
    name = e.get(0)
    must(type(name) is bytes and 0 < len(name) <= 4096 and name not in (b".", b"..") and not set(name) & {0, 47},
         f"{where}: {name!r} is no name for an entry")
    return name


def check_entry(where: str, e: dict[int, Any]) -> dict[int, Any]:
    kind = e.get(1, 0) >> 12
    must(1 <= kind <= 7 and set(e) <= set(range(28)), f"{where}: an entry of unknown type or with unknown fields")
    must(all(str(kind) in _FOR.get(k, "1234567") for k in e), f"{where}: an entry with a field of another type")
    must(25 not in e or not set(e) & {21, 22, 23, 24}, f"{where}: an entry that has spilled and has not")
    must(len(e.get(19, bytes(32))) == 32 and e.get(7, 0) < 10**9 and e.get(9, 0) < 10**9, f"{where}: an entry with odd fields")
    return e


def ids_of(joined: bytes) -> list[bytes]:
    must(type(joined) is bytes and len(joined) % 32 == 0, "a list of IDs of odd length")
    return [joined[i:i + 32] for i in range(0, len(joined), 32)]


def holes_of(data: bytes) -> list[tuple[int, int]]:
    out, at, end = [], 0, 0
    while at < len(data):
        gap, at = uvarint(data, at)
        length, at = uvarint(data, at)
        must(length > 0, "an empty hole")
        out.append((end + gap, length))
        end += gap + length
    return out


# ---------------------------------------------------------------- commands

def show(name: bytes) -> str:
    return "".join(chr(b) if 0x21 <= b <= 0x7E and b != 0x5C else f"\\x{b:02x}" for b in name)


def line(repo: Repository, path: bytes, e: dict[int, Any], groups: dict[bytes, bytes], full: bool) -> str:
    kind = e[1] >> 12
    text = f"{'?fdlbcps'[kind]} {e[1] & 0o7777:04o} {e.get(2, 0)} {e.get(3, 0)} {e.get(10, 0)} {e.get(6, 0)}.{e.get(7, 0):09d} {show(path)}"
    if kind == 3:
        text += " -> " + show(e.get(15, b""))
    if kind in (4, 5):
        text += f" dev={e.get(16, 0)}:{e.get(17, 0)}"
    if 14 in e:
        text += f" links={e.get(13, 1)} same={show(groups.setdefault(e[14], path))}"
    if kind == 2:
        text += f" items={e.get(20, 0)} files={e.get(27, 0)}"
    if full:
        bulk = repo.bulk(e)
        if bulk.holes:
            places = ",".join(f"{offset}+{length}" for offset, length in bulk.holes)
            text += f" holes={len(bulk.holes)}:" + hashlib.sha256(places.encode()).hexdigest()[:16]
        for name, value in bulk.xattrs:
            text += f" {show(name)}={value.hex()}"
        if kind == 1:
            h = hashlib.sha256()
            for part in repo.content(e):
                h.update(part)
            text += " sha256=" + h.hexdigest()
    return text


def tree_lines(repo: Repository, path: bytes, tree: bytes, groups: dict[bytes, bytes], recursive: bool, full: bool) -> Iterator[str]:
    for e in repo.listing(tree):
        below = path.rstrip(b"/") + b"/" + e[0]
        yield line(repo, below, e, groups, full)
        if recursive and e[1] >> 12 == 2:
            yield from tree_lines(repo, below, e.get(19, bytes(32)), groups, recursive, full)


def snapshot_line(id_: str, m: dict[int, Any]) -> str:
    tags = ",".join(show(t) for t in m.get(12, []))
    return f"{id_} {m[9][0]}.{m[9][1]:09d} {show(m[2])} {show(m[3])} state={m[4]} seq={m[5]} items={m[14]} files={m[15]} bytes={m[16]} tags={tags}"


def snapshots(repo: Repository) -> dict[str, dict[int, Any]]:
    """The manifest of each snapshot by its ID: of its commits, the one that counts (11)."""
    def counts(commit: str) -> tuple[bool, list[int], str]:
        m = repo.manifests[commit]
        return 27 not in m, m[8], commit

    found: dict[str, list[str]] = {}
    for commit, m in repo.manifests.items():
        if commit in repo.asked:
            continue
        first = m[26].decode() if 26 in m else commit
        if first not in repo.manifests or repo.manifests[first][10] == m[10]:
            found.setdefault(first, []).append(commit)
    return {id_: repo.manifests[max(commits, key=counts)] for id_, commits in found.items()}


def find_snapshot(repo: Repository, prefix: str) -> dict[int, Any]:
    found = [m for id_, m in snapshots(repo).items() if id_.startswith(prefix)]
    if len(found) != 1:
        sys.exit(f"coffer_read: {prefix} fits {len(found)} snapshots")
    return found[0]


def run(args: argparse.Namespace) -> None:
    if args.key_file is not None:
        kind, secret = "key-file", Path(args.key_file).read_bytes()
    elif args.password is not None:
        kind, secret = "password", os.fsencode(args.password)
    elif args.recovery_key is not None:
        kind, secret = "recovery", recovery(args.recovery_key)
    else:
        kind, secret = "open", b""
    repo = Repository(Path(args.repo), kind, secret)
    repo.load_snapshots()
    if args.command == "list":
        for id_, m in sorted(snapshots(repo).items(), key=lambda s: (s[1][9], s[1][5], s[0])):
            print(snapshot_line(id_, m))
    elif args.command == "ls":
        path = b"/" + os.fsencode(args.path).strip(b"/")
        entry = repo.resolve(find_snapshot(repo, args.snapshot)[10], path)
        if entry[1] >> 12 != 2:
            print(line(repo, path, entry, {}, args.full))
            return
        for text in tree_lines(repo, path, entry.get(19, bytes(32)), {}, args.recursive, args.full):
            print(text)
    elif args.command == "cat":
        entry = repo.resolve(find_snapshot(repo, args.snapshot)[10], os.fsencode(args.path))
        if entry[1] >> 12 != 1:
            sys.exit(f"coffer_read: {args.path}: it is not a file")
        for part in repo.content(entry):
            sys.stdout.buffer.write(part)
    else:
        repo.check()
        for text in repo.trouble:
            print(f"coffer_read: {text}", file=sys.stderr)
        sys.exit(1 if repo.trouble else 0)


def main() -> None:
    parser = argparse.ArgumentParser(description="Reads coffer repositories of format 1.")
    parser.add_argument("--repo", required=True)
    secret = parser.add_mutually_exclusive_group(required=True)
    secret.add_argument("--key-file")
    secret.add_argument("--password")
    secret.add_argument("--recovery-key")
    secret.add_argument("--open", action="store_true")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list")
    ls = commands.add_parser("ls")
    ls.add_argument("--recursive", action="store_true")
    ls.add_argument("--full", action="store_true", help="also holes, attributes and the SHA-256 of files")
    cat = commands.add_parser("cat")
    for command in (ls, cat):
        command.add_argument("snapshot")
    ls.add_argument("path", nargs="?", default="/")
    cat.add_argument("path")
    commands.add_parser("check")
    try:
        run(parser.parse_args())
    except Damage as e:
        sys.exit(f"coffer_read: {e}")


if __name__ == "__main__":
    main()
