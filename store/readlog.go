package store

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"coffer/index"
	"coffer/seal"
)

// The read log says which packs were read whole and found good, and when, so
// that a verify of a part can take those whose turn it is. It is in notes:
//
//	time i64, seconds | n u32 | n times: generation u64 | sid 16 | seq u32
//
// as often as there are times, all little-endian. A pack that was written anew
// has another name, and so was never read.
const (
	readHead = 8 + 4
	readSize = 8 + 16 + 4
)

// maxReads bounds a folded log to what a record may hold: 77 TB of packs of the
// usual size. What was read longest ago is left out, and so read first.
const maxReads = 2_000_000

// A readLog is when packs were read; of a pack, only what its name says counts.
type readLog map[index.Pack]int64

func (l readLog) add(p index.Pack, at int64) {
	key := index.Pack{Generation: p.Generation, SID: p.SID, Seq: p.Seq}
	if old, ok := l[key]; !ok || at > old {
		l[key] = at
	}
}

// encode returns the log's bytes, the same for the same log.
func (l readLog) encode() []byte {
	packs := slices.SortedFunc(maps.Keys(l), func(a, b index.Pack) int {
		return cmp.Or(cmp.Compare(l[b], l[a]), cmp.Compare(a.Generation, b.Generation), slices.Compare(a.SID[:], b.SID[:]), cmp.Compare(a.Seq, b.Seq))
	})
	packs = packs[:min(len(packs), maxReads)]
	var b []byte
	for len(packs) > 0 {
		at, n := l[packs[0]], 1
		for n < len(packs) && l[packs[n]] == at {
			n++
		}
		b = binary.LittleEndian.AppendUint64(b, uint64(at))
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
		for _, p := range packs[:n] {
			b = binary.LittleEndian.AppendUint64(b, p.Generation)
			b = append(b, p.SID[:]...)
			b = binary.LittleEndian.AppendUint32(b, p.Seq)
		}
		packs = packs[n:]
	}
	return b
}

// decode adds what b says. What lies after now is left out: a clock was wrong,
// and the pack would count as just read until the other clocks get there.
func (l readLog) decode(b []byte, now time.Time) error {
	for len(b) > 0 {
		if len(b) < readHead {
			return fmt.Errorf("%d bytes are no log of reads: %w", len(b), seal.ErrDamaged)
		}
		at, n := int64(binary.LittleEndian.Uint64(b)), int64(binary.LittleEndian.Uint32(b[8:]))
		if b = b[readHead:]; int64(len(b)) < n*readSize {
			return fmt.Errorf("a log of %d reads has %d bytes: %w", n, len(b), seal.ErrDamaged)
		}
		for range n {
			p := index.Pack{Generation: binary.LittleEndian.Uint64(b), SID: [16]byte(b[8:24]), Seq: binary.LittleEndian.Uint32(b[24:])}
			if b = b[readSize:]; at <= now.Unix() {
				l.add(p, at)
			}
		}
	}
	return nil
}

// foldReads returns one log that says the same as those in notes, of the packs
// that live still names. What cannot be decoded counts for nothing.
func foldReads(notes []note, live func(index.Pack) bool, now time.Time) []byte {
	l := readLog{}
	for _, n := range notes {
		_ = l.decode(n.Reads, now) // a pack is read once more; that is all
	}
	maps.DeleteFunc(l, func(p index.Pack, _ int64) bool { return !live(p) })
	return l.encode()
}

// ReadTimes returns, by name, when packs were last read whole and found good.
// Packs of which that is not known are absent.
func (s *Store) ReadTimes(ctx context.Context) (map[string]time.Time, error) {
	l, now := readLog{}, s.env.Now()
	err := s.eachNote(ctx, func(name string, n note) {
		if err := l.decode(n.Reads, now); err != nil {
			s.env.Log.Warn("part of what is known of earlier reads of packs is damaged and counts for nothing", "note", name, "err", err)
		}
	})
	times := make(map[string]time.Time, len(l))
	for p, at := range l {
		times[packName(p)] = time.Unix(at, 0)
	}
	return times, err
}

// logReads records that packs were read at a time. That it cannot be recorded
// is no reason to fail.
func (s *Store) logReads(ctx context.Context, packs []index.Pack, at time.Time) {
	if len(packs) == 0 {
		return
	}
	l := readLog{}
	for _, p := range packs {
		l.add(p, at.Unix())
	}
	err := s.putNote(context.WithoutCancel(ctx), note{Version: recordVersion, Reads: l.encode()})
	if err != nil {
		s.env.Log.Warn("could not record which packs were read: the next verify may read them again", "err", err)
	}
}

// maxNotes is how many notes there may be before a closing puts one in their
// place: each listing of snapshots reads them all.
const maxNotes = 64

// manyNotes returns all notes, if there are so many that they should be folded.
func (s *Store) manyNotes(ctx context.Context) ([]namedNote, error) {
	names, err := s.list(ctx, notePrefix)
	if err != nil || len(names) <= maxNotes {
		return nil, err
	}
	return s.readNotes(ctx)
}

// foldNotes writes one note in place of many, and returns the names of those
// that it stands for. Until they are deleted all of them say the same thing
// twice. A fold that fails is made by the next closing.
func (c *closer) foldNotes(ctx context.Context) []string {
	if c.opt.Fold == nil || len(c.notes) == 0 {
		return nil
	}
	names, err := c.fold(ctx)
	if err != nil {
		c.s.env.Log.Warn("notes could not all be put together", "err", err)
	}
	return names
}

func (c *closer) fold(ctx context.Context) ([]string, error) {
	valid := make(map[string]bool, len(c.v.commits))
	for _, k := range c.v.commits {
		valid[k.ID] = true
	}
	var said []Note
	for _, n := range c.notes {
		if len(n.Payload) > 0 {
			said = append(said, Note{ID: n.id(), Payload: n.Payload})
		}
	}
	payload, ids, foldErr := c.opt.Fold(said, func(id string) bool { return valid[id] })
	var folded []note
	var names []string
	for _, n := range c.notes {
		if len(n.Payload) == 0 || slices.Contains(ids, n.id()) {
			folded, names = append(folded, n.note), append(names, n.name)
		}
	}
	one := note{Version: recordVersion, Payload: payload, Reads: foldReads(folded, c.named(), c.s.env.Now())}
	if len(folded) < 2 {
		return nil, foldErr
	}
	if len(one.Payload)+len(one.Reads) > 0 {
		if err := c.s.putNote(ctx, one); err != nil {
			return nil, errors.Join(foldErr, err)
		}
	}
	return names, foldErr
}

// named reports of a pack's name whether the generation has it; where that is
// not known, it may.
func (c *closer) named() func(index.Pack) bool {
	if c.packs == nil {
		return func(index.Pack) bool { return true }
	}
	names := make(map[string]bool, len(c.packs))
	for p := range c.packs {
		names[packName(p)] = true
	}
	return func(p index.Pack) bool { return names[packName(p)] }
}
