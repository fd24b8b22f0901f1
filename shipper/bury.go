package shipper

import (
	"fmt"
	"slices"
	"time"
)

// landfillWindow and landfillShare bound how much may be buried: more than
// one in a hundred of the last ten thousand events is no longer bad data, it
// is a bad deployment, and is for an operator to look at.
const (
	landfillWindow = 10_000
	landfillShare  = 100
)

// deadCount is what a cursor knows of its dead letters without reading them.
type deadCount struct {
	letters  int
	requeued int // of these, how many wait to be delivered once more
	bytes    int64
}

func (d *deadCount) add(l DeadLetter, size, sign int) {
	d.letters += sign
	d.bytes += int64(sign * size)
	if l.Requeued {
		d.requeued += sign
	}
}

func (c *Cursor) countDead() error {
	err := c.state.Scan(deadPrefix(c.name), func(key string, value []byte) error {
		d, err := decodeLetter(key, value)
		c.dead.add(d, len(value), 1)
		return err
	})
	if err != nil {
		return fmt.Errorf("count dead letters of cursor %s: %w", c.name, err)
	}
	return nil
}

// bury is Feed.Bury. A letter that was requeued and is refused again becomes
// an ordinary one, with the new reason and all its attempts.
func (c *Cursor) bury(letters []DeadLetter, writes []Write) error {
	if len(letters) == 0 {
		return nil
	}
	c.saving.Lock()
	defer c.saving.Unlock()
	now := time.Now().UTC()
	for i := range letters {
		letters[i].Cursor, letters[i].BuriedAt, letters[i].Requeued = c.name, now, false
	}
	if err := c.landfill(letters); err != nil {
		return err
	}
	return c.changeDead(letters, nil, func(dead []Write) error {
		return c.commit(append(c.lane(writes), dead...))
	})
}

// changeDead puts and drops dead letters by one commit, and keeps the counts.
// It is called with c.saving held. It refuses with a *PauseError what would go
// over the bounds.
func (c *Cursor) changeDead(put []DeadLetter, drop []uint64, commit func([]Write) error) error {
	c.mu.Lock()
	count := c.dead
	c.mu.Unlock()
	var writes []Write
	forget := func(seq uint64) (had DeadLetter, err error) {
		key := deadKey(c.name, seq)
		old, err := c.state.Get(key)
		if old == nil || err != nil {
			return had, err
		}
		if had, err = decodeLetter(key, old); err == nil {
			count.add(had, len(old), -1)
		}
		return had, err
	}
	for _, d := range put {
		had, err := forget(d.Seq)
		if err != nil {
			return err
		}
		if had.Requeued && !d.Requeued {
			d.Attempts += had.Attempts
		}
		w, err := d.write()
		if err != nil {
			return err
		}
		count.add(d, len(w.Value), 1)
		writes = append(writes, w)
	}
	for _, seq := range drop {
		if _, err := forget(seq); err != nil {
			return err
		}
		writes = append(writes, Write{Key: deadKey(c.name, seq)})
	}
	c.mu.Lock()
	grows := count.letters > c.dead.letters || count.bytes > c.dead.bytes
	c.mu.Unlock()
	if o := c.set.opts; grows && (count.letters > o.MaxDead || count.bytes > o.MaxDeadBytes) {
		return &PauseError{Reason: fmt.Sprintf("dead letters of cursor %s are full (bounds: %d letters, %d bytes): requeue or discard some, then resume", c.name, o.MaxDead, o.MaxDeadBytes)}
	}
	if err := commit(writes); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = count
	return nil
}

// landfill refuses to bury when too much has been refused lately. Letters that
// are only queued do not count.
func (c *Cursor) landfill(letters []DeadLetter) error {
	letters = slices.DeleteFunc(slices.Clone(letters), func(d DeadLetter) bool { return d.Queued })
	if len(letters) == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	newest := letters[len(letters)-1].Seq
	for len(c.buried) > 0 && c.buried[0]+landfillWindow <= newest {
		c.buried = c.buried[1:]
	}
	if len(c.buried)+len(letters) <= landfillWindow/landfillShare {
		for _, d := range letters {
			c.buried = append(c.buried, d.Seq)
		}
		return nil
	}
	c.buried = nil // a resume gives a fresh allowance
	return &PauseError{Reason: fmt.Sprintf("over 1 %% of the last %d events of cursor %s were refused, the last because of %q: mend the destination or the sender, then resume", landfillWindow, c.name, letters[len(letters)-1].Reason)}
}
