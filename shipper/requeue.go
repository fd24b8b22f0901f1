package shipper

import (
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"forebay/wal"
)

// lettersAtOnce is how many letters one commit changes.
const lettersAtOnce = 500

// maxShownSeqs bounds how many seqs of a filter the audit trail repeats.
const maxShownSeqs = 100

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

// shown is the filter as the audit trail has it.
func (f DeadFilter) shown() any {
	if len(f.Seqs) <= maxShownSeqs {
		return f
	}
	named := len(f.Seqs)
	f.Seqs = f.Seqs[:maxShownSeqs]
	return struct {
		DeadFilter
		SeqsNamed int `json:"seqs_named"` // the first of them are shown
	}{f, named}
}

// lettersChanged is what the audit trail says of dead letters.
type lettersChanged struct {
	Letters int `json:"letters"`
}

// Dead calls fn for the dead letters that match, ascending by seq.
func (c *Cursor) Dead(f DeadFilter, fn func(DeadLetter) error) error {
	n := 0
	err := c.state.Scan(deadPrefix(c.name), func(key string, value []byte) error {
		d, ok := c.decodeLetter(key, value)
		if !ok || !f.matches(d) {
			return nil
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
// returns how many it newly marked. Like Discard it works in durable steps of
// some hundred letters, and the audit trail names all that match with the
// first: if it fails on the way, the same command again does the rest.
func (c *Cursor) Requeue(cmd Command, f DeadFilter) (int, error) {
	return c.changeMatching("requeue", cmd, f, func(d DeadLetter) bool { return !d.Requeued && !d.Unreadable },
		func(some []DeadLetter, trail []Write) error {
			for i := range some {
				some[i].Requeued = true
			}
			return c.changeDead(some, nil, func(dead []Write, publish func()) error {
				return c.commitThen(publish, append(dead, trail...))
			})
		})
}

// Discard removes the letters that match, for ever. They are counted.
func (c *Cursor) Discard(cmd Command, f DeadFilter) (int, error) {
	return c.changeMatching("discard", cmd, f, func(DeadLetter) bool { return true },
		func(some []DeadLetter, trail []Write) error {
			epoch := c.position().Epoch // a move meanwhile waits for c.saving
			seqs := make([]uint64, len(some))
			var own []uint64
			for i, d := range some {
				if seqs[i] = d.Seq; !d.Imported {
					own = append(own, d.Seq)
					trail = append(trail, thrownWrite(c.name, d.Seq, epoch))
				}
			}
			return c.changeDead(nil, seqs, func(dead []Write, publish func()) error {
				return c.saveThen(func(p *position) { p.Discarded += uint64(len(some)) }, func() {
					publish()
					for _, seq := range own {
						c.account.discard(seq, epoch)
					}
				}, append(dead, trail...)...)
			})
		})
}

// changeMatching has change work on the letters that match and for which it
// applies, some at a time.
func (c *Cursor) changeMatching(verb string, cmd Command, f DeadFilter, applies func(DeadLetter) bool,
	change func(some []DeadLetter, trail []Write) error) (changed int, err error) {
	defer func() {
		if changed > 0 {
			c.interrupt()
		}
		if err != nil {
			err = fmt.Errorf("%s dead letters of cursor %s: %w", verb, c.name, err)
		}
	}()
	var seqs []uint64
	err = c.Dead(f, func(d DeadLetter) error {
		if applies(d) {
			seqs = append(seqs, d.Seq)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	entry := TrailEntry{By: cmd.By, Why: cmd.Why, Verb: verb, Cursor: c.name}
	before, after := f.shown(), lettersChanged{len(seqs)}
	for some := range slices.Chunk(seqs, lettersAtOnce) {
		n, err := c.changeSome(some, func(d DeadLetter) bool { return f.matches(d) && applies(d) }, func(letters []DeadLetter) error {
			if changed > 0 {
				return change(letters, nil)
			}
			return c.set.trail.commit(entry, before, after, func(trail ...Write) error { return change(letters, trail) })
		})
		if err != nil {
			return changed, err
		}
		changed += n
	}
	return changed, nil
}

// changeSome has change work on those of the letters that are still as wanted.
func (c *Cursor) changeSome(seqs []uint64, wanted func(DeadLetter) bool, change func([]DeadLetter) error) (int, error) {
	c.saving.Lock()
	defer c.saving.Unlock()
	var letters []DeadLetter
	for _, seq := range seqs {
		d, found, err := c.letter(seq)
		if err != nil {
			return 0, err
		}
		if found && wanted(d) {
			letters = append(letters, d)
		}
	}
	if len(letters) == 0 {
		return 0, nil
	}
	return len(letters), change(letters)
}

// letter reads one dead letter.
func (c *Cursor) letter(seq uint64) (d DeadLetter, found bool, err error) {
	key := deadKey(c.name, seq)
	value, err := c.state.Get(key)
	if value == nil || err != nil {
		return d, false, err
	}
	d, found = c.decodeLetter(key, value)
	return d, found, nil
}

// Import adds letters that were exported, from this node or another; those
// that are there already stay as they are. It returns how many it added. If
// they do not all fit, or the place of one is taken by a letter of another log
// with the same seq, it adds none. Like Requeue it works in durable steps.
func (c *Cursor) Import(cmd Command, letters []DeadLetter) (added int, err error) {
	bytes := int64(0)
	for _, d := range letters {
		if d.Seq == 0 || d.LogID.IsZero() || len(d.Raw) == 0 {
			return 0, c.refuse("the letter with seq %d lacks its seq, its log_id or its event", d.Seq)
		}
		if d.Seq == math.MaxUint64 { // what follows it has no number
			return 0, c.refuse("no letter has seq %d", d.Seq)
		}
		bytes += int64(len(d.Raw))
	}
	if _, err := c.absent(letters); err != nil {
		return 0, err
	}
	c.mu.Lock()
	count, o := c.dead, c.set.opts
	c.mu.Unlock()
	if count.letters+len(letters) > o.MaxDead || count.bytes+bytes > o.MaxDeadBytes {
		return 0, c.refuse("%d letters of %d bytes do not fit beside the %d of %d bytes that are there (bounds: %d letters, %d bytes)",
			len(letters), bytes, count.letters, count.bytes, o.MaxDead, o.MaxDeadBytes)
	}
	entry := TrailEntry{By: cmd.By, Why: cmd.Why, Verb: "import", Cursor: c.name}
	for some := range slices.Chunk(letters, lettersAtOnce) {
		n, err := c.importSome(some, func(publish func(), writes []Write) error {
			if added > 0 {
				return c.commitThen(publish, writes)
			}
			return c.set.trail.commit(entry, nil, lettersChanged{len(letters)}, func(trail ...Write) error {
				return c.commitThen(publish, append(writes, trail...))
			})
		})
		if err != nil {
			return added, fmt.Errorf("import dead letters to cursor %s: %w", c.name, err)
		}
		added += n
	}
	return added, nil
}

// absent are those of the letters that are not there, each once. It refuses
// them all if the place of some is taken by letters of other logs.
func (c *Cursor) absent(letters []DeadLetter) ([]DeadLetter, error) {
	var put []DeadLetter
	var taken []uint64
	logs := map[uint64]wal.ID{} // by seq
	for _, d := range letters {
		log, found := logs[d.Seq]
		if !found {
			had, there, err := c.letter(d.Seq)
			if err != nil {
				return nil, err
			}
			if log = had.LogID; !there || had.Unreadable {
				log = d.LogID
				put = append(put, d)
			}
			logs[d.Seq] = log
		}
		if log != d.LogID && !slices.Contains(taken, d.Seq) {
			taken = append(taken, d.Seq)
		}
	}
	if len(taken) > 0 {
		slices.Sort(taken)
		return nil, c.refuse("%d letters have a seq that a letter of another log has, the first of them seq %d: requeue or discard that one first, or leave them out", len(taken), taken[0])
	}
	return put, nil
}

func (c *Cursor) importSome(letters []DeadLetter, commit func(publish func(), writes []Write) error) (int, error) {
	c.saving.Lock()
	defer c.saving.Unlock()
	put, err := c.absent(letters)
	if len(put) == 0 || err != nil {
		return 0, err
	}
	for i := range put {
		put[i].Cursor, put[i].Requeued, put[i].Imported = c.name, false, true
	}
	return len(put), c.changeDead(put, nil, func(dead []Write, publish func()) error {
		return commit(publish, dead)
	})
}
