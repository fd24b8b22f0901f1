package router

import (
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
// that is too slow misses some; requests never wait for it.
type tap struct {
	mu       sync.Mutex
	last     [tapSize]Drop
	count    uint64 // drops ever; the newest is at (count-1) % tapSize
	watchers map[chan Drop]struct{}
}

func newTap() *tap { return &tap{watchers: make(map[chan Drop]struct{})} }

// add notes a drop.
func (t *tap) add(d Drop) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d.Number = t.count + 1
	t.last[t.count%tapSize] = d
	t.count++
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
	have := min(uint64(max(n, 0)), t.count, tapSize)
	drops := make([]Drop, 0, have)
	for i := t.count - have; i < t.count; i++ {
		drops = append(drops, t.last[i%tapSize])
	}
	return drops
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
		SDKVersion: p.batch.SDKVersion, AppID: p.batch.AppID,
	}
}
