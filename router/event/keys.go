package event

import (
	"bytes"
	"hash/maphash"
)

// keySet finds a name that an object has twice. One set serves all objects of
// a body: a slot belongs to the object whose number it holds, and slots with
// numbers below floor are free, so nothing is cleared between events. Hashes
// are seeded, so that a sender cannot make them collide.
type keySet struct {
	seed  maphash.Seed
	slots []keySlot
	used  int    // slots taken by objects from floor on
	floor uint32 // the first object of the current event
	next  uint32 // the number of the next object, from 1
}

type keySlot struct {
	object uint32
	hash   uint32
	name   span
}

const keySlotsMin = 64

func newKeySet() keySet {
	return keySet{seed: maphash.MakeSeed(), slots: make([]keySlot, keySlotsMin), floor: 1, next: 1}
}

// forget makes room for the next event.
func (k *keySet) forget() {
	if k.next > 1<<31 {
		clear(k.slots)
		k.next = 1
	}
	k.floor, k.used = k.next, 0
}

// object returns a number for an object that starts.
func (k *keySet) object() uint32 {
	k.next++
	return k.next - 1
}

// add reports whether the object has no member of this name yet, and notes it.
func (k *keySet) add(s *scanner, object uint32, name span) bool {
	text := s.text(name)
	hash := uint32(maphash.Bytes(k.seed, text)) ^ object*0x9e3779b1
	mask := uint32(len(k.slots) - 1)
	i := hash & mask
	for k.slots[i].object >= k.floor {
		slot := &k.slots[i]
		if slot.object == object && slot.hash == hash && bytes.Equal(s.text(slot.name), text) {
			return false
		}
		i = (i + 1) & mask
	}
	k.slots[i] = keySlot{object: object, hash: hash, name: name}
	k.used++
	if k.used > len(k.slots)/2 {
		k.grow()
	}
	return true
}

func (k *keySet) grow() {
	old := k.slots
	k.slots = make([]keySlot, 2*len(old))
	mask := uint32(len(k.slots) - 1)
	for _, slot := range old {
		if slot.object < k.floor {
			continue
		}
		i := slot.hash & mask
		for k.slots[i].object != 0 {
			i = (i + 1) & mask
		}
		k.slots[i] = slot
	}
}
