package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/dgraph-io/badger/v4"
	badgeropt "github.com/dgraph-io/badger/v4/options"
	"github.com/zeebo/blake3"

	"coffer/chunk"
)

// ErrBusy says that another process uses every copy of the table.
var ErrBusy = errors.New("index cache is in use by other processes")

// A Table is the Badger table built from segments: a local cache, so that
// memory does not grow with the repository. It may be deleted at any moment
// that nobody uses it, and is built again from segments. It knows only a keyed
// hash of each ID. Of dead packs it knows nothing but that a segment was merged
// without them.
//
//	s<segment name> -> first pack number u32 | live packs u32 | hash 32 of the list of its dead packs, if it has any
//	                   written last, when all below is on disk
//	p<number u32>   -> pack (as in a segment)
//	w               -> name of the segment that is being merged
//	c<hash 16>      -> pack number | block offset | sealed | plain | offset | length<<1+form   (u32 each)
type Table struct {
	db   *badger.DB
	lock slotLock
	key  [32]byte
	next uint32 // next pack number

	packs sync.Map // number to Pack: those that were asked for, some 50 bytes for 32 MiB of data each
}

// tableSlots is how many processes on one machine can have a table of their
// own at the same time; the next one goes without.
const tableSlots = 4

// OpenTable opens the first table under dir that no other process uses. A
// table that cannot be opened is deleted and begun again.
func OpenTable(dir string, key [32]byte) (*Table, error) {
	for i := range tableSlots {
		slot := filepath.Join(dir, fmt.Sprintf("table-%d", i))
		lock, clean, err := lockSlot(slot + ".lock")
		if errors.Is(err, ErrBusy) {
			continue
		}
		if err != nil {
			return nil, err
		}
		t, err := openSlot(slot, key, clean)
		if err != nil {
			return nil, errors.Join(err, lock.release(false))
		}
		t.lock = lock
		return t, nil
	}
	return nil, ErrBusy
}

// openSlot opens the table in dir, whose lock we have.
func openSlot(dir string, key [32]byte, clean bool) (*Table, error) {
	t, err := openGood(dir, key, clean)
	if err == nil {
		return t, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("remove broken index cache: %w", err)
	}
	if t, err = openGood(dir, key, true); err != nil {
		return nil, fmt.Errorf("open index cache %s: %w", dir, err)
	}
	return t, nil
}

// openGood opens the table in dir if it has not rotted.
func openGood(dir string, key [32]byte, clean bool) (*Table, error) {
	if err := preflight(dir, !clean); err != nil {
		return nil, err
	}
	t := &Table{key: key}
	if err := guard(func() (err error) { t.db, err = badger.Open(options(dir)); return err }); err != nil {
		return nil, err
	}
	if err := t.countPacks(); err != nil {
		return nil, errors.Join(err, t.db.Close())
	}
	return t, nil
}

// guard makes an error of a panic: Badger does not expect that bytes rot.
func guard(fn func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("index cache: %v: %w", r, ErrDamaged)
		}
	}()
	return fn()
}

// view runs a transaction that reads.
func (t *Table) view(fn func(*badger.Txn) error) error {
	return guard(func() error { return t.db.View(fn) })
}

// options keep Badger small: values are 24 bytes and stay in the tree, nothing
// needs conflict detection or a large cache (docs/benchmarks.md, "Index").
func options(dir string) badger.Options {
	o := badger.DefaultOptions(dir).WithLogger(nil).WithMetricsEnabled(false).
		WithDetectConflicts(false).WithSyncWrites(false).WithNumVersionsToKeep(1).
		WithMemTableSize(16 << 20).WithNumMemtables(2).WithNumLevelZeroTables(4).
		WithValueThreshold(1 << 10).WithValueLogFileSize(16 << 20).
		WithBlockCacheSize(4 << 20).WithIndexCacheSize(24 << 20).WithCompression(0).
		WithNumCompactors(2).WithBaseTableSize(8 << 20).
		WithChecksumVerificationMode(badgeropt.OnBlockRead) // a rotten entry must not be believed
	o.TableSizeMultiplier = 1 // compaction holds whole tables in memory
	return o
}

// Close lets other processes have the table.
func (t *Table) Close() error {
	err := guard(t.db.Close)
	return errors.Join(err, t.lock.release(err == nil))
}

func (t *Table) countPacks() error {
	return t.view(func(tx *badger.Txn) error {
		it := tx.NewIterator(badger.IteratorOptions{Prefix: []byte("p"), Reverse: true})
		defer it.Close()
		it.Seek([]byte{'p', 0xff, 0xff, 0xff, 0xff, 0xff})
		if it.Valid() {
			t.next = binary.BigEndian.Uint32(it.Item().Key()[1:]) + 1
		}
		return nil
	})
}

// A span is the pack numbers that one merged segment brought.
type span struct{ first, n uint32 }

// A mark says that a segment was merged without its dead packs.
type mark struct {
	span
	dead string // deadSum
}

func (m mark) encode() []byte { return append(u32(u32(nil, m.first), m.n), m.dead...) }

func decodeMark(v []byte) (mark, error) {
	if len(v) != 8 && len(v) != 8+32 {
		return mark{}, fmt.Errorf("index cache: bad mark: %w", ErrDamaged)
	}
	return mark{span{at(v, 0), at(v, 1)}, string(v[8:])}, nil
}

// merged returns the segments that the table holds. If a merge was cut off it
// is none: entries without their mark may hide others.
func (t *Table) merged() (map[string]mark, error) {
	out := map[string]mark{}
	err := t.view(func(tx *badger.Txn) error {
		if _, err := tx.Get([]byte(mergingKey)); !errors.Is(err, badger.ErrKeyNotFound) {
			return err
		}
		it := tx.NewIterator(badger.IteratorOptions{Prefix: []byte("s"), PrefetchValues: true, PrefetchSize: 100})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			err := it.Item().Value(func(v []byte) (err error) {
				out[string(it.Item().Key()[1:])], err = decodeMark(v)
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

// reset forgets everything.
func (t *Table) reset() error {
	t.next = 0
	t.packs.Clear()
	return guard(t.db.DropAll)
}

// merge adds the live entries of a segment. Its mark is written last, after the
// entries are on disk, so that a power cut leaves no mark without entries.
func (t *Table) merge(name string, s *piece) (span, error) {
	numbers, sp := t.number(s)
	wb := t.db.NewWriteBatch()
	wb.SetMaxPendingTxns(2) // the default of 16 holds some 100 MB and is no faster
	defer wb.Cancel()
	if err := wb.Set([]byte(mergingKey), []byte(name)); err != nil {
		return sp, fmt.Errorf("fill index cache: %w", err)
	}
	for i, p := range s.Packs {
		if s.mask != nil && s.mask[i] {
			continue
		}
		if err := wb.Set(packKey(numbers[i]), appendPack(nil, p)); err != nil {
			return sp, fmt.Errorf("fill index cache: %w", err)
		}
	}
	if err := t.mergeEntries(wb, s, numbers); err != nil {
		return sp, fmt.Errorf("fill index cache: %w", err)
	}
	t.next += sp.n
	if err := errors.Join(wb.Flush(), t.db.Sync()); err != nil {
		return sp, fmt.Errorf("fill index cache: %w", err)
	}
	return sp, t.db.Update(func(tx *badger.Txn) error {
		err := tx.Set(append([]byte("s"), name...), mark{sp, deadSum(s.dead)}.encode())
		return errors.Join(err, tx.Delete([]byte(mergingKey)))
	})
}

// number gives the live packs of a segment the next numbers; dead ones have
// none.
func (t *Table) number(s *piece) (numbers []uint32, sp span) {
	sp.first = t.next
	numbers = make([]uint32, len(s.Packs))
	for i := range numbers {
		if s.mask == nil || !s.mask[i] {
			numbers[i] = sp.first + sp.n
			sp.n++
		}
	}
	return numbers, sp
}

func (t *Table) mergeEntries(wb *badger.WriteBatch, s *piece, numbers []uint32) error {
	h := t.hasher()
	for i, e := range s.Entries() {
		if s.isDead(i) {
			continue
		}
		if e.Recipe {
			_, old, ok, err := t.lookup(h, e.ID)
			if err != nil {
				return err
			}
			if ok && !old.Recipe { // the whole copy wins
				continue
			}
		}
		b := s.Block(int(e.Block))
		v := make([]byte, 0, 24)
		v = u32(u32(u32(v, numbers[b.Pack]), b.Offset), b.Sealed)
		v = u32(u32(u32(v, b.Plain), e.Offset), e.Length<<1|form(e))
		if err := wb.Set(chunkKey(h, e.ID), v); err != nil {
			return err
		}
	}
	return nil
}

func (t *Table) hasher() *blake3.Hasher {
	h, err := blake3.NewKeyed(t.key[:])
	if err != nil {
		panic(err) // the key has the right length by its type
	}
	return h
}

// mergingKey is there while a segment is being merged.
const mergingKey = "w"

func packKey(n uint32) []byte { return binary.BigEndian.AppendUint32([]byte("p"), n) }

// chunkKey is 'c' and the first 16 bytes of the keyed hash of the ID.
func chunkKey(h *blake3.Hasher, id chunk.ID) []byte {
	h.Reset()
	_, _ = h.Write(id[:]) // a hash never fails
	key := h.Sum(append(make([]byte, 0, 33), 'c'))
	return key[:17]
}

// lookup returns the pack number and place of a chunk; the place's pack is
// still to be filled in.
func (t *Table) lookup(h *blake3.Hasher, id chunk.ID) (n uint32, p Place, ok bool, err error) {
	err = t.view(func(tx *badger.Txn) error {
		item, err := tx.Get(chunkKey(h, id))
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return item.Value(func(v []byte) error {
			if len(v) != 24 {
				return ErrDamaged
			}
			ok, n = true, at(v, 0)
			p = Place{BlockOffset: at(v, 1), BlockSealed: at(v, 2), BlockPlain: at(v, 3),
				Offset: at(v, 4), Length: at(v, 5) >> 1, Recipe: at(v, 5)&1 == 1}
			return nil
		})
	})
	return n, p, ok, err
}

// pack returns the pack with a number.
func (t *Table) pack(n uint32) (Pack, error) {
	if p, ok := t.packs.Load(n); ok {
		return p.(Pack), nil
	}
	p, err := t.readPack(n)
	if err == nil {
		t.packs.Store(n, p)
	}
	return p, err
}

func (t *Table) readPack(n uint32) (Pack, error) {
	var p Pack
	err := t.view(func(tx *badger.Txn) error {
		item, err := tx.Get(packKey(n))
		if err != nil {
			return err
		}
		return item.Value(func(v []byte) error {
			if len(v) != packSize {
				return ErrDamaged
			}
			s := Segment{}
			s.setPacks(v)
			p = s.Packs[0]
			return nil
		})
	})
	return p, err
}
