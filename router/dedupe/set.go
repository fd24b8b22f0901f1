package dedupe

const (
	parts        = 256 // so that a set of millions never grows in one long step
	minPartSlots = 16
)

// set holds digests in open-addressed tables with linear probing, 8 bytes a
// slot, between two and four fifths full once they have grown. Digests are
// uniform, being keyed hashes, and serve as their own hash. A removal moves later
// digests up, so no marks of deleted ones pile up.
type set struct {
	parts [parts]part
	count int
}

type part struct {
	slots []uint64 // a power of two of them; 0 is an empty slot
	used  int
}

func (s *set) part(digest uint64) *part { return &s.parts[digest>>56] }

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
	p := s.part(digest)
	if p.used == 0 {
		return false
	}
	return p.slots[p.find(digest)] == digest
}

// add tells whether digest was not there yet.
func (s *set) add(digest uint64) bool {
	p := s.part(digest)
	if 5*(p.used+1) > 4*len(p.slots) {
		p.grow()
	}
	i := p.find(digest)
	if p.slots[i] == digest {
		return false
	}
	p.slots[i] = digest
	p.used++
	s.count++
	return true
}

func (s *set) remove(digest uint64) {
	p := s.part(digest)
	if p.used == 0 {
		return
	}
	i := p.find(digest)
	if p.slots[i] != digest {
		return
	}
	p.close(i)
	p.used--
	s.count--
}

func (s *set) bytes() int64 {
	var slots int64
	for i := range s.parts {
		slots += int64(len(s.parts[i].slots))
	}
	return 8 * slots
}

// find returns the slot that holds digest, or the empty one where it belongs.
func (p *part) find(digest uint64) int {
	mask := len(p.slots) - 1
	i := int(digest) & mask
	for p.slots[i] != 0 && p.slots[i] != digest {
		i = (i + 1) & mask
	}
	return i
}

// close empties a slot and moves up what probing would no longer reach past it.
func (p *part) close(empty int) {
	mask := len(p.slots) - 1
	for i := (empty + 1) & mask; p.slots[i] != 0; i = (i + 1) & mask {
		home := int(p.slots[i]) & mask
		// The digest may move to the empty slot if that is not before its home.
		if (i-home)&mask >= (i-empty)&mask {
			p.slots[empty] = p.slots[i]
			empty = i
		}
	}
	p.slots[empty] = 0
}

func (p *part) grow() {
	old := p.slots
	p.slots = make([]uint64, max(minPartSlots, 2*len(old)))
	for _, digest := range old {
		if digest != 0 {
			p.slots[p.find(digest)] = digest
		}
	}
}
