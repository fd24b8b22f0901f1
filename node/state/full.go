package state

import (
	"sync"
	"time"
)

// fullDisk counts the writes that wait for space.
type fullDisk struct {
	mu      sync.Mutex
	waiting int
	since   time.Time // of the first that waits; zero when none does
}

// begin calls first for the first that waits.
func (f *fullDisk) begin(first func(since time.Time)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waiting++; f.waiting == 1 {
		f.since = time.Now()
		first(f.since)
	}
}

// end calls last for the last that waited.
func (f *fullDisk) end(last func(since time.Time)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		last(f.since)
		f.since = time.Time{}
	}
}

// read is the time since when writes wait, zero when none does.
func (f *fullDisk) read() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.since
}
