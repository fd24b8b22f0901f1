package clickhouse

import (
	"sync"
	"time"
)

// limitAge is for how long a size that was refused is not tried again.
const limitAge = 10 * time.Minute

// sizeLimit is how many rows a request may have after one was refused for its
// size. It halves with each refusal and doubles with each success, without
// coming to the size that was refused until that is limitAge ago.
type sizeLimit struct {
	mu      sync.Mutex
	rows    int       // 0: no limit
	refused int       // the least that was refused
	at      time.Time // when
	why     string
}

// most is how many of n rows may go at once.
func (l *sizeLimit) most(n int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rows == 0 {
		return n
	}
	return min(n, l.rows)
}

// shrink notes that n rows were too many, and returns how many may go now.
func (l *sizeLimit) shrink(n int, why error) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows, l.refused, l.at, l.why = max(1, n/2), n, time.Now(), why.Error()
	return l.rows
}

// passed notes that n rows went, of as many as a request has without a limit.
// It returns true when the limit has come to its end.
func (l *sizeLimit) passed(n, full int) (over bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rows == 0 {
		return false
	}
	old := time.Since(l.at) >= limitAge
	switch {
	case n < l.rows:
		over = old // what is sent does not come near it
	case old || 2*l.rows < l.refused:
		l.rows *= 2
		over = l.rows >= max(full, l.refused)
	}
	if over {
		l.rows, l.refused, l.why = 0, 0, ""
	}
	return over
}

// look is the limit as it stands, 0 if there is none, and why.
func (l *sizeLimit) look() (rows int, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rows, l.why
}
