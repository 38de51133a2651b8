package gc

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/zeebo/blake3"

	"coffer/store"
)

// The log holds what pages name. Nothing is ever changed in it, and children
// stand before their parents: each page's number is greater than those of the
// pages that it names, also where it was added years later. Hence
//
//   - one pass from the end to the beginning meets every page after all that
//     name it;
//   - every prefix of a log is one too, closed under what its pages name. A
//     file that was cut anywhere, or an old copy of it, only knows less.
//
// The file begins with a line that says what it is, and the sealed key of the
// pages' names behind its length (4 bytes, little endian). Frames follow: the
// sealed lengths of two parts (4 bytes each), and those, sealed: names (16
// bytes for each page), so that knowing all pages is quick, and records. Each
// part is sealed under the hash of what stands before it, so that a frame opens
// only where it was written.
//
// Nothing is synchronized to the disk: what a power cut leaves behind either
// opens or is no part of the log.
type refLog struct {
	box   Sealer
	log   *slog.Logger
	path  string
	limit int // plain bytes of records from which on a frame is written

	key    [keySize]byte
	names  *names
	file   *os.File // nil: there is none, and nothing is kept
	lock   *os.File // nil: somebody else writes
	frames []frame
	end    int64
	link   link // of the last frame

	newNames, newRecords []byte // of pages that are not written yet
	newCount             uint32
}

// A link is the hash of a frame's sealed names, or of the sealed key.
type link [16]byte

func linkOf(sealed []byte) link {
	sum := blake3.Sum256(sealed)
	return link(sum[:16])
}

func (l link) String() string { return hex.EncodeToString(l[:]) }

// A frame is where a part of the log lies.
type frame struct {
	at           int64 // of its records
	sealed       int   // bytes of its sealed records
	first, count uint32
	link         link
}

const (
	logMagic  = "coffer references 1\n"
	frameHead = 8
	logFile   = "references"
	lockFile  = "references.lock"

	// maxPart bounds the plain bytes of a part. A page names 8192 chunks at most.
	maxPart   = 1 << 20
	maxSealed = maxPart + 4<<10
)

// errRotten says that the log does not say what was written to it.
var errRotten = errors.New("the cache does not say what was written to it")

// noLog returns a log that keeps nothing.
func (m *Marker) noLog() *refLog {
	l := &refLog{box: m.box, log: m.log, path: filepath.Join(m.dir, logFile), limit: m.frame}
	l.rekey(newKey())
	return l
}

func (l *refLog) rekey(key [keySize]byte) { l.key, l.names = key, newNames(key) }

// openLog opens the log, and begins one where there is none. A log that cannot
// be had is no reason to fail.
func (m *Marker) openLog() *refLog {
	l := m.noLog()
	if m.dir == "" {
		return l
	}
	if err := l.open(m.dir); err != nil {
		l.log.Warn("going on without the cache of references", "err", err)
		l.drop()
	}
	return l
}

func (l *refLog) open(dir string) error {
	err := os.MkdirAll(dir, 0o700)
	if err != nil {
		return fmt.Errorf("make cache of references: %w", err)
	}
	if l.lock, err = tryLock(filepath.Join(dir, lockFile)); err != nil {
		return err
	}
	flag := os.O_RDONLY
	if l.lock != nil {
		flag = os.O_RDWR
	}
	l.file, err = os.OpenFile(l.path, flag, 0)
	switch {
	case err == nil:
		err = l.load()
	case errors.Is(err, os.ErrNotExist):
		l.file, err = nil, nil
	}
	if err != nil {
		l.drop()
		l.log.Warn("the cache of references cannot be read", "err", err)
	}
	if l.file == nil && l.lock != nil {
		return l.begin(l.path)
	}
	return nil
}

// drop lets go of the file: the log knows nothing and keeps nothing.
func (l *refLog) drop() {
	if l.file != nil {
		_ = l.file.Close() // nothing depends on it
	}
	l.file, l.frames = nil, nil
	l.rekey(newKey())
}

// begin writes an empty log beside the one that may be there, which others
// may be reading, and puts it at path.
func (l *refLog) begin(path string) error {
	if err := l.create(path + ".new"); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("begin cache of references: %w", err)
	}
	return nil
}

func (l *refLog) create(path string) (err error) {
	sealed, err := l.box.SealCache(logFile, l.key[:])
	if err != nil {
		return err
	}
	if l.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
		return fmt.Errorf("begin cache of references: %w", err)
	}
	head := append([]byte(logMagic), binary.LittleEndian.AppendUint32(nil, uint32(len(sealed)))...)
	head = append(head, sealed...)
	if _, err := l.file.WriteAt(head, 0); err != nil {
		return fmt.Errorf("begin cache of references: %w", err)
	}
	l.end, l.link = int64(len(head)), linkOf(sealed)
	return nil
}

// load reads the names of all pages, up to the first frame that is not good.
func (l *refLog) load() error {
	head := make([]byte, len(logMagic)+4)
	if _, err := l.file.ReadAt(head, 0); err != nil {
		return fmt.Errorf("read cache of references: %w", err)
	}
	if !bytes.HasPrefix(head, []byte(logMagic)) {
		return fmt.Errorf("read cache of references: it is none: %w", errRotten)
	}
	sealed, err := l.read(nil, int64(len(head)), int(binary.LittleEndian.Uint32(head[len(logMagic):])))
	if err != nil {
		return err
	}
	key, err := l.box.OpenCache(logFile, sealed, keySize)
	if err != nil || len(key) != keySize {
		return fmt.Errorf("read cache of references: %w", errors.Join(err, errRotten))
	}
	l.rekey([keySize]byte(key))
	l.end, l.link = int64(len(head)+len(sealed)), linkOf(sealed)
	info, err := l.file.Stat()
	if err != nil {
		return err
	}
	for l.end < info.Size() {
		if sealed, err = l.loadFrame(sealed, info.Size()); err != nil {
			return l.cut(err)
		}
	}
	return nil
}

// cut takes away what follows the last good frame.
func (l *refLog) cut(why error) error {
	l.log.Debug("the cache of references ends early", "at", l.end, "err", why)
	if l.lock == nil {
		return nil // somebody else is writing there
	}
	if err := l.file.Truncate(l.end); err != nil {
		return fmt.Errorf("cut cache of references: %w", err)
	}
	return nil
}

// loadFrame reads the names in the frame at l.end, of a file of size bytes.
func (l *refLog) loadFrame(buf []byte, size int64) ([]byte, error) {
	buf, err := l.read(buf, l.end, frameHead)
	if err != nil {
		return buf, err
	}
	names, records := int(binary.LittleEndian.Uint32(buf)), int(binary.LittleEndian.Uint32(buf[4:]))
	if buf, err = l.read(buf, l.end+frameHead, names); err != nil {
		return buf, err
	}
	f := frame{at: l.end + frameHead + int64(names), sealed: records, first: l.names.len(), link: linkOf(buf)}
	if f.at+int64(records) > size {
		return buf, fmt.Errorf("records are cut short: %w", errRotten)
	}
	plain, err := l.box.OpenCache(namesOf(l.link), buf, maxPart)
	if err != nil || len(plain) == 0 || len(plain)%nameSize != 0 {
		return buf, errors.Join(err, errRotten)
	}
	f.count = uint32(len(plain) / nameSize)
	for ; len(plain) > 0; plain = plain[nameSize:] {
		l.names.add(name(plain[:nameSize]))
	}
	l.extend(f)
	return buf, nil
}

func (l *refLog) extend(f frame) {
	l.frames = append(l.frames, f)
	l.end, l.link = f.at+int64(f.sealed), f.link
}

func namesOf(before link) string  { return logFile + " names " + before.String() }
func recordsOf(names link) string { return logFile + " records " + names.String() }

func (l *refLog) read(buf []byte, at int64, n int) ([]byte, error) {
	if n > maxSealed {
		return buf, fmt.Errorf("a part of %d bytes: %w", n, errRotten)
	}
	buf = slices.Grow(buf[:0], n)[:n]
	if _, err := l.file.ReadAt(buf, at); err != nil {
		return buf, fmt.Errorf("%w: %w", errRotten, err)
	}
	return buf, nil
}

// backward calls fn for the records of the first frames, the last one first. It
// opens a frame only if want, asked when its turn comes, says so.
func (l *refLog) backward(ctx context.Context, frames int, want func(first, count uint32) bool, fn func(record)) error {
	return l.each(ctx, frames, func(i int) int { return frames - 1 - i }, want, func(rs []record) {
		for _, r := range slices.Backward(rs) {
			fn(r)
		}
	})
}

// forward calls fn for all records.
func (l *refLog) forward(ctx context.Context, want func(first, count uint32) bool, fn func(record)) error {
	return l.each(ctx, len(l.frames), func(i int) int { return i }, want, func(rs []record) {
		for _, r := range rs {
			fn(r)
		}
	})
}

func all(uint32, uint32) bool { return true }

func (l *refLog) each(ctx context.Context, frames int, turn func(int) int, want func(first, count uint32) bool, fn func([]record)) error {
	var buf []byte
	var rs []record
	for i := range frames {
		if err := ctx.Err(); err != nil {
			return err
		}
		f := l.frames[turn(i)]
		if !want(f.first, f.count) {
			continue
		}
		var err error
		if buf, err = l.read(buf, f.at, f.sealed); err != nil {
			return err
		}
		plain, err := l.box.OpenCache(recordsOf(f.link), buf, maxPart)
		if err == nil {
			rs, err = splitRecords(rs[:0], plain, f.first, f.count)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errRotten, err)
		}
		fn(rs)
	}
	return nil
}

func (l *refLog) writable() bool { return l.file != nil && l.lock != nil }

// add appends a page, whose number must be the next one.
func (l *refLog) add(n *node, _ uint32) {
	l.append(n.name, store.Prefix(n.id[:]), n.trees, n.data)
}

func (l *refLog) append(n name, prefix uint64, trees []uint32, data []uint64) {
	if !l.writable() {
		return
	}
	l.newNames = append(l.newNames, n[:]...)
	l.newRecords = appendRecord(l.newRecords, prefix, trees, data)
	l.newCount++
	if len(l.newRecords) >= l.limit {
		l.flush()
	}
}

// flush writes a frame of what was added. Once that has failed, nothing more
// is kept: numbers would have a gap.
func (l *refLog) flush() {
	if l.newCount == 0 || !l.writable() {
		return
	}
	err := l.writeFrame()
	l.newNames, l.newRecords, l.newCount = l.newNames[:0], l.newRecords[:0], 0
	if err == nil {
		return
	}
	l.log.Warn("the cache of references cannot be written", "err", err)
	_ = l.file.Truncate(l.end) // what is left of the frame does not open
	l.unlock()
}

func (l *refLog) writeFrame() error {
	names, err := l.box.SealCache(namesOf(l.link), l.newNames)
	if err != nil {
		return err
	}
	f := frame{count: l.newCount, link: linkOf(names)}
	records, err := l.box.SealCache(recordsOf(f.link), l.newRecords)
	if err != nil {
		return err
	}
	out := binary.LittleEndian.AppendUint32(nil, uint32(len(names)))
	out = binary.LittleEndian.AppendUint32(out, uint32(len(records)))
	out = append(out, names...)
	f.at, f.sealed = l.end+int64(len(out)), len(records)
	if _, err := l.file.WriteAt(append(out, records...), l.end); err != nil {
		return err
	}
	if n := len(l.frames); n > 0 {
		f.first = l.frames[n-1].first + l.frames[n-1].count
	}
	l.extend(f)
	return nil
}

// discard takes a rotten log away, if it is ours to write.
func (l *refLog) discard(why error) {
	l.log.Warn("the cache of references was damaged and is begun again", "err", why)
	if l.lock != nil {
		_ = os.Remove(l.path) // what stays is discarded by whoever reads it next
	}
}

func (l *refLog) unlock() {
	if l.lock != nil {
		_ = l.lock.Close() // the kernel drops the lock whatever this says
	}
	l.lock = nil
}

func (l *refLog) close() {
	l.unlock()
	if l.file != nil {
		_ = l.file.Close() // what did not get there does not open
	}
}

func newKey() (key [keySize]byte) {
	_, _ = rand.Read(key[:]) // it never fails
	return key
}
