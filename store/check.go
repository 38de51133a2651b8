package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/zeebo/blake3"
	"golang.org/x/sync/errgroup"

	"coffer/chunk"
	"coffer/index"
	"coffer/store/pack"
)

// CheckOptions say how much of the packs to read.
type CheckOptions struct {
	Data   bool                    // read and check all bytes
	Pick   func(name string) bool  // with Data: which packs to read; nil for all
	Report func(done, total int64) // bytes; called from several goroutines
	Damage func(*DamageError)      // called for each thing found, from several goroutines
}

// A CheckReport says what was looked at.
type CheckReport struct {
	Packs     int   // named by the index
	Bytes     int64 // of them
	PacksRead int
	BytesRead int64
	Chunks    int64 // whose IDs were recomputed
	Orphans   int   // packs that no commit names: left by runs that were cut off; prune removes them
}

// Check compares what the index says with what the bucket holds, and with Data
// reads packs whole: their hash, every block and the ID of every chunk.
func (s *Store) Check(ctx context.Context, opt CheckOptions) (CheckReport, error) {
	var rep CheckReport
	if err := s.Refresh(ctx); err != nil {
		return rep, err
	}
	v, err := s.current(ctx)
	if err != nil {
		return rep, err
	}
	packs, err := s.packsOf(ctx, v)
	if err != nil {
		return rep, err
	}
	whole, err := s.checkListing(ctx, packs, &rep, opt)
	if err != nil || !opt.Data {
		return rep, err
	}
	return rep, s.checkData(ctx, whole, &rep, opt)
}

// packsOf returns all packs that v's segments name, by object name, each with
// the chunks that the index places in it.
func (s *Store) packsOf(ctx context.Context, v *view) (map[string]index.Pack, error) {
	packs := map[string]index.Pack{}
	for _, ref := range v.segments {
		plain, err := s.getRecord(ctx, ref.Name, index.MaxSegment)
		if err != nil {
			return nil, fmt.Errorf("read index segment %s: %w", ref.Name, err)
		}
		seg, err := index.Decode(plain)
		if err != nil {
			return nil, fmt.Errorf("read index segment %s: %w", ref.Name, err)
		}
		for _, p := range seg.Packs {
			packs[packName(p)] = p
		}
	}
	return packs, nil
}

// checkListing sees that every pack is there with its size, and returns those
// that are.
func (s *Store) checkListing(ctx context.Context, packs map[string]index.Pack, rep *CheckReport, opt CheckOptions) ([]index.Pack, error) {
	sizes := map[string]int64{}
	for info, err := range s.bucket.List(ctx, "packs/", "") {
		if err != nil {
			return nil, fmt.Errorf("list packs: %w", err)
		}
		if _, ok := packs[info.Name]; !ok {
			rep.Orphans++
			continue
		}
		sizes[info.Name] = info.Size
	}
	var whole []index.Pack
	for name, p := range packs {
		rep.Packs++
		rep.Bytes += int64(p.Size)
		size, ok := sizes[name]
		switch {
		case !ok:
			opt.Damage(&DamageError{Pack: name, Err: errors.New("it is missing")})
		case size != int64(p.Size):
			opt.Damage(&DamageError{Pack: name, Err: fmt.Errorf("it has %d bytes where it should have %d", size, p.Size)})
		default:
			whole = append(whole, p)
		}
	}
	slices.SortFunc(whole, func(a, b index.Pack) int { return strings.Compare(packName(a), packName(b)) })
	return whole, nil
}

func (s *Store) checkData(ctx context.Context, packs []index.Pack, rep *CheckReport, opt CheckOptions) error {
	if opt.Pick != nil {
		packs = slices.DeleteFunc(packs, func(p index.Pack) bool { return !opt.Pick(packName(p)) })
	}
	var total int64
	for _, p := range packs {
		total += int64(p.Size)
	}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s.env.Workers)
	for _, p := range packs {
		group.Go(func() error {
			chunks, err := s.checkPack(ctx, p, opt)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			rep.PacksRead++
			rep.BytesRead += int64(p.Size)
			rep.Chunks += chunks
			if opt.Report != nil {
				opt.Report(rep.BytesRead, total)
			}
			return nil
		})
	}
	return group.Wait()
}

// checkPack reads one pack whole. Damage is reported; only what ends the whole
// check is returned.
func (s *Store) checkPack(ctx context.Context, p index.Pack, opt CheckOptions) (chunks int64, err error) {
	c := packCheck{s: s, name: packName(p), damage: opt.Damage}
	c.raw, c.opened = s.buf.Get().(*[]byte), s.buf.Get().(*[]byte)
	defer s.buf.Put(c.raw)
	defer s.buf.Put(c.opened)
	blocks, footer, err := s.readTrailer(ctx, p)
	if err == nil {
		err = c.blocks(ctx, p, blocks, footer)
	}
	if ctx.Err() != nil {
		return c.chunks, ctx.Err()
	}
	if err != nil {
		opt.Damage(&DamageError{Pack: c.name, Err: err})
	}
	return c.chunks, nil
}

// A packCheck is the reading of one pack.
type packCheck struct {
	s           *Store
	name        string
	damage      func(*DamageError)
	raw, opened *[]byte
	chunks      int64
}

// blocks reads header, blocks and trailer in one pass, hashing all and opening
// each block.
func (c *packCheck) blocks(ctx context.Context, p index.Pack, blocks []pack.Block, footer pack.Footer) error {
	r, err := c.s.bucket.Get(ctx, c.name, 0, int64(p.Size))
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // reading is over; what was read is checked
	hash := blake3.New()
	if err := c.head(r, hash, p); err != nil {
		return err
	}
	for _, b := range blocks {
		if err := ctx.Err(); err != nil {
			return err
		}
		sealed, err := c.next(r, hash, int(b.Sealed))
		if err != nil {
			return err
		}
		c.block(p.Kind, b, sealed)
	}
	if _, err := c.next(r, hash, int(footer.TrailerLength)+pack.FooterSize-len(footer.Hash)); err != nil {
		return err
	}
	if [32]byte(hash.Sum(nil)) != footer.Hash {
		return errors.New("its bytes do not have the hash in its footer")
	}
	return nil
}

func (c *packCheck) head(r io.Reader, hash *blake3.Hasher, p index.Pack) error {
	b, err := c.next(r, hash, pack.HeaderSize)
	if err != nil {
		return err
	}
	h, err := pack.ParseHeader(b)
	if err == nil && (h.Kind != p.Kind || h.SID != p.SID || h.Seq != p.Seq) {
		err = errors.New("its header belongs to another pack")
	}
	return err
}

// next reads n bytes into the scratch buffer and hashes them.
func (c *packCheck) next(r io.Reader, hash *blake3.Hasher, n int) ([]byte, error) {
	*c.raw = grow(*c.raw, n)
	if _, err := io.ReadFull(r, *c.raw); err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	_, _ = hash.Write(*c.raw) // a hash never fails
	return *c.raw, nil
}

// block opens one block and recomputes the IDs of its chunks.
func (c *packCheck) block(k chunk.Kind, b pack.Block, sealed []byte) {
	plain, err := c.s.box.OpenBlock((*c.opened)[:0], sealed, int(b.Plain))
	if err == nil && len(plain) != int(b.Plain) {
		err = errors.New("it opens to another number of bytes")
	}
	if err == nil {
		*c.opened = plain
	}
	off := uint32(0)
	for _, ch := range b.Chunks {
		chErr := err
		if err == nil && ch.Form == pack.Whole && c.s.sum(k, plain[off:off+ch.Length]) != ch.ID {
			chErr = errors.New("its bytes have another id")
		}
		if chErr != nil {
			c.damage(&DamageError{Pack: c.name, Chunk: ch.ID, Err: chErr})
		}
		off += ch.Length
		c.chunks++
	}
}

// readTrailer reads and opens the list of a pack's blocks.
func (s *Store) readTrailer(ctx context.Context, p index.Pack) ([]pack.Block, pack.Footer, error) {
	name := packName(p)
	if p.Size < pack.HeaderSize+pack.FooterSize {
		return nil, pack.Footer{}, errors.New("it is too short for a pack")
	}
	foot := make([]byte, pack.FooterSize)
	if err := s.readAt(ctx, name, foot, int64(p.Size)-pack.FooterSize); err != nil {
		return nil, pack.Footer{}, fmt.Errorf("read footer: %w", err)
	}
	f, err := pack.ParseFooter(foot, int64(p.Size))
	if err != nil {
		return nil, f, err
	}
	sealed := make([]byte, f.TrailerLength)
	if err := s.readAt(ctx, name, sealed, f.TrailerOffset); err != nil {
		return nil, f, fmt.Errorf("read trailer: %w", err)
	}
	plain, err := s.box.OpenRecord(trailerName(pack.Header{Kind: p.Kind, SID: p.SID, Seq: p.Seq}), sealed, maxRecord*4)
	if err != nil {
		return nil, f, err
	}
	blocks, err := pack.DecodeTrailer(plain)
	if err != nil {
		return nil, f, err
	}
	return blocks, f, sumBlocks(blocks, f)
}

// sumBlocks sees that the blocks fill the place before the trailer.
func sumBlocks(blocks []pack.Block, f pack.Footer) error {
	at := int64(pack.HeaderSize)
	for _, b := range blocks {
		at += int64(b.Sealed)
	}
	if at != f.TrailerOffset {
		return fmt.Errorf("its blocks end at %d and its trailer begins at %d: %w", at, f.TrailerOffset, pack.ErrDamaged)
	}
	return nil
}
