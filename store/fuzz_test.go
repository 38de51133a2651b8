package store

import (
	"errors"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"coffer/chunk"
	"coffer/index"
)

// FuzzRecords gives the decoders of all small records what could only stand
// there if somebody had the keys: an error or a record that can be used.
func FuzzRecords(f *testing.F) {
	cfg := Config{Version: 1, Hash: "blake3-256", Cipher: "aes-256-gcm/blake3", Codec: "zstd", Chunker: "rabin-53",
		Poly: 0x3DA3358B4DC173, Min: 512 << 10, Bits: 19, Max: 4 << 20, PackSize: DefaultPackSize, Solid: DefaultSolid}
	for _, v := range []any{cfg, generation{Version: 1}, closing{Version: 1, Catalogue: []pieceRef{{Name: "x", Commits: 1}}}, intent{Version: 1, Writer: true, Snapshots: []string{"a"}},
		fate{Version: 1, Outcome: fateCommit, Segments: []segmentRef{{Name: "index/0/x", Entries: 5}}, Payload: []byte("p")}} {
		b, err := cbor.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{0xbf})
	f.Add([]byte{0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		var c Config
		if cbor.Unmarshal(b, &c) == nil && c.check() == nil {
			if err := c.Chunking().Validate(); err != nil {
				t.Errorf("a config that passes has chunk sizes that do not: %v", err)
			}
		}
		var g generation
		var in intent
		var ft fate
		for _, err := range []error{decodeRecord("g", b, &g, &g.Version), decodeRecord("i", b, &in, &in.Version), decodeRecord("f", b, &ft, &ft.Version)} {
			if err != nil && err.Error() == "" {
				t.Error("an error without words")
			}
		}
	})
}

func FuzzPackName(f *testing.F) {
	f.Add(packName(index.Pack{Generation: 7, SID: [16]byte{1, 2}, Seq: 9}))
	f.Add("packs/0/00-1")
	f.Fuzz(func(t *testing.T, name string) {
		p, err := parsePackName(name)
		if err == nil && packName(p) != name {
			t.Errorf("%q reads as %+v", name, p)
		}
	})
}

func TestConfigCheck(t *testing.T) {
	good := Config{Version: 1, Hash: "blake3-256", Cipher: "aes-256-gcm/blake3", Codec: "zstd", Chunker: "rabin-53",
		Poly: 0x3DA3358B4DC173, Min: 512 << 10, Bits: 19, Max: 4 << 20, PackSize: DefaultPackSize, Solid: DefaultSolid}
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"version": func(c *Config) { c.Version = 2 }, "hash": func(c *Config) { c.Hash = "md5" },
		"small packs": func(c *Config) { c.PackSize = 1 }, "large packs": func(c *Config) { c.PackSize = 1 << 31 },
		"solid": func(c *Config) { c.Solid = 64 << 20 }, "polynomial": func(c *Config) { c.Poly = 2 }, "sizes": func(c *Config) { c.Min = c.Max },
	} {
		bad := good
		if change(&bad); bad.check() == nil {
			t.Errorf("%s passes", name)
		}
	}
}

func TestDamageErrorWords(t *testing.T) {
	cause := errors.New("why")
	for want, e := range map[string]*DamageError{
		"packs/x is damaged: why":                   {Pack: "packs/x", Err: cause},
		"chunk 01000000 is damaged: why":            {Chunk: chunk.ID{1}, Err: cause},
		"chunk 01000000 in packs/x is damaged: why": {Pack: "packs/x", Chunk: chunk.ID{1}, Err: cause},
	} {
		if e.Error() != want || !errors.Is(e, cause) {
			t.Errorf("%q; want %q", e, want)
		}
	}
}
