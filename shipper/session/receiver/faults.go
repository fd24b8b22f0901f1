package receiver

import (
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// Fault is one way to fail a request; the zero value does not.
type Fault struct {
	Status     int           `json:"status,omitempty"`      // answered instead of 200
	RetryAfter string        `json:"retry_after,omitempty"` // header of that answer
	Delay      time.Duration `json:"delay,omitempty"`       // nanoseconds to wait first, whoever hangs up meanwhile
	Reset      bool          `json:"reset,omitempty"`       // the connection is cut instead of answered
	After      bool          `json:"after,omitempty"`       // the events are taken first: only the answer is lost
}

// Rule says which requests get a fault.
type Rule struct {
	Rate    float64 `json:"rate"`    // share of the requests that fail, 0 to 1
	Session string  `json:"session"` // only this session; empty: all
	Fault
}

// fails says whether the answer is not a 200.
func (f Fault) fails() bool { return f.Status != 0 || f.Reset }

func (f Fault) wait() {
	if f.Delay > 0 {
		<-time.After(f.Delay)
	}
}

func (f Fault) answer(w http.ResponseWriter) {
	if f.Reset {
		panic(http.ErrAbortHandler) // net/http's way to cut a connection
	}
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	http.Error(w, "told to fail", f.Status)
}

// faults is the rules in force.
type faults struct {
	mu    sync.Mutex
	rules []Rule
}

func (f *faults) set(rules []Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = rules
}

// pick draws the fault of one request.
func (f *faults) pick(d Delivery) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, rule := range f.rules {
		if (rule.Session == "" || rule.Session == d.Session) && rand.Float64() < rule.Rate {
			return rule.Fault
		}
	}
	return Fault{}
}
