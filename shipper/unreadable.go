package shipper

import (
	"log/slog"
	"slices"
	"strings"
	"sync"
)

// maxUnreadable is how many unreadable records are named; others are only logged.
const maxUnreadable = 1000

// Unreadable is a record of the state that cannot be read. It stays as it is, and
// what it is one of goes on without it.
type Unreadable struct {
	Key   string `json:"key"`
	Error string `json:"error"`
}

// unreadables are those found so far.
type unreadables struct {
	logger *slog.Logger
	mu     sync.Mutex
	byKey  map[string]string
}

// note names a record, and logs it once.
func (u *unreadables) note(key string, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, known := u.byKey[key]; known || len(u.byKey) >= maxUnreadable {
		return
	}
	if u.byKey == nil {
		u.byKey = map[string]string{}
	}
	u.byKey[key] = err.Error()
	u.logger.Error("a record of the state cannot be read, the others serve", "record", key, "err", err)
}

// over forgets a record that was removed or written anew.
func (u *unreadables) over(key string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.byKey, key)
}

func (u *unreadables) has(key string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, found := u.byKey[key]
	return found
}

// Unreadable returns the records of dead letters, replays, discarded seqs, audits
// and the audit trail that could not be read, by key.
func (cs *Cursors) Unreadable() []Unreadable {
	u := &cs.unreadable
	u.mu.Lock()
	defer u.mu.Unlock()
	var all []Unreadable
	for key, text := range u.byKey {
		all = append(all, Unreadable{key, text})
	}
	slices.SortFunc(all, func(a, b Unreadable) int { return strings.Compare(a.Key, b.Key) })
	return all
}
