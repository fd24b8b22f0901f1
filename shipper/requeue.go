package shipper

import (
	"context"
	"fmt"
	"io"
	"time"
)

// fillTimeout bounds one round of delivering requeued letters, and fillEvery
// is the pause before the next when a round did not finish: live events must
// not wait long behind old ones that still fail.
const (
	fillTimeout = 30 * time.Second
	fillEvery   = time.Minute
)

// DeadFilter selects dead letters. Zero fields select everything.
type DeadFilter struct {
	Project string    `json:"project,omitempty"`
	Session string    `json:"session,omitempty"`
	Reason  string    `json:"reason,omitempty"` // exact
	Since   time.Time `json:"since,omitzero"`   // by time of burial
	Until   time.Time `json:"until,omitzero"`
	Seqs    []uint64  `json:"seqs,omitempty"`
	Limit   int       `json:"limit,omitempty"` // at most this many, the oldest seqs first
}

func (f DeadFilter) matches(d DeadLetter) bool {
	if len(f.Seqs) > 0 {
		found := false
		for _, s := range f.Seqs {
			found = found || s == d.Seq
		}
		if !found {
			return false
		}
	}
	return (f.Project == "" || f.Project == d.Project) &&
		(f.Session == "" || f.Session == d.Session) &&
		(f.Reason == "" || f.Reason == d.Reason) &&
		(f.Since.IsZero() || !d.BuriedAt.Before(f.Since)) &&
		(f.Until.IsZero() || d.BuriedAt.Before(f.Until))
}

// Dead calls fn for the dead letters that match, ascending by seq.
func (c *Cursor) Dead(f DeadFilter, fn func(DeadLetter) error) error {
	n := 0
	err := c.state.Scan(deadPrefix(c.name), func(key string, value []byte) error {
		d, err := decodeLetter(key, value)
		if err != nil || !f.matches(d) {
			return err
		}
		if n++; f.Limit > 0 && n > f.Limit {
			return io.EOF
		}
		return fn(d)
	})
	if err == io.EOF {
		return nil
	}
	return err
}

// Requeue marks the letters that match to be delivered once more, in
// ascending order; each leaves the dead letters when that has worked. It
// returns how many it newly marked.
func (c *Cursor) Requeue(cmd Command, f DeadFilter) (int, error) {
	return c.changeMatching("requeue", cmd, f, func(d DeadLetter) (put *DeadLetter, drop bool) {
		if d.Requeued {
			return nil, false
		}
		d.Requeued = true
		return &d, false
	})
}

// Discard removes the letters that match, for ever. They are counted.
func (c *Cursor) Discard(cmd Command, f DeadFilter) (int, error) {
	return c.changeMatching("discard", cmd, f, func(DeadLetter) (*DeadLetter, bool) { return nil, true })
}

func (c *Cursor) changeMatching(verb string, cmd Command, f DeadFilter, change func(DeadLetter) (*DeadLetter, bool)) (int, error) {
	c.saving.Lock()
	defer c.saving.Unlock()
	var put []DeadLetter
	var drop []uint64
	err := c.Dead(f, func(d DeadLetter) error {
		if p, remove := change(d); p != nil {
			put = append(put, *p)
		} else if remove {
			drop = append(drop, d.Seq)
		}
		return nil
	})
	n := len(put) + len(drop)
	if err != nil || n == 0 {
		return 0, err
	}
	err = c.changeDead(put, drop, func(writes []Write) error {
		return c.set.audit.commit(AuditEntry{By: cmd.By, Why: cmd.Why, Verb: verb, Cursor: c.name},
			f, map[string]int{"letters": n}, func(entry ...Write) error {
				if verb != "discard" {
					return c.commit(append(writes, entry...))
				}
				discarded := c.position().Discarded + uint64(n)
				return c.saveLocked(func(p *position) { p.Discarded = discarded }, append(writes, entry...)...)
			})
	})
	if err != nil {
		return 0, fmt.Errorf("%s dead letters: %w", verb, err)
	}
	c.interrupt()
	return n, nil
}

// Import adds letters that were exported, from this node or another; those
// that are there already stay as they are. It returns how many it added.
func (c *Cursor) Import(cmd Command, letters []DeadLetter) (int, error) {
	c.saving.Lock()
	defer c.saving.Unlock()
	var put []DeadLetter
	for _, d := range letters {
		old, err := c.state.Get(deadKey(c.name, d.Seq))
		if err != nil {
			return 0, err
		}
		if old == nil {
			d.Cursor, d.Requeued = c.name, false
			put = append(put, d)
		}
	}
	if len(put) == 0 {
		return 0, nil
	}
	err := c.changeDead(put, nil, func(writes []Write) error {
		return c.set.audit.commit(AuditEntry{By: cmd.By, Why: cmd.Why, Verb: "import", Cursor: c.name},
			nil, map[string]int{"letters": len(put)}, func(entry ...Write) error {
				return c.commit(append(writes, entry...))
			})
	})
	if err != nil {
		return 0, fmt.Errorf("import dead letters: %w", err)
	}
	return len(put), nil
}

// interrupt ends the running call of Ship without waiting for it, so that the
// run loop looks anew at what there is to do.
func (c *Cursor) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.again = true
	if c.cancel != nil {
		c.cancel()
	}
}

// fill delivers requeued letters, for a bounded time.
func (c *Cursor) fill(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fillTimeout)
	defer cancel()
	return c.ship(ctx, func(p position) *Feed { return newFillFeed(c, p) })
}

// nextLetters is Feed.Next of a fill feed.
func (f *Feed) nextLetters() (*Batch, error) {
	b := &Batch{}
	full := fmt.Errorf("full: %w", io.EOF)
	err := f.cursor.Dead(DeadFilter{}, func(d DeadLetter) error {
		if !d.Requeued || d.Seq < f.next {
			return nil
		}
		size := int64(len(d.Raw))
		if len(b.Events) > 0 && (len(b.Events) >= f.flush.Rows || b.Bytes+size > f.flush.Bytes) {
			return full
		}
		b.Events = append(b.Events, d.Event())
		b.Bytes += size
		f.hand(d)
		return nil
	})
	if err != nil && err != full {
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
	err := f.cursor.Dead(DeadFilter{}, func(d DeadLetter) error {
		if d.Requeued && d.Seq >= first && d.Seq <= last {
			b.Events = append(b.Events, d.Event())
			b.Bytes += int64(len(d.Raw))
			f.hand(d)
		}
		return nil
	})
	return b, err
}

// hand remembers a letter that this feed gave out.
func (f *Feed) hand(d DeadLetter) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.letters[d.Seq] = d.BuriedAt
}

// passedLetters takes the letters below next off those given out.
func (f *Feed) passedLetters(next uint64) map[uint64]time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	passed := map[uint64]time.Time{}
	for seq, buried := range f.letters {
		if seq < next {
			passed[seq] = buried
			delete(f.letters, seq)
		}
	}
	return passed
}

// filled is Feed.Advance of a fill feed: these letters have been delivered,
// each as it was when it was buried at the time given.
func (c *Cursor) filled(delivered map[uint64]time.Time, writes []Write) error {
	c.saving.Lock()
	defer c.saving.Unlock()
	var drop []uint64
	err := c.Dead(DeadFilter{}, func(d DeadLetter) error {
		if buried, ok := delivered[d.Seq]; ok && d.Requeued && buried.Equal(d.BuriedAt) {
			drop = append(drop, d.Seq)
		}
		return nil
	})
	if err != nil {
		return err
	}
	writes = append(c.lane(writes), Write{Key: planKey(fillName(c.name))})
	if err := c.changeDead(nil, drop, func(dead []Write) error { return c.commit(append(writes, dead...)) }); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fillPlan = nil
	return nil
}

func fillName(cursor string) string { return cursor + "/fill" }
