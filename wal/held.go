package wal

// Held is what of the segment files holds a seq and what comes after it.
type Held struct {
	Bytes int64 // of whole files: no less can be kept
	Share int64 // the same without the part of the first file that lies before, by seqs
}

// HeldFrom returns what seq and all behind it take. It reads no more than the
// first header of segments that nobody has looked at yet.
func (l *Log) HeldFrom(seq uint64) (held Held, err error) {
	segments, last := l.view(), l.DurableSeq()
	for i := len(segments) - 1; i >= 0; i-- {
		s := segments[i]
		h, _, err := l.head(s)
		if err != nil {
			if l.deleted(s, err) {
				break
			}
			return held, err
		}
		size, _ := l.extent(s)
		if h == nil || seq <= h.FirstSeq {
			held.Bytes, held.Share = held.Bytes+size, held.Share+size
		} else if seq <= last {
			held.Bytes += size
			held.Share += int64(float64(size) * float64(last-seq+1) / float64(last-h.FirstSeq+1))
		}
		if h != nil {
			if h.FirstSeq <= seq {
				break
			}
			last = h.FirstSeq - 1
		}
	}
	return held, nil
}
