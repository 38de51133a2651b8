package golden

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/zeebo/blake3"

	"coffer/chunk"
	"coffer/index"
	"coffer/seal"
	"coffer/store"
	"coffer/store/pack"
)

// A patient is a copy of the golden repository that is about to be damaged.
type patient struct {
	repo
	t testing.TB
}

func (p patient) ok(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p patient) path(name string) string { return filepath.Join(p.dir, name) }

func (p patient) read(name string) []byte {
	p.t.Helper()
	b, err := os.ReadFile(p.path(name))
	p.ok(err)
	return b
}

func (p patient) write(name string, b []byte) {
	p.t.Helper()
	p.ok(os.WriteFile(p.path(name), b, 0o600))
}

// list returns the names below a prefix, in order.
func (p patient) list(prefix string) (names []string) {
	p.t.Helper()
	p.ok(fs.WalkDir(os.DirFS(p.dir), prefix, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, name)
		}
		return err
	}))
	return names
}

// pack returns the name of the largest pack of a kind.
func (p patient) pack(kind byte) (name string) {
	p.t.Helper()
	most := 0
	for _, n := range p.list("packs") {
		if b := p.read(n); b[10] == kind && len(b) > most {
			name, most = n, len(b)
		}
	}
	return name
}

// slot returns the name of the slot of a kind.
func (p patient) slot(kind seal.SlotKind) string {
	p.t.Helper()
	for _, name := range p.list("keys") {
		if s, err := seal.DecodeSlot(p.read(name)); err == nil && s.Kind == kind {
			return name
		}
	}
	p.t.Fatalf("no slot of kind %s", kind)
	return ""
}

// flip changes one bit at a place, from the end where at is negative, and
// returns the object's name.
func (p patient) flip(name string, at int) string {
	p.t.Helper()
	b := p.read(name)
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 0x10
	p.write(name, b)
	return name
}

// resize cuts the end off an object, or adds zeros.
func (p patient) resize(name string, by int) string {
	p.t.Helper()
	b := p.read(name)
	p.write(name, append(b, make([]byte, max(by, 0))...)[:len(b)+by])
	return name
}

// remove removes an object.
func (p patient) remove(name string) string {
	p.t.Helper()
	p.ok(os.Remove(p.path(name)))
	return name
}

// exchange gives two objects each other's bytes.
func (p patient) exchange(a, b string) string {
	p.t.Helper()
	x, y := p.read(a), p.read(b)
	p.write(a, y)
	p.write(b, x)
	return a
}

// A damage is one way to spoil a repository, and how that must be noticed: by
// an error of a class where there is one, whose text has both the name of the
// object and the words. do returns that name. The reader in Python must name
// it too.
type damage struct {
	do    func(p patient) string
	class error
	words string
	kind  seal.SlotKind // that is opened with; "": key file

	unnamed bool // the code's error does without the object's name
}

var damages = map[string]damage{
	"config-removed":   {do: func(p patient) string { return p.remove("config") }, class: store.ErrNoRepository, words: "it has no config"},
	"config-magic":     {do: func(p patient) string { return p.flip("config", 3) }, class: store.ErrNoRepository, words: "of a version", unnamed: true},
	"config-bit":       {do: func(p patient) string { return p.flip("config", 60) }, class: seal.ErrDamaged, words: "authentication failed"},
	"config-cut-short": {do: func(p patient) string { return p.resize("config", -1) }, class: seal.ErrDamaged, words: "authentication failed"},
	"config-of-another": {do: func(p patient) string {
		p.write("config", append(p.read("config")[:53:53], p.read("generations/0000000000")...))
		return "config"
	}, class: seal.ErrDamaged, words: "authentication failed"},

	"slot-wrapped-bit": {do: func(p patient) string { return p.flip(p.slot(seal.KeyFile), -1) }, class: seal.ErrDamaged, words: "key slot"},
	"slot-cut-short":   {do: func(p patient) string { return p.resize(p.slot(seal.KeyFile), -20) }, class: seal.ErrDamaged, words: "decode key slot"},
	"slot-renamed": {do: func(p patient) string {
		p.ok(os.Rename(p.path(p.slot(seal.KeyFile)), p.path("keys/0123456789abcdef")))
		return "keys/0123456789abcdef"
	}, class: seal.ErrDamaged, words: "authentication failed"},
	"slot-weak": {do: func(p patient) string { return p.weaken(p.slot(seal.Password)) }, class: seal.ErrWeak, words: "m=8 KiB", kind: seal.Password, unnamed: true},
	"slots-removed": {do: func(p patient) string {
		for _, name := range p.list("keys") {
			p.remove(name)
		}
		return "keys"
	}, class: seal.ErrWrongSecret, words: "wrong", unnamed: true},

	"fate-bit":        {do: func(p patient) string { return p.flip(p.list("fates")[0], -1) }, class: seal.ErrDamaged, words: "authentication failed"},
	"fate-cut-short":  {do: func(p patient) string { return p.resize(p.list("fates")[1], -100) }, class: seal.ErrDamaged},
	"fate-empty":      {do: func(p patient) string { n := p.list("fates")[1]; p.write(n, nil); return n }, class: seal.ErrDamaged, words: "too few"},
	"fates-exchanged": {do: func(p patient) string { f := p.list("fates"); p.exchange(f[0], f[1]); return "fates/" }, class: seal.ErrDamaged},
	"fate-renamed": {do: func(p patient) string {
		n := "fates/0000000000/" + strings.Repeat("0", 32)
		p.ok(os.Rename(p.path(p.list("fates")[0]), p.path(n)))
		return n
	}, class: seal.ErrDamaged},

	"segment-bit":        {do: func(p patient) string { return p.flip(p.list("index")[0], 300) }, class: seal.ErrDamaged},
	"segment-removed":    {do: func(p patient) string { return p.remove(p.list("index")[0]) }, class: fs.ErrNotExist},
	"segments-exchanged": {do: func(p patient) string { s := p.list("index"); p.exchange(s[0], s[1]); return "index/" }, class: seal.ErrDamaged},

	"pack-removed":     {do: func(p patient) string { return p.remove(p.pack(1)) }, words: "it is missing"},
	"pack-cut-short":   {do: func(p patient) string { return p.resize(p.pack(1), -1) }, words: "bytes and should have"},
	"pack-grown":       {do: func(p patient) string { return p.resize(p.pack(1), 1) }, words: "bytes and should have"},
	"pack-magic":       {do: func(p patient) string { return p.flip(p.pack(1), 0) }, class: pack.ErrDamaged, words: "no pack header"},
	"pack-header":      {do: func(p patient) string { return p.flip(p.pack(1), 33) }, words: "header belongs to another pack"},
	"pack-block":       {do: func(p patient) string { return p.flip(p.pack(1), 40+24+100) }, class: seal.ErrDamaged, words: "chunk"},
	"pack-trailer":     {do: func(p patient) string { return p.flip(p.pack(1), -56-10) }, words: "hash in its footer"},
	"pack-footer":      {do: func(p patient) string { return p.flip(p.pack(1), -56) }, class: pack.ErrDamaged, words: "footer"},
	"pack-hash":        {do: func(p patient) string { return p.flip(p.pack(1), -1) }, words: "hash in its footer"},
	"tree-pack-block":  {do: func(p patient) string { return p.flip(p.pack(2), 40) }, class: seal.ErrDamaged, words: "chunk"},
	"tree-pack-gone":   {do: func(p patient) string { return p.remove(p.pack(2)) }, words: "it is missing"},
	"packs-exchanged":  {do: func(p patient) string { return p.exchange(p.pack(1), p.pack(2)) }, words: "should have"},
	"pack-other-place": {do: func(p patient) string { return p.blocksMoved(p.pack(1)) }, class: seal.ErrDamaged, words: "chunk"},

	"generations-removed": {do: func(p patient) string {
		p.remove("generations/0000000000")
		p.remove("generations/0000000000.done")
		return "generation"
	}, class: seal.ErrDamaged, words: "part of the repository is missing"},
	"generation-bit": {do: func(p patient) string { return p.flip("generations/0000000000.done", -1) }, class: seal.ErrDamaged},
	"generation-of-another-name": {do: func(p patient) string {
		p.write("generations/0000000001", p.read("generations/0000000000"))
		return "generation"
	}, class: seal.ErrDamaged},
	"session-bit": {do: func(p patient) string { return p.flip(p.list("sessions")[0], 30) }, class: seal.ErrDamaged},
}

// weaken makes a slot ask for a key derivation that is soon guessed through.
func (p patient) weaken(name string) string {
	p.t.Helper()
	s, err := seal.DecodeSlot(p.read(name))
	p.ok(err)
	s.Memory = 8
	b, err := cbor.Marshal(s)
	p.ok(err)
	p.write(name, b)
	return name
}

// blocksMoved turns all that lies between header and trailer by one byte, and
// puts the footer's hash right: whoever keeps the objects can do that.
func (p patient) blocksMoved(name string) string {
	p.t.Helper()
	b := p.read(name)
	f, err := pack.ParseFooter(b[len(b)-pack.FooterSize:], int64(len(b)))
	p.ok(err)
	blocks := b[pack.HeaderSize:f.TrailerOffset]
	copy(blocks, slices.Concat(blocks[1:], blocks[:1]))
	rehash(b)
	p.write(name, b)
	return name
}

// TestDamage spoils copies of testdata/v1 and sees that nobody overlooks it.
func TestDamage(t *testing.T) {
	needPython(t)
	for name, d := range damages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := patient{golden().copied(t), t}
			object := d.do(p)
			d.code(p, object)
			d.reader(p, object)
		})
	}
}

// code sees that the current code notices. Slots and packs may be named
// shorter than their objects.
func (d damage) code(p patient, object string) {
	p.t.Helper()
	secret, err := p.secret()
	p.ok(err)
	if d.kind == seal.Password {
		secret = seal.Secret{Kind: seal.Password, Value: []byte(password)}
	}
	_, list, err := found(context.Background(), p.repo, secret)
	all := errors.Join(append(list, err)...)
	text := fmt.Sprint(all)
	name := strings.TrimPrefix(object, "keys/")
	switch {
	case all == nil:
		p.t.Errorf("%s: the current code notices nothing", object)
	case d.class != nil && !errors.Is(all, d.class):
		p.t.Errorf("error is not %q:\n%v", d.class, all)
	case !strings.Contains(text, d.words) || !d.unnamed && !strings.Contains(text, name):
		p.t.Errorf("error does not name %s, or does not say %q:\n%v", name, d.words, all)
	}
}

// reader sees that the reader in Python notices.
func (d damage) reader(p patient, object string) {
	p.t.Helper()
	secret := []string{"--key-file", p.keyFile}
	if d.kind == seal.Password {
		secret = []string{"--password", password}
	}
	out, trouble, err := runReader(p.t, slices.Concat([]string{"--repo", p.dir}, secret, []string{"check"})...)
	if err == nil || !strings.Contains(trouble, object) || strings.Contains(trouble, "Traceback") {
		p.t.Errorf("the reader does not name %s: %v\n%s%s", object, err, out, trouble)
	}
}

// TestMovedBlock puts two sound blocks of equal length in each other's places
// and the packs' hashes right: only the IDs of the chunks can tell.
func TestMovedBlock(t *testing.T) {
	needPython(t)
	r, _ := build(t, t.TempDir(), func(b builder) {
		b.file("one", random(4, 200<<10))
		b.file("two", random(5, 200<<10))
	})
	p := patient{r, t}
	d := damage{words: "its bytes have another id"}
	name := p.swapBlocks()
	d.code(p, name)
	d.reader(p, name)
}

// swapBlocks exchanges the two longest blocks and returns the pack of one.
func (p patient) swapBlocks() string {
	p.t.Helper()
	var places []index.Place
	for _, place := range p.index() {
		places = append(places, place)
	}
	slices.SortFunc(places, func(a, b index.Place) int { return cmp.Compare(b.BlockSealed, a.BlockSealed) })
	a, b := places[0], places[1]
	if a.BlockSealed != b.BlockSealed {
		p.t.Fatalf("the longest blocks have %d and %d bytes", a.BlockSealed, b.BlockSealed)
	}
	x, y := bytes.Clone(p.block(a)), bytes.Clone(p.block(b))
	p.setBlock(a, y)
	p.setBlock(b, x)
	return nameOf(a)
}

func nameOf(p index.Place) string {
	return fmt.Sprintf("packs/%010d/%x-%06d", p.Pack.Generation, p.Pack.SID, p.Pack.Seq)
}

func (p patient) block(at index.Place) []byte {
	return p.read(nameOf(at))[at.BlockOffset:][:at.BlockSealed]
}

func (p patient) setBlock(at index.Place, sealed []byte) {
	b := p.read(nameOf(at))
	copy(b[at.BlockOffset:], sealed)
	rehash(b)
	p.write(nameOf(at), b)
}

// rehash makes the hash at the end of a pack right, for which no key is needed.
func rehash(b []byte) {
	sum := blake3.Sum256(b[:len(b)-pack.HashSize])
	copy(b[len(b)-pack.HashSize:], sum[:])
}

// index opens all segments.
func (p patient) index() map[chunk.ID]index.Place {
	p.t.Helper()
	secret, err := p.secret()
	p.ok(err)
	name := p.slot(seal.KeyFile)
	slot, err := seal.DecodeSlot(p.read(name))
	p.ok(err)
	master, err := slot.Unwrap(strings.TrimPrefix(name, "keys/"), secret)
	p.ok(err)
	id := p.read("config")[len("coffer repository 1\n"):][:32]
	raw, err := hex.DecodeString(string(id))
	p.ok(err)
	box, err := seal.NewBox(master.Keys(seal.RepositoryID(raw)), rand.Reader, seal.Fastest, 1)
	p.ok(err)
	all := map[chunk.ID]index.Place{}
	for _, name := range p.list("index") {
		plain, err := box.OpenRecord(name, p.read(name), index.MaxSegment)
		p.ok(err)
		seg, err := index.Decode(plain)
		p.ok(err)
		maps.Insert(all, seg.All())
	}
	return all
}
