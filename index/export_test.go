package index

// CutOffMerge merges a segment into the table of a view as if the process had
// ended before the last step.
func CutOffMerge(v *View, name string, s *Segment) {
	numbers := map[Pack]uint32{}
	wb := v.table.db.NewWriteBatch()
	err := wb.Set([]byte(mergingKey), []byte(name))
	for i, p := range s.Packs {
		numbers[p] = v.table.next + uint32(i)
		if err == nil {
			err = wb.Set(packKey(numbers[p]), appendPack(nil, p))
		}
	}
	if err == nil {
		err = v.table.mergeEntries(wb, s, numbers)
	}
	if err == nil {
		err = wb.Flush()
	}
	if err != nil {
		panic(err)
	}
}
