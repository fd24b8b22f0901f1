package auth

import (
	"slices"
	"time"
)

// Denial is an operator's word on one node that a key may not send, whatever the
// source says: for a key that leaked while the source cannot be reached.
type Denial struct {
	Digest  Digest
	ID      string
	Project string // as the node knew it; empty: it did not know the key
	At      time.Time
	By, Why string
}

// SetDenied makes these the denials in force.
func (d *Directory) SetDenied(denials []Denial) {
	by := make(map[Digest]Denial, len(denials))
	for _, denial := range denials {
		by[denial.Digest] = denial
	}
	d.denied.Store(&by)
}

// Denied returns the denials in force, the oldest first.
func (d *Directory) Denied() []Denial {
	var all []Denial
	if by := d.denied.Load(); by != nil {
		for _, denial := range *by {
			all = append(all, denial)
		}
	}
	slices.SortFunc(all, func(a, b Denial) int {
		if c := a.At.Compare(b.At); c != 0 {
			return c
		}
		return a.Digest.Compare(b.Digest)
	})
	return all
}

// Revoked tells whether the source itself has said, since the start, that the key
// is revoked. A denial has no say in it.
func (d *Directory) Revoked(digest Digest) bool {
	s := d.current.Load()
	i := s.find(digest)
	return s.answered && i >= 0 && !s.keys[i].RevokedAt.IsZero()
}
