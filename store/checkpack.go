package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/zeebo/blake3"

	"coffer/index"
	"coffer/store/pack"
)

// A packCheck is the reading of one pack, in one request and one pass. want is
// what the index says is in it.
type packCheck struct {
	s           *Store
	p           index.Pack
	name        string
	want        []index.Filled
	found       []*DamageError
	chunks      int64
	raw, opened []byte

	in   io.Reader
	hash *blake3.Hasher
	at   int64
}

func (c *packCheck) bad(err error) { c.found = append(c.found, &DamageError{Pack: c.name, Err: err}) }

func (c *packCheck) run(ctx context.Context) {
	sealed, plain := uint32(0), uint32(0)
	for _, b := range c.want {
		sealed, plain = max(sealed, b.Sealed), max(plain, b.Plain)
	}
	c.raw, c.opened = c.s.buf.Get(int(sealed)), c.s.buf.Get(int(plain))
	defer c.s.buf.Put(c.raw)
	defer c.s.buf.Put(c.opened)
	done, err := c.stream(ctx)
	if err == nil || ctx.Err() != nil {
		return
	}
	c.bad(err)
	for _, b := range c.want[done:] { // a bad spot costs what lies on it, and no more
		sealed := c.raw[:b.Sealed]
		err := c.s.readAt(ctx, c.name, sealed, int64(b.Offset))
		if ctx.Err() != nil {
			return
		}
		c.block(b, sealed, err)
	}
}

// stream reads the pack from its beginning to its end, as far as that goes. It
// returns how many blocks it has come to.
func (c *packCheck) stream(ctx context.Context) (blocks int, err error) {
	r, err := c.s.bucket.Get(ctx, c.name, 0, int64(c.p.Size))
	if err != nil {
		return 0, err
	}
	defer func() { _ = r.Close() }() // reading is over; what was read is checked
	c.in, c.hash, c.at = r, blake3.New(), 0
	if err := c.header(); err != nil {
		return 0, err
	}
	for i, b := range c.want {
		if int64(b.Offset) != c.at {
			return i, fmt.Errorf("the index has a block at %d that should be at %d", b.Offset, c.at)
		}
		sealed, err := c.next(int64(b.Sealed))
		if err != nil {
			return i, err
		}
		c.block(b, sealed, ctx.Err())
	}
	return len(c.want), c.end()
}

// next reads n bytes into the scratch buffer and hashes them.
func (c *packCheck) next(n int64) ([]byte, error) {
	if n < 0 || c.at+n > int64(c.p.Size) {
		return nil, fmt.Errorf("%d bytes at %d are not within its %d: %w", n, c.at, c.p.Size, pack.ErrDamaged)
	}
	b := c.raw[:0]
	if int64(cap(b)) < n {
		b = make([]byte, n)
	}
	b = b[:n]
	if _, err := io.ReadFull(c.in, b); err != nil {
		return nil, fmt.Errorf("read at %d: %w", c.at, err)
	}
	c.at += n
	_, _ = c.hash.Write(b) // a hash never fails
	return b, nil
}

func (c *packCheck) header() error {
	b, err := c.next(pack.HeaderSize)
	if err != nil {
		return err
	}
	h, err := pack.ParseHeader(b)
	if err == nil && (h.Kind != c.p.Kind || h.SID != c.p.SID || h.Seq != c.p.Seq) {
		err = errors.New("its header belongs to another pack")
	}
	return err
}

// block opens one block and recomputes the IDs of its chunks. err is why it
// could not be read.
func (c *packCheck) block(b index.Filled, sealed []byte, err error) {
	var plain []byte
	if err == nil {
		plain, err = c.s.box.OpenBlock(c.opened, sealed, int(b.Plain))
	}
	if err == nil && len(plain) != int(b.Plain) {
		err = fmt.Errorf("its block opens to %d bytes and not %d", len(plain), b.Plain)
	}
	for _, ch := range b.Chunks {
		chErr := err
		if err == nil && !ch.Recipe && c.s.sum(c.p.Kind, plain[ch.Offset:ch.Offset+ch.Length]) != ch.ID {
			chErr = errors.New("its bytes have another id")
		}
		if chErr != nil {
			c.found = append(c.found, &DamageError{Pack: c.name, Chunk: ch.ID, Err: chErr})
		}
		c.chunks++
	}
}

// end checks the trailer and the footer. The chunks do not depend on them.
func (c *packCheck) end() error {
	at := c.at
	tail, err := c.next(int64(c.p.Size) - c.at - pack.HashSize)
	if err != nil {
		return err
	}
	sum := [pack.HashSize]byte(c.hash.Sum(nil))
	tail = slices.Clone(tail)
	hash, err := c.next(pack.HashSize)
	if err != nil {
		return err
	}
	if len(tail) < pack.FooterSize-pack.HashSize {
		return fmt.Errorf("no pack footer: %w", pack.ErrDamaged)
	}
	cut := len(tail) - (pack.FooterSize - pack.HashSize)
	sealed, foot := tail[:cut], slices.Clone(tail[cut:])
	f, err := pack.ParseFooter(append(foot, hash...), int64(c.p.Size))
	switch {
	case err != nil:
		return err
	case f.TrailerOffset != at:
		return fmt.Errorf("its trailer begins at %d and its last block ends at %d", f.TrailerOffset, at)
	case f.Hash != sum:
		return errors.New("its bytes do not have the hash in its footer")
	}
	return c.trailer(sealed)
}

// trailer compares the pack's own list with what the index says.
func (c *packCheck) trailer(sealed []byte) error {
	name := trailerName(pack.Header{Kind: c.p.Kind, SID: c.p.SID, Seq: c.p.Seq})
	plain, err := c.s.box.OpenRecord(name, sealed, maxRecord*4)
	if err != nil {
		return err
	}
	blocks, err := pack.DecodeTrailer(plain)
	if err != nil {
		return err
	}
	if !slices.EqualFunc(blocks, c.want, fits) {
		return errors.New("its own list of chunks is not the one in the index")
	}
	return nil
}

// fits reports whether the index says nothing of a block that the pack's own
// list does not say. It may lack chunks: of those that are in several packs it
// keeps one copy.
func fits(own pack.Block, indexed index.Filled) bool {
	if own.Sealed != indexed.Sealed || own.Plain != indexed.Plain {
		return false
	}
	at, rest := uint32(0), indexed.Chunks
	for _, c := range own.Chunks {
		if len(rest) > 0 && rest[0].Offset == at && rest[0].ID == c.ID {
			if rest[0].Length != c.Length || rest[0].Recipe != (c.Form == pack.Recipe) {
				return false
			}
			rest = rest[1:]
		}
		at += c.Length
	}
	return len(rest) == 0
}
