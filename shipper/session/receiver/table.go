package receiver

import (
	"container/list"
	"sync"
)

// sessionKey is whom a mark belongs to.
type sessionKey struct{ logID, project, session string }

// entry is one remembered session. Its mutex serialises the requests of the
// session: an old one that is still at work and its retry must not overlap.
type entry struct {
	key   sessionKey
	users int // guarded by Receiver.mu; an entry in use is not forgotten
	place *list.Element

	mu   sync.Mutex
	mark Mark
}

// SessionMark is a mark and whose it is.
type SessionMark struct {
	LogID   string `json:"log_id"`
	Project string `json:"project_id"`
	Session string `json:"session_id"`
	Mark
}

// table is the remembered sessions, the longest silent first to be forgotten.
type table struct {
	limit   int
	seen    int // sessions ever created
	entries map[sessionKey]*entry
	order   *list.List // of *entry, the last used in front
}

func newTable(limit int) table {
	return table{limit: limit, entries: map[sessionKey]*entry{}, order: list.New()}
}

// get finds or creates the entry of key.
func (t *table) get(key sessionKey) *entry {
	e := t.entries[key]
	if e == nil {
		e = &entry{key: key}
		e.place = t.order.PushFront(e)
		t.entries[key] = e
		t.seen++
	}
	t.order.MoveToFront(e.place)
	e.users++
	for back := t.order.Back(); len(t.entries) > t.limit && back != nil; {
		old := back.Value.(*entry)
		back = back.Prev()
		if old.users == 0 {
			t.order.Remove(old.place)
			delete(t.entries, old.key)
		}
	}
	return e
}

// find returns the entries of a session in all logs, each with a user more.
func (t *table) find(project, session string) []*entry {
	var found []*entry
	for key, e := range t.entries {
		if key.project == project && key.session == session {
			e.users++
			found = append(found, e)
		}
	}
	return found
}

// acquire returns the session's entry, locked.
func (r *Receiver) acquire(d Delivery) *entry {
	r.mu.Lock()
	e := r.sessions.get(sessionKey{d.LogID, d.Project, d.Session})
	r.mu.Unlock()
	e.mu.Lock()
	return e
}

func (r *Receiver) release(e *entry) {
	e.mu.Unlock()
	r.mu.Lock()
	e.users--
	r.mu.Unlock()
}
