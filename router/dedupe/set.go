package dedupe

const parts = 256 // so that a set of millions never grows in one long step

// set holds digests, in tables that are apart by their highest bits.
type set struct {
	parts [parts]table[struct{}]
	count int
}

func (s *set) part(digest uint64) *table[struct{}] { return &s.parts[digest>>56] }

// fetch reads the slots where digests belong, for lookups that follow. The
// tables are larger than the processor's caches: reads that stand by themselves
// have the memory answer at the same time, while lookups would wait for it one
// by one, which is most of their cost.
//
//go:noinline
func (s *set) fetch(digests []uint64) (sum uint64) {
	for _, d := range digests {
		if slots := s.part(d).slots; len(slots) > 0 {
			sum += slots[int(d)&(len(slots)-1)] // a result, so that the read is not left out
		}
	}
	return sum
}

func (s *set) has(digest uint64) bool {
	_, has := s.part(digest).get(digest)
	return has
}

// add tells whether digest was not there yet.
func (s *set) add(digest uint64) bool {
	added := s.part(digest).add(digest, struct{}{})
	if added {
		s.count++
	}
	return added
}

func (s *set) remove(digest uint64) {
	if s.part(digest).remove(digest) {
		s.count--
	}
}

func (s *set) bytes() int64 {
	var slots int64
	for i := range s.parts {
		slots += int64(len(s.parts[i].slots))
	}
	return 8 * slots
}
