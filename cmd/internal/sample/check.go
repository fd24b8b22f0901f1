package sample

import (
	"encoding/json"
	"fmt"
	"sync"
)

// maxDescribed bounds how many violations are described; all are counted.
const maxDescribed = 20

// Check reads order from the events themselves: whatever their way here, the
// numbers of a session must ascend. It keeps a bit for each event. All methods
// are safe for concurrent use.
type Check struct {
	mu       sync.Mutex
	sessions map[string]*received
	report   CheckReport
}

// received is the numbers of one session that have come.
type received struct {
	highest int
	seen    []uint64 // bit n-1: number n
	count   int
}

// CheckReport is what a Check has found.
type CheckReport struct {
	Sessions   int      `json:"sessions"`
	Events     int      `json:"events"`       // different ones
	Repeats    int      `json:"repeats"`      // events that had come before
	OutOfOrder int      `json:"out_of_order"` // events after one with a higher number
	Missing    int      `json:"missing"`      // numbers below the highest of their session that have not come
	Foreign    int      `json:"foreign"`      // events that no Generator made
	Violations []string `json:"violations,omitempty"`
}

// NewCheck returns a Check that has seen nothing.
func NewCheck() *Check { return &Check{sessions: map[string]*received{}} }

// Event notes that an event, as JSON, has come.
func (c *Check) Event(raw []byte) {
	var e struct {
		SessionID      string `json:"sessionId"`
		IdempotencyKey string `json:"idempotencyKey"`
	}
	err := json.Unmarshal(raw, &e)
	session, number, ok := Number(e.IdempotencyKey)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || !ok || session != e.SessionID {
		c.report.Foreign++
		return
	}
	r := c.sessions[session]
	if r == nil {
		r = &received{}
		c.sessions[session] = r
	}
	switch {
	case r.has(number):
		c.report.Repeats++
		return
	case number < r.highest:
		c.report.OutOfOrder++
		if len(c.report.Violations) < maxDescribed {
			c.report.Violations = append(c.report.Violations, fmt.Sprintf("session %s: event %d came after event %d", session, number, r.highest))
		}
	}
	r.add(number)
	c.report.Events++
}

// Has says whether the event with an idempotency key has come.
func (c *Check) Has(key string) bool {
	session, number, ok := Number(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.sessions[session]
	return ok && r != nil && r.has(number)
}

// Report returns what was found so far.
func (c *Check) Report() CheckReport {
	c.mu.Lock()
	defer c.mu.Unlock()
	report := c.report
	report.Violations = append([]string(nil), report.Violations...)
	report.Sessions = len(c.sessions)
	for _, r := range c.sessions {
		report.Missing += r.highest - r.count
	}
	return report
}

func (r *received) has(number int) bool {
	at := (number - 1) / 64
	return at < len(r.seen) && r.seen[at]&(1<<((number-1)%64)) != 0
}

func (r *received) add(number int) {
	at := (number - 1) / 64
	for len(r.seen) <= at {
		r.seen = append(r.seen, 0)
	}
	r.seen[at] |= 1 << ((number - 1) % 64)
	r.highest = max(r.highest, number)
	r.count++
}
