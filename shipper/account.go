package shipper

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Account says what became of every seq that the log gave out, for one cursor:
//
//	Accepted = Shipped + Pending + Dead + Discarded + Expired + Lost + Skipped
//
// Shipped is counted, event by event, as deliveries are confirmed; the others
// follow from the position, the letters and the ranges. So the equation holds
// by no definition, and Imbalance tells when it does not.
//
// A seq counts once, under the first that applies of: pending, if it is not
// below the position; dead, as long as there is a letter, even if a rewind has
// delivered it since; discarded; skipped; lost; expired; shipped.
type Account struct {
	Accepted  uint64 `json:"accepted"` // seqs given out; those that the log stepped over at an open count, as lost
	Shipped   uint64 `json:"shipped"`
	Pending   uint64 `json:"pending"`
	Dead      uint64 `json:"dead"`
	Discarded uint64 `json:"discarded"`
	Expired   uint64 `json:"expired"`
	Lost      uint64 `json:"lost"`
	Skipped   uint64 `json:"skipped"`

	// Imbalance is how many more were accepted than are accounted for; 0
	// unless there is a bug.
	Imbalance int64 `json:"imbalance"`
}

// account is what a cursor knows of single seqs, besides its position: which
// have a letter, and which had one that was discarded. It is guarded by
// Cursor.mu.
type account struct {
	dead   seqSet            // letters of this log
	thrown seqSet            // discarded ones without a letter
	epochs map[uint64]uint64 // of the thrown: the epoch in which they were
}

// apart is how many seqs of first..last are dead or discarded.
func (a *account) apart(first, last uint64) uint64 {
	return a.dead.count(first, last) + a.thrown.count(first, last)
}

// withheld is how many seqs of first..last, at position p, are anything but
// shipped.
func (a *account) withheld(p *position, first, last uint64) uint64 {
	if first > last {
		return 0
	}
	n := a.apart(first, last)
	for _, r := range clip(union(p.Skipped, union(p.Lost, p.Expired)), first, last) {
		n += r.Len() - a.apart(r.First, r.Last)
	}
	return n
}

// shipped is how many seqs below the position should have been counted as
// shipped.
func (a *account) shipped(p *position) uint64 {
	return p.Next - 1 - a.withheld(p, 1, p.Next-1) - p.Gone
}

// state is the account at a position, with the log's newest seq.
func (a *account) state(p *position, durable uint64) Account {
	last := p.Next - 1
	s := Account{
		Accepted: durable, Shipped: p.Shipped, Pending: durable - min(durable, last),
		Dead: a.dead.count(1, last), Discarded: a.thrown.count(1, last) + p.Gone,
	}
	var counted []Range
	for _, kind := range []struct {
		ranges []Range
		into   *uint64
	}{{p.Skipped, &s.Skipped}, {p.Lost, &s.Lost}, {p.Expired, &s.Expired}} {
		for _, r := range clip(without(kind.ranges, counted), 1, last) {
			*kind.into += r.Len() - a.apart(r.First, r.Last)
		}
		counted = union(counted, kind.ranges)
	}
	s.Imbalance = int64(s.Accepted) - int64(s.Shipped+s.Pending+s.Dead+s.Discarded+s.Expired+s.Lost+s.Skipped)
	return s
}

// delivered is what an advance over from..last ships, given the events that
// were handed out: all that have no letter. One discarded in an epoch before
// was delivered now, and is discarded no longer; again has those.
func (a *account) delivered(events []Range, from, last, epoch uint64) (shipped uint64, again []uint64) {
	for _, r := range clip(events, from, last) {
		shipped += r.Len() - a.apart(r.First, r.Last)
		for _, seq := range a.thrown.within(r.First, r.Last) {
			if a.epochs[seq] < epoch {
				again = append(again, seq)
			}
		}
	}
	return shipped + uint64(len(again)), again
}

func (a *account) bury(seq uint64) {
	a.dead.add(seq)
	a.forget(seq)
}

func (a *account) discard(seq, epoch uint64) {
	a.dead.remove(seq)
	a.thrown.add(seq)
	if a.epochs == nil {
		a.epochs = map[uint64]uint64{}
	}
	a.epochs[seq] = epoch
}

func (a *account) forget(seq uint64) {
	a.thrown.remove(seq)
	delete(a.epochs, seq)
}

// A discarded seq leaves a key, so that the account stays exact over rewinds.
// Its value is the epoch, 8 bytes big endian.
func thrownPrefix(cursor string) string { return "thrown/" + cursor + "/" }

func thrownKey(cursor string, seq uint64) string {
	return fmt.Sprintf("%s%020d", thrownPrefix(cursor), seq)
}

func thrownWrite(cursor string, seq, epoch uint64) Write {
	return Write{Key: thrownKey(cursor, seq), Value: binary.BigEndian.AppendUint64(nil, epoch)}
}

// loadThrown reads the discarded seqs. Those that the log no longer keeps can
// not be delivered again: of them the number is enough, and the writes say so.
func (c *Cursor) loadThrown() error {
	var forget []Write
	gone := uint64(0)
	oldest := min(c.log.FirstSeq(), c.pos.Next)
	prefix := thrownPrefix(c.name)
	err := c.state.Scan(prefix, func(key string, value []byte) error {
		seq, err := strconv.ParseUint(strings.TrimPrefix(key, prefix), 10, 64)
		if err != nil {
			c.set.unreadable.note(key, err)
			return nil
		}
		epoch := c.pos.Epoch
		if len(value) == 8 {
			epoch = binary.BigEndian.Uint64(value)
		} else { // that it was discarded stands in its key
			c.set.unreadable.note(key, fmt.Errorf("the epoch of a discarded event has %d bytes, not 8", len(value)))
		}
		if seq < oldest && !inRanges(c.pos.Skipped, seq) && !inRanges(c.pos.Lost, seq) && !inRanges(c.pos.Expired, seq) {
			gone++
			forget = append(forget, Write{Key: key})
			return nil
		}
		c.account.discard(seq, epoch)
		return nil
	})
	if err != nil || gone == 0 {
		return err
	}
	return c.save(func(p *position) { p.Gone += gone }, forget...)
}

// seqSet is a set of seqs, ascending.
type seqSet []uint64

func (s *seqSet) add(seq uint64) {
	if i, found := slices.BinarySearch(*s, seq); !found {
		*s = slices.Insert(*s, i, seq)
	}
}

func (s *seqSet) remove(seq uint64) {
	if i, found := slices.BinarySearch(*s, seq); found {
		*s = slices.Delete(*s, i, i+1)
	}
}

func (s seqSet) has(seq uint64) bool {
	_, found := slices.BinarySearch(s, seq)
	return found
}

// within is the seqs of first..last.
func (s seqSet) within(first, last uint64) []uint64 {
	if first > last {
		return nil
	}
	from, _ := slices.BinarySearch(s, first)
	to, found := slices.BinarySearch(s, last)
	if found {
		to++
	}
	return s[from:to]
}

func (s seqSet) count(first, last uint64) uint64 { return uint64(len(s.within(first, last))) }
