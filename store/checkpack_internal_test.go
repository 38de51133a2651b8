package store

import (
	"testing"

	"coffer/chunk"
	"coffer/index"
	"coffer/store/pack"
)

func TestFits(t *testing.T) {
	id := func(n byte) chunk.ID { return chunk.ID{n} }
	own := pack.Block{Sealed: 100, Plain: 60, Chunks: []pack.Chunk{{ID: id(1), Length: 10}, {ID: id(2)}, {ID: id(3), Length: 20}, {ID: id(4), Length: 30}}}
	all := []index.Entry{{ID: id(1), Length: 10}, {ID: id(2), Offset: 10}, {ID: id(3), Offset: 10, Length: 20}, {ID: id(4), Offset: 30, Length: 30}}
	for what, c := range map[string]struct {
		chunks []index.Entry
		want   bool
	}{
		"all":              {all, true},
		"none":             {nil, true},
		"the last":         {all[3:], true},
		"some":             {[]index.Entry{all[0], all[2]}, true},
		"another place":    {[]index.Entry{{ID: id(3), Offset: 30, Length: 20}}, false},
		"another length":   {[]index.Entry{{ID: id(3), Offset: 10, Length: 19}}, false},
		"another form":     {[]index.Entry{{ID: id(3), Offset: 10, Length: 20, Recipe: true}}, false},
		"another chunk":    {[]index.Entry{{ID: id(9), Offset: 10, Length: 20}}, false},
		"one more":         {append(all[:4:4], index.Entry{ID: id(5), Offset: 60}), false},
		"one in the place": {[]index.Entry{{ID: id(1), Length: 10}, {ID: id(9), Offset: 30, Length: 30}}, false},
	} {
		if got := fits(own, index.Filled{Block: index.Block{Sealed: 100, Plain: 60}, Chunks: c.chunks}); got != c.want {
			t.Errorf("%s: %v", what, got)
		}
	}
	if fits(own, index.Filled{Block: index.Block{Sealed: 101, Plain: 60}}) || fits(own, index.Filled{Block: index.Block{Sealed: 100, Plain: 61}}) {
		t.Error("another size fits")
	}
}
