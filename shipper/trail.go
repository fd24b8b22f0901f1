package shipper

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxTrail is how many entries the audit trail keeps; the oldest go first.
const maxTrail = 10_000

const trailPrefix = "audit/" // of the trail; what audits of a destination keep is under proof/

// Command says who wants a change and why. Both go into the audit trail.
type Command struct {
	By  string // as the operator names themselves; "unknown" if empty
	Why string
}

// TrailEntry is one change that an operator made.
type TrailEntry struct {
	Number uint64          `json:"number"` // counts from 1, without holes
	At     time.Time       `json:"at"`
	By     string          `json:"by"`
	Why    string          `json:"why,omitempty"`
	Verb   string          `json:"verb"`   // pause, resume, step, rewind, skip, undo, requeue, discard, import, replay, cancel, watch, fill, stop audit, or what Note was told
	Cursor string          `json:"cursor"` // or replay; empty for what is not about one
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
}

// trail numbers entries. Its lock is held over the commit that carries
// an entry, so that numbers have no holes.
type trail struct {
	mu    sync.Mutex
	state State
	next  uint64
	first uint64
}

func trailKey(number uint64) string { return fmt.Sprintf("%s%020d", trailPrefix, number) }

func newTrail(state State, unreadable *unreadables) (*trail, error) {
	t := &trail{state: state, next: 1, first: 1}
	begun := false
	err := state.Scan(trailPrefix, func(key string, _ []byte) error {
		n, err := strconv.ParseUint(strings.TrimPrefix(key, trailPrefix), 10, 64)
		if err != nil {
			unreadable.note(key, err)
			return nil
		}
		if !begun {
			t.first, begun = n, true
		}
		t.next = n + 1
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the audit trail: %w", err)
	}
	return t, nil
}

// commit makes the writes durable together with an entry for them.
func (t *trail) commit(e TrailEntry, before, after any, commit func(entry ...Write) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	e.Number, e.At = t.next, time.Now().UTC()
	return t.commitLocked(e, before, after, commit)
}

// extend is commit for a change that goes on: a later state replaces what the
// entry said was after. The entry's number is 0 before the first commit.
func (t *trail) extend(e *TrailEntry, before, after any, commit func(entry ...Write) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	extended := *e
	if e.Number == 0 {
		extended.Number, extended.At = t.next, time.Now().UTC()
	}
	err := t.commitLocked(extended, before, after, commit)
	if err == nil {
		*e = extended
	}
	return err
}

// commitLocked is called with t.mu held.
func (t *trail) commitLocked(e TrailEntry, before, after any, commit func(entry ...Write) error) error {
	if e.By == "" {
		e.By = "unknown"
	}
	var err error
	if e.Before, err = json.Marshal(before); err != nil {
		return fmt.Errorf("encode audit entry: %w", err)
	}
	if e.After, err = json.Marshal(after); err != nil {
		return fmt.Errorf("encode audit entry: %w", err)
	}
	value, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode audit entry: %w", err)
	}
	writes := []Write{{Key: trailKey(e.Number), Value: value}}
	full := e.Number == t.next && t.next-t.first >= maxTrail
	if full {
		writes = append(writes, Write{Key: trailKey(t.first)})
	}
	if err := commit(writes...); err != nil {
		return err
	}
	t.next = max(t.next, e.Number+1)
	if full {
		t.first++
	}
	return nil
}

// Note puts a change that is not about one cursor into the audit trail: drain,
// undrain, reload, keys. The entry is durable when it returns, and so is what is
// written with it.
func (cs *Cursors) Note(cmd Command, verb string, before, after any, with ...Write) error {
	return cs.trail.commit(TrailEntry{By: cmd.By, Why: cmd.Why, Verb: verb}, before, after, func(entry ...Write) error {
		return cs.opts.State.Commit(append(entry, with...)...)
	})
}

// Trail calls fn for the entries of the audit trail, oldest first. It keeps
// the last 10,000.
func (cs *Cursors) Trail(fn func(TrailEntry) error) error {
	return cs.opts.State.Scan(trailPrefix, func(key string, value []byte) error {
		n, err := strconv.ParseUint(strings.TrimPrefix(key, trailPrefix), 10, 64)
		if err != nil {
			return nil // newTrail has named it
		}
		var e TrailEntry
		if err := json.Unmarshal(value, &e); err != nil {
			cs.unreadable.note(key, err)
			e = TrailEntry{Number: n, By: "unknown", Verb: "unreadable", Why: "this entry cannot be read: " + err.Error()}
		}
		return fn(e)
	})
}
