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
	requeued int   // of these, how many wait to be delivered once more
	bytes    int64 // of their raw events
}

func (d *deadCount) add(l DeadLetter, sign int) {
	d.letters += sign
	d.bytes += int64(sign * len(l.Raw))
	if l.Requeued {
		d.requeued += sign
	}
}

func (c *Cursor) countDead() error {
	err := c.state.Scan(deadPrefix(c.name), func(key string, value []byte) error {
		if d, ok := c.decodeLetter(key, value); ok {
			c.dead.add(d, 1)
			if !d.Imported {
				c.account.dead.add(d.Seq)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("count dead letters of cursor %s: %w", c.name, err)
	}
	return nil
}

// bury is Feed.Bury. A letter that was requeued and is refused again becomes
// an ordinary one, with the new reason and all its attempts; those of a fill
// do not count as newly refused.
func (c *Cursor) bury(letters []DeadLetter, writes []Write, fill bool) error {
	if len(letters) == 0 {
		return c.saveLane(writes)
	}
	c.saving.Lock()
	defer c.saving.Unlock()
	now := time.Now().UTC()
	for i := range letters {
		letters[i].Cursor, letters[i].BuriedAt, letters[i].Requeued = c.name, now, false
		if c.part != nil { // a replay names what was refused; the log has it
			letters[i].Raw = nil
		}
	}
	var refused []DeadLetter // anew; those that are only queued do not count
	if !fill {
		refused = slices.DeleteFunc(slices.Clone(letters), func(d DeadLetter) bool { return d.Queued })
	}
	if err := c.guard(refused); err != nil {
		return err
	}
	err := c.changeDead(letters, nil, func(dead []Write, publish func()) error {
		return c.commitThen(publish, append(c.lane(writes), dead...))
	})
	if err != nil || len(refused) == 0 {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.landfill.add(refused)
	return nil
}

// changeDead puts and drops dead letters by one commit, and keeps the counts:
// commit has to run publish with c.mu held, once all is durable. It is called
// with c.saving held. It refuses with a *PauseError what would go over the
// bounds.
func (c *Cursor) changeDead(put []DeadLetter, drop []uint64, commit func(dead []Write, publish func()) error) error {
	c.mu.Lock()
	count := c.dead
	c.mu.Unlock()
	var writes []Write
	var buried []uint64
	var changed []string // keys of letters that were there
	forget := func(seq uint64) (had DeadLetter, err error) {
		key := deadKey(c.name, seq)
		old, err := c.state.Get(key)
		if old == nil || err != nil {
			return had, err
		}
		if had, found := c.decodeLetter(key, old); found {
			count.add(had, -1)
			changed = append(changed, key)
			return had, nil
		}
		return had, nil
	}
	for _, d := range put {
		had, err := forget(d.Seq)
		if err != nil {
			return err
		}
		if had.Imported && had.LogID != d.LogID { // letters are told apart by seq
			return &PauseError{Reason: fmt.Sprintf("seq %d of cursor %s is refused, and the imported letter of another log has its place: requeue or discard that letter, then resume", d.Seq, c.name)}
		}
		if had.Requeued && !d.Requeued { // it is refused once more
			d.Attempts += had.Attempts
			d.Imported = had.Imported
		}
		if c.account.thrown.has(d.Seq) && !d.Imported {
			writes = append(writes, Write{Key: thrownKey(c.name, d.Seq)})
		}
		w, err := d.write()
		if err != nil {
			return err
		}
		count.add(d, 1)
		writes = append(writes, w)
		if !d.Imported {
			buried = append(buried, d.Seq)
		}
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
	if c.part != nil && count.letters > maxRefused {
		return &PauseError{Reason: fmt.Sprintf("over %d events of replay %s were refused, which is as many as it names: cancel it, mend the destination, and replay the rest", maxRefused, c.name)}
	}
	if o := c.set.opts; grows && (count.letters > o.MaxDead || count.bytes > o.MaxDeadBytes) {
		return &PauseError{Reason: fmt.Sprintf("dead letters of cursor %s are full (bounds: %d letters, %d bytes): requeue or discard some, then resume", c.name, o.MaxDead, o.MaxDeadBytes)}
	}
	return commit(writes, func() {
		c.dead = count
		for _, seq := range buried {
			c.account.bury(seq)
		}
		for _, seq := range drop {
			c.account.dead.remove(seq)
		}
		for _, key := range changed {
			c.set.unreadable.over(key)
		}
	})
}

// landfill is what was buried lately: the guard against a cursor that buries
// all it is given.
type landfill struct {
	seqs     []uint64 // at most landfillWindow/landfillShare, ascending
	released bool     // it was full, and the cursor goes on: what is waiting may pass
}

// full tells whether the letters are too many beside those buried before.
func (l *landfill) full(letters []DeadLetter) bool {
	newest := letters[len(letters)-1].Seq
	for len(l.seqs) > 0 && l.seqs[0]+landfillWindow <= newest {
		l.seqs = l.seqs[1:]
	}
	fresh := 0
	for _, d := range letters {
		if !slices.Contains(l.seqs, d.Seq) { // else buried before, and not advanced over
			fresh++
		}
	}
	return len(l.seqs)+fresh > landfillWindow/landfillShare
}

func (l *landfill) add(letters []DeadLetter) {
	if l.released {
		*l = landfill{} // they passed on an operator's word
		return
	}
	for _, d := range letters {
		if !slices.Contains(l.seqs, d.Seq) {
			l.seqs = append(l.seqs, d.Seq)
		}
	}
	slices.Sort(l.seqs)
}

// guard refuses to bury when too much has been buried lately. The cursor then
// pauses; once it goes on, the same letters are let through and counting
// begins anew.
func (c *Cursor) guard(letters []DeadLetter) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(letters) == 0 || c.landfill.released || !c.landfill.full(letters) {
		return nil
	}
	c.landfill = landfill{released: true}
	return &PauseError{Reason: fmt.Sprintf("over 1 %% of the last %d events of cursor %s were refused, the last because of %q: mend the destination or the sender, then resume", landfillWindow, c.name, letters[len(letters)-1].Reason)}
}
