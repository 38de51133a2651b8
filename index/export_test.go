package index

import (
	"bytes"
	"slices"

	"coffer/chunk"
)

// CutOffMerge merges a segment into the table of a view as if the process had
// ended before the last step.
func CutOffMerge(v *View, name string, s *Segment) {
	p := &piece{Segment: s}
	numbers, _ := v.table.number(p)
	wb := v.table.db.NewWriteBatch()
	err := wb.Set([]byte(mergingKey), []byte(name))
	for i, q := range s.Packs {
		if err == nil {
			err = wb.Set(packKey(numbers[i]), appendPack(nil, q))
		}
	}
	if err == nil {
		err = v.table.mergeEntries(wb, p, numbers)
	}
	if err == nil {
		err = wb.Flush()
	}
	if err != nil {
		panic(err)
	}
}

// EncodeRefs is Encode for a segment with recipes that name chunks.
func EncodeRefs(packs []Pack, blocks []Block, entries []Entry, bases map[chunk.ID][]chunk.ID) ([]byte, error) {
	slices.SortFunc(entries, func(a, b Entry) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	var refs []ref
	for i, e := range entries {
		for _, base := range bases[e.ID] {
			refs = append(refs, ref{uint32(i), base})
		}
	}
	s, err := encode(packs, blocks, entries, refs)
	if err != nil {
		return nil, err
	}
	return s.Bytes(), nil
}
