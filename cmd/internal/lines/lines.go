// Package lines writes lines to a reader that may be slow, full or gone, such as
// a program's standard error. Nobody who writes waits for it or fails with it:
// what cannot be written is dropped and counted, and once the reader takes lines
// again a line says how many are missing.
package lines

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"
)

// Bounds of what waits for the reader. Later lines are dropped.
const (
	maxLines = 1024
	maxBytes = 1 << 20
)

// Pauses before a reader that refused is tried again.
const (
	retryAfter = time.Second           // it failed
	busyAfter  = 10 * time.Millisecond // it is non-blocking, and full
)

// Writer is an io.Writer whose Write neither waits nor fails. One goroutine
// writes to the reader, in order. The methods may be called concurrently.
type Writer struct {
	to   io.Writer
	lost func(n uint64) []byte // the line that tells a loss
	wake chan struct{}
	done chan struct{} // the goroutine has ended
	torn bool          // the goroutine's: the last line was cut

	mu      sync.Mutex
	queue   []entry
	bytes   int
	behind  uint64    // dropped after the last line of the queue
	untold  uint64    // dropped before its first, and not told yet
	total   uint64    // dropped since the start
	writing bool      // the goroutine has a line that is not in the queue
	since   time.Time // since when the reader takes nothing; zero: it does
	closed  bool
}

// entry is a line that waits.
type entry struct {
	line   []byte
	before uint64 // dropped between it and the line before
}

// New starts a Writer to w; Close ends it. The line that lost makes tells that n
// lines are missing; nil tells nothing.
func New(w io.Writer, lost func(n uint64) []byte) *Writer {
	o := &Writer{to: w, lost: lost, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go o.run()
	return o
}

// Write takes a copy of line, or drops it. It returns len(line) and nil.
func (w *Writer) Write(line []byte) (int, error) {
	w.mu.Lock()
	if w.closed || len(w.queue) >= maxLines || w.bytes+len(line) > maxBytes {
		w.behind++
		w.total++
	} else {
		w.queue = append(w.queue, entry{bytes.Clone(line), w.behind})
		w.bytes += len(line)
		w.behind = 0
	}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
	return len(line), nil
}

// Stats is the state of a Writer.
type Stats struct {
	Lost    uint64    // lines dropped since the start
	Waiting int       // lines that the reader has not taken yet
	Since   time.Time // since when the reader takes nothing; zero: it takes lines
}

// Stats may be called at any time.
func (w *Writer) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := Stats{Lost: w.total, Waiting: len(w.queue), Since: w.since}
	if w.writing {
		s.Waiting++
	}
	return s
}

// Close waits until the lines that were written are with the reader, at most for
// so long. Later lines are dropped. The error says how many are missing.
func (w *Writer) Close(within time.Duration) error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
	limit := time.NewTimer(within)
	defer limit.Stop()
	select {
	case <-w.done:
	case <-limit.C: // the goroutine may stand in a write for ever: nothing ends that but the reader
	}
	if s := w.Stats(); s.Lost > 0 || s.Waiting > 0 {
		return fmt.Errorf("%d lines could not be written", s.Lost+uint64(s.Waiting))
	}
	return nil
}

// run writes what comes until the Writer is closed.
func (w *Writer) run() {
	defer close(w.done)
	retry := time.NewTimer(retryAfter)
	defer retry.Stop()
	for {
		line, untold, closed := w.next()
		told := w.tell(untold)
		switch {
		case line != nil:
			w.wrote(told && w.put(line))
			continue
		case closed:
			return
		case told:
			<-w.wake
			continue
		}
		retry.Reset(retryAfter)
		select {
		case <-w.wake:
		case <-retry.C:
		}
	}
}

// next takes the oldest line, nil if there is none, and how many were dropped
// before it.
func (w *Writer) next() (line []byte, untold uint64, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		w.untold += w.behind
		w.behind = 0
		return nil, w.untold, w.closed
	}
	e := w.queue[0]
	w.queue[0] = entry{}
	w.queue = w.queue[1:]
	w.bytes -= len(e.line)
	w.untold += e.before
	w.writing = true
	return e.line, w.untold, w.closed
}

// wrote notes what became of the line that next gave.
func (w *Writer) wrote(ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writing = false
	if !ok {
		w.total++
		w.untold++
	}
}

// tell says that n lines are missing, and reports whether none are untold now.
func (w *Writer) tell(n uint64) bool {
	if n == 0 {
		return true
	}
	if w.lost != nil && !w.put(w.lost(n)) {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.untold -= n
	return true
}

// put writes a line whole, and reports whether it is with the reader.
func (w *Writer) put(line []byte) bool {
	if w.torn {
		line = append([]byte("\n"), line...)
	}
	w.begins()
	for {
		n, err := w.to.Write(line)
		if err == nil {
			w.torn = false
			w.took()
			return true
		}
		w.torn = w.torn && n == 0 || n > 0
		if !errors.Is(err, syscall.EAGAIN) {
			return false
		}
		line = line[n:]
		pause := time.NewTimer(busyAfter)
		<-pause.C
	}
}

func (w *Writer) begins() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since.IsZero() {
		w.since = time.Now()
	}
}

func (w *Writer) took() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since = time.Time{}
}
