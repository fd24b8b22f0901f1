package dedupe

const minSlots = 16

// table maps digests to values: open-addressed, with linear probing, between two
// and four fifths full once it has grown. Digests are uniform, being keyed hashes,
// and serve as their own hash. A removal moves later digests up, so no marks of
// deleted ones pile up. Its memory is that of the most it ever held.
type table[V any] struct {
	slots  []uint64 // a power of two of them; NoKey is an empty slot
	values []V      // of the digests in slots; no memory for a V that has none
	used   int
}

func (t *table[V]) get(digest uint64) (value V, has bool) {
	if t.used == 0 {
		return value, false
	}
	i := t.find(digest)
	return t.values[i], t.slots[i] == digest
}

// add tells whether digest was not there yet; if it was, its value stays.
func (t *table[V]) add(digest uint64, value V) bool {
	if 5*(t.used+1) > 4*len(t.slots) {
		t.grow()
	}
	i := t.find(digest)
	if t.slots[i] == digest {
		return false
	}
	t.slots[i], t.values[i] = digest, value
	t.used++
	return true
}

// remove tells whether digest was there.
func (t *table[V]) remove(digest uint64) bool {
	if t.used == 0 {
		return false
	}
	i := t.find(digest)
	if t.slots[i] != digest {
		return false
	}
	t.close(i)
	t.used--
	return true
}

// find returns the slot that holds digest, or the empty one where it belongs.
func (t *table[V]) find(digest uint64) int {
	mask := len(t.slots) - 1
	i := int(digest) & mask
	for t.slots[i] != NoKey && t.slots[i] != digest {
		i = (i + 1) & mask
	}
	return i
}

// close empties a slot and moves up what probing would no longer reach past it.
func (t *table[V]) close(empty int) {
	mask := len(t.slots) - 1
	for i := (empty + 1) & mask; t.slots[i] != NoKey; i = (i + 1) & mask {
		home := int(t.slots[i]) & mask
		// The digest may move to the empty slot if that is not before its home.
		if (i-home)&mask >= (i-empty)&mask {
			t.slots[empty], t.values[empty] = t.slots[i], t.values[i]
			empty = i
		}
	}
	var none V
	t.slots[empty], t.values[empty] = NoKey, none
}

func (t *table[V]) grow() {
	slots, values := t.slots, t.values
	size := max(minSlots, 2*len(slots))
	t.slots, t.values = make([]uint64, size), make([]V, size)
	for i, digest := range slots {
		if digest != NoKey {
			at := t.find(digest)
			t.slots[at], t.values[at] = digest, values[i]
		}
	}
}
