package router

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"forebay/router/event"
)

// Drop tells operators about one dropped request or event. It never holds a
// value that was sent, apart from the sender's version and application name.
type Drop struct {
	Number     uint64    `json:"number"` // counts all drops since the router was made, from 1
	Time       time.Time `json:"time"`
	Project    string    `json:"project"` // empty if the key is not known
	KeyID      string    `json:"key_id"`  // empty if the key is not known
	Reason     string    `json:"reason"`
	Field      string    `json:"field,omitempty"`
	Rule       string    `json:"rule,omitempty"`
	SDKVersion string    `json:"sdk_version,omitempty"`
	AppID      string    `json:"app_id,omitempty"`
	LooksLike  string    `json:"looks_like,omitempty"` // whose SDK, if it is none of this node's form

	// IdempotencyDigest is the log's digest of the event's idempotency key, by
	// which an event is traced; 0 without one, and for requests dropped whole.
	IdempotencyDigest uint64 `json:"-"`
}

const (
	tapSize        = 1000 // drops kept
	tapSubscribers = 32   // watchers at a time
	tapQueue       = 256  // drops that wait for a slow watcher
)

// tap keeps the last drops and hands new ones to whoever watches. A watcher
// that is too slow misses some; requests never wait for it. No project keeps
// more of the last ones than its share while others want it.
type tap struct {
	onDrop func(Drop) // nil: nobody wants to know

	mu       sync.Mutex
	shares   map[string]*share
	largest  *share
	kept     int
	count    uint64 // drops ever
	watchers map[chan Drop]struct{}
}

// share is the last drops of one project, or of requests without a known key
// for one rule.
type share struct {
	name  string
	drops []Drop // the oldest first, from first on
	first int
}

func newTap(onDrop func(Drop)) *tap {
	return &tap{onDrop: onDrop, shares: make(map[string]*share), watchers: make(map[chan Drop]struct{})}
}

func (s *share) len() int { return len(s.drops) - s.first }

func (s *share) push(d Drop) {
	if s.first > len(s.drops)/2 {
		n := copy(s.drops, s.drops[s.first:])
		clear(s.drops[n:])
		s.drops, s.first = s.drops[:n], 0
	}
	s.drops = append(s.drops, d)
}

func (s *share) pop() {
	s.drops[s.first] = Drop{}
	s.first++
}

// keep adds a drop to its project's share, at the cost of the largest.
func (t *tap) keep(d Drop) {
	name := d.Project
	if name == "" { // whoever has no key can at most take the place of the same fault
		name = "\x00" + d.Reason + "\x00" + d.Rule + "\x00" + d.LooksLike
	}
	s := t.shares[name]
	if s == nil {
		s = &share{name: name}
		t.shares[name] = s
	}
	s.push(d)
	t.kept++
	if t.largest == nil || s.len() > t.largest.len() {
		t.largest = s
	}
	if t.kept <= tapSize {
		return
	}
	t.largest.pop()
	t.kept--
	if t.largest == s {
		return
	}
	if t.largest.len() == 0 {
		delete(t.shares, t.largest.name)
	}
	for _, other := range t.shares {
		if other.len() > t.largest.len() {
			t.largest = other
		}
	}
}

// add notes a drop.
func (t *tap) add(d Drop) {
	if t.onDrop != nil {
		t.onDrop(d)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count++
	d.Number = t.count
	t.keep(d)
	for w := range t.watchers {
		select {
		case w <- d:
		default:
		}
	}
}

// recent returns up to n of the last drops, the oldest first.
func (t *tap) recent(n int) []Drop {
	t.mu.Lock()
	defer t.mu.Unlock()
	drops := make([]Drop, 0, t.kept)
	for _, s := range t.shares {
		drops = append(drops, s.drops[s.first:]...)
	}
	slices.SortFunc(drops, func(a, b Drop) int { return cmp.Compare(a.Number, b.Number) })
	return drops[len(drops)-min(max(n, 0), len(drops)):]
}

// watch returns a channel of the drops from now on, and what ends it. ok is
// false if too many are watching already.
func (t *tap) watch() (drops <-chan Drop, stop func(), ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.watchers) >= tapSubscribers {
		return nil, func() {}, false
	}
	c := make(chan Drop, tapQueue)
	t.watchers[c] = struct{}{}
	return c, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.watchers, c)
	}, true
}

// newDrop describes the drop of a request, or of one of its events.
func newDrop(p *passage, refusal event.Refusal) Drop {
	return Drop{
		Time: time.Now(), Project: p.key.Project, KeyID: p.key.ID,
		Reason: refusal.Reason.String(), Field: refusal.Field, Rule: string(refusal.Rule),
		SDKVersion: p.batch.SDKVersion, AppID: p.batch.AppID, LooksLike: p.looksLike,
	}
}
