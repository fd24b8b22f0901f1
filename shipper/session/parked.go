package session

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"forebay/shipper"
	"forebay/shipper/session/header"
)

// The state's keys of sessions that fail, and of those that failed for so
// long that their events are queued in the dead letters.
const (
	parkedPrefix = "parked/"
	asidePrefix  = "aside/"
)

// trouble is what the state keeps of a session in either condition.
type trouble struct {
	Project  string    `json:"project"`
	Session  string    `json:"session"`
	Since    time.Time `json:"since"`
	Failures int       `json:"failures,omitempty"`

	// Failed is for how long it did while it was tried and the endpoint was up.
	// What was saved without it begins to count anew.
	Failed time.Duration `json:"failed_ns,omitempty"`

	Cause string `json:"cause"`
	Alone bool   `json:"alone,omitempty"` // while others were taken
}

// troubles are the sessions in trouble, by how the state names them.
type troubles struct {
	parked  map[header.SessionID]trouble // as loaded, until an event of the session comes
	aside   map[header.SessionID]trouble
	saved   map[header.SessionID]struct{} // parked in the state
	changed map[header.SessionID]*lane    // parked or no longer, not in the state as it is here
	moved   map[header.SessionID]struct{} // aside or no longer, likewise
}

func newTroubles() *troubles {
	return &troubles{
		parked: map[header.SessionID]trouble{}, aside: map[header.SessionID]trouble{},
		saved: map[header.SessionID]struct{}{}, changed: map[header.SessionID]*lane{},
		moved: map[header.SessionID]struct{}{},
	}
}

// load reads one saved record of either kind.
func (t *troubles) load(prefix, key string, value []byte) error {
	id, err := header.ParseSessionID(strings.TrimPrefix(key, prefix))
	if err != nil {
		return fmt.Errorf("saved session %q: %w", key, err)
	}
	var saved trouble
	if err := json.Unmarshal(value, &saved); err != nil {
		return fmt.Errorf("saved session %q: %w", key, err)
	}
	if prefix == asidePrefix {
		t.aside[id] = saved
		return nil
	}
	t.parked[id] = saved
	t.saved[id] = struct{}{}
	return nil
}

// restore gives a new lane the trouble its session was in before a restart.
func (t *troubles) restore(l *lane) {
	saved, ok := t.parked[l.id]
	if !ok {
		return
	}
	delete(t.parked, l.id)
	l.failures, l.since, l.failed, l.cause, l.alone = saved.Failures, saved.Since, saved.Failed, saved.Cause, saved.Alone
}

// put sets a session aside, take lets it back.
func (t *troubles) put(id header.SessionID, why trouble) {
	t.aside[id] = why
	t.moved[id] = struct{}{}
}

func (t *troubles) take(id header.SessionID) {
	delete(t.aside, id)
	t.moved[id] = struct{}{}
}

func (t *troubles) isAside(id header.SessionID) bool {
	_, ok := t.aside[id]
	return ok
}

func (l *lane) trouble() trouble {
	return trouble{
		Project: l.key.project, Session: l.key.session, Since: l.since.UTC(),
		Failures: l.failures, Failed: l.failed, Cause: l.cause, Alone: l.alone,
	}
}

func (t trouble) write(prefix string, id header.SessionID) shipper.Write {
	value, _ := json.Marshal(t) // strings, a number and a time of this century always can be
	return shipper.Write{Key: prefix + id.String(), Value: value}
}

// collect returns the writes that bring the state up to date.
func (t *troubles) collect() []shipper.Write {
	var writes []shipper.Write
	for id, l := range t.changed {
		_, saved := t.saved[id]
		switch {
		case l.failures > 0:
			writes = append(writes, l.trouble().write(parkedPrefix, id))
			t.saved[id] = struct{}{}
		case saved:
			writes = append(writes, shipper.Write{Key: parkedPrefix + id.String()})
			delete(t.saved, id)
		}
	}
	clear(t.changed)
	for id := range t.moved {
		if why, ok := t.aside[id]; ok {
			writes = append(writes, why.write(asidePrefix, id))
		} else {
			writes = append(writes, shipper.Write{Key: asidePrefix + id.String()})
		}
	}
	clear(t.moved)
	return writes
}
