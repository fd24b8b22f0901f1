package session

import (
	"encoding/json"
	"fmt"
	"strings"

	"forebay/shipper"
	"forebay/shipper/session/header"
)

// markPrefix precedes a session's mark in the state: the highest seq that was
// delivered, or buried, in the epoch.
const markPrefix = "mark/"

// mark is how far one session came.
type mark struct {
	Epoch uint64 `json:"epoch"`
	Seq   uint64 `json:"seq"`

	dirty bool // not in the state as it is here
	saved bool // in the state, in this form or an older one
}

// marks are those of the sessions that came further than the cursor's
// position, which is the lowest seq not delivered of all sessions. They make
// that a restart sends little again. As soon as the position has passed a
// mark it is forgotten, so their number follows what is under way, not how
// many sessions there ever were.
type marks struct {
	epoch   uint64
	bySess  map[header.SessionID]mark
	changed []header.SessionID
	loaded  uint64 // highest seq of a loaded mark: only up to here may an event be marked already
	swept   uint64 // position at the last sweep
	skipped int    // rounds since then
}

func newMarks(epoch uint64) *marks {
	return &marks{epoch: epoch, bySess: map[header.SessionID]mark{}}
}

// load reads one saved mark. Those of another epoch are dropped.
func (m *marks) load(key string, value []byte) error {
	id, err := header.ParseSessionID(strings.TrimPrefix(key, markPrefix))
	if err != nil {
		return fmt.Errorf("saved mark %q: %w", key, err)
	}
	var saved mark
	if err := json.Unmarshal(value, &saved); err != nil {
		return fmt.Errorf("saved mark %q: %w", key, err)
	}
	saved.saved = true
	if saved.Epoch != m.epoch {
		// Seq 0 is below any position: the next save deletes it.
		m.bySess[id] = mark{Epoch: m.epoch, saved: true, dirty: true}
		m.changed = append(m.changed, id)
		return nil
	}
	m.bySess[id] = saved
	m.loaded = max(m.loaded, saved.Seq)
	return nil
}

// delivered says that an event was delivered before a restart.
func (m *marks) delivered(id header.SessionID, seq uint64) bool {
	return seq <= m.loaded && seq <= m.bySess[id].Seq
}

// set moves a session's mark up to seq.
func (m *marks) set(id header.SessionID, seq uint64) {
	old := m.bySess[id]
	if !old.dirty {
		m.changed = append(m.changed, id)
	}
	m.bySess[id] = mark{Epoch: m.epoch, Seq: seq, dirty: true, saved: old.saved}
}

// write is the write that keeps seq as one session's mark.
func (m *marks) write(id header.SessionID, seq uint64) shipper.Write {
	value, _ := json.Marshal(mark{Epoch: m.epoch, Seq: seq}) // two numbers always can be
	return shipper.Write{Key: markPrefix + id.String(), Value: value}
}

// sweepFew and sweepRounds: many marks are searched for passed ones only once
// in some rounds.
const (
	sweepFew    = 10_000
	sweepRounds = 10
)

// collect returns the writes that bring the state up to date, given that the
// position moves to low, and forgets the marks below it.
func (m *marks) collect(low uint64) []shipper.Write {
	var writes []shipper.Write
	forget := func(id header.SessionID, k mark) {
		if k.saved {
			writes = append(writes, shipper.Write{Key: markPrefix + id.String()})
		}
		delete(m.bySess, id)
	}
	for _, id := range m.changed {
		k := m.bySess[id]
		if k.Seq < low {
			forget(id, k)
			continue
		}
		writes = append(writes, m.write(id, k.Seq))
		k.dirty, k.saved = false, true
		m.bySess[id] = k
	}
	m.changed = m.changed[:0]
	if m.skipped++; m.swept == low || len(m.bySess) > sweepFew && m.skipped < sweepRounds {
		return writes
	}
	m.swept, m.skipped = low, 0
	for id, k := range m.bySess {
		if k.Seq < low {
			forget(id, k)
		}
	}
	return writes
}
