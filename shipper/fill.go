package shipper

import (
	"context"
	"io"
	"maps"
	"slices"
	"time"
)

// fillTimeout bounds one round of delivering requeued letters. When a round
// did not finish, the next comes after a pause of twice its time, at least
// fillSoon, that grows up to fillEvery: live events must not wait long behind
// old ones that still fail.
const (
	fillTimeout = 30 * time.Second
	fillSoon    = time.Second
	fillEvery   = time.Minute
)

// fill delivers requeued letters, for a bounded time. The round is over unless
// a command ended it.
func (c *Cursor) fill(ctx context.Context, t turn) (again, over bool) {
	ctx, cancel := context.WithTimeout(ctx, fillTimeout)
	defer cancel()
	again = c.ship(ctx, t, func(p position) *Feed { return newFillFeed(c, p) })
	c.mu.Lock()
	defer c.mu.Unlock()
	return again, c.orders == t.orders
}

// nextLetters is Feed.Next of a fill feed.
func (f *Feed) nextLetters() (*Batch, error) {
	b := &Batch{}
	err := f.cursor.requeuedFrom(f.next, func(d DeadLetter) error {
		size := int64(len(d.Raw))
		if len(b.Events) > 0 && (len(b.Events) >= f.flush.Rows || b.Bytes+size > f.flush.Bytes) {
			return io.EOF // full
		}
		b.Events = append(b.Events, f.event(d))
		b.Bytes += size
		f.hand(d)
		return nil
	})
	if err != nil && err != io.EOF {
		return nil, err
	}
	if len(b.Events) == 0 {
		return nil, io.EOF
	}
	b.First, b.Last = b.Events[0].Seq, b.Events[len(b.Events)-1].Seq
	f.next = b.Last + 1
	return b, nil
}

// readLetters is Feed.Read of a fill feed: of the range, what is requeued.
func (f *Feed) readLetters(first, last uint64) (*Batch, error) {
	b := &Batch{First: first, Last: last}
	err := f.cursor.requeuedFrom(first, func(d DeadLetter) error {
		if d.Seq > last {
			return io.EOF
		}
		b.Events = append(b.Events, f.event(d))
		b.Bytes += int64(len(d.Raw))
		f.hand(d)
		return nil
	})
	if err != nil && err != io.EOF {
		return nil, err
	}
	return b, nil
}

// event is the event of a letter, as this log sees it.
func (f *Feed) event(d DeadLetter) Event {
	e := d.Event()
	e.Foreign = d.Imported && d.LogID != f.cursor.log.ID()
	return e
}

// requeuedFrom calls fn for the requeued letters from seq on, ascending.
func (c *Cursor) requeuedFrom(seq uint64, fn func(DeadLetter) error) error {
	from := deadKey(c.name, seq)
	return c.state.Scan(deadPrefix(c.name), func(key string, value []byte) error {
		if key < from {
			return nil // without decoding it
		}
		d, ok := c.decodeLetter(key, value)
		if !ok || !d.Requeued {
			return nil
		}
		return fn(d)
	})
}

// hand remembers a letter that this feed gave out.
func (f *Feed) hand(d DeadLetter) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.letters[d.Seq] = d.BuriedAt
}

// passedLetters tells which letters below next were given out, and when each
// was buried.
func (f *Feed) passedLetters(next uint64) map[uint64]time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	passed := maps.Clone(f.letters)
	maps.DeleteFunc(passed, func(seq uint64, _ time.Time) bool { return seq >= next })
	return passed
}

// advanceLetters is Feed.Advance of a fill feed.
func (f *Feed) advanceLetters(next uint64, writes []Write) error {
	passed := f.passedLetters(next)
	if err := f.cursor.filled(passed, writes); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for seq, buried := range passed {
		if f.letters[seq].Equal(buried) {
			delete(f.letters, seq)
		}
	}
	return nil
}

// filled drops letters that have been delivered, each as it was when it was
// buried at the time given, and ends the plan.
func (c *Cursor) filled(delivered map[uint64]time.Time, writes []Write) error {
	c.saving.Lock()
	defer c.saving.Unlock()
	var drop, own []uint64
	for seq, buried := range delivered {
		d, found, err := c.letter(seq)
		if err != nil {
			return err
		}
		if found && d.Requeued && buried.Equal(d.BuriedAt) {
			drop = append(drop, seq)
			if !d.Imported {
				own = append(own, seq)
			}
		}
	}
	slices.Sort(drop)
	writes = append(c.lane(writes), Write{Key: planKey(fillName(c.name))})
	if len(drop) == 0 {
		return c.commitThen(func() { c.fillPlan = nil }, writes)
	}
	return c.changeDead(nil, drop, func(dead []Write, publish func()) error {
		return c.saveThen(func(p *position) { p.fill(own) }, func() { publish(); c.fillPlan = nil }, append(writes, dead...)...)
	})
}

// fill counts letters that were delivered after all. Those that are not below
// the position will be when it passes them.
func (p *position) fill(seqs []uint64) {
	for _, seq := range seqs {
		if seq >= p.Next {
			continue
		}
		one := []Range{{seq, seq}}
		skipped, lost, expired := without(p.Skipped, one), without(p.Lost, one), without(p.Expired, one)
		if max(len(skipped), len(lost), len(expired)) > maxRanges {
			continue // it stays in its range, as far as counting goes
		}
		p.Skipped, p.Lost, p.Expired = skipped, lost, expired
		p.Shipped++
	}
}

func fillName(cursor string) string { return cursor + "/fill" }
