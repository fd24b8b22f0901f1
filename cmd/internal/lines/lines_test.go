package lines

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// reader takes what is written to it, unless told otherwise.
type reader struct {
	mu      sync.Mutex
	text    strings.Builder
	err     error // what a write fails with
	partly  int   // how much of a write that fails is taken
	blocked chan struct{}
}

func (r *reader) Write(p []byte) (int, error) {
	r.mu.Lock()
	blocked := r.blocked
	r.mu.Unlock()
	if blocked != nil {
		<-blocked
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		n := min(r.partly, len(p))
		r.text.Write(p[:n])
		return n, r.err
	}
	return r.text.Write(p)
}

func (r *reader) set(err error, partly int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err, r.partly = err, partly
}

func lost(n uint64) []byte { return fmt.Appendf(nil, "%d lost\n", n) }

func say(t *testing.T, w *Writer, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		line := fmt.Sprintf("line %d\n", i)
		if n, err := w.Write([]byte(line)); n != len(line) || err != nil {
			t.Errorf("a write gave %d, %v", n, err)
		}
	}
}

func said(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return b.String()
}

// TestBlockedReader: nobody who writes waits for a reader that stands still. What
// is too much is dropped, counted and told where it is missing.
func TestBlockedReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reader{blocked: make(chan struct{})}
		w := New(r, lost)
		say(t, w, 0, 1)
		synctest.Wait() // line 0 is with the goroutine
		say(t, w, 1, maxLines+8)
		time.Sleep(time.Minute)
		if s := w.Stats(); s.Lost != 7 || s.Waiting != maxLines+1 || time.Since(s.Since) != time.Minute {
			t.Errorf("while blocked: %+v", s)
		}
		if err := w.Close(time.Second); err == nil {
			t.Error("Close does not say that lines are missing")
		}
		close(r.blocked)
		<-w.done
		if want := said(0, maxLines+1) + "7 lost\n"; r.text.String() != want {
			t.Errorf("the reader has\n%s", r.text.String())
		}
	})
}

// TestLossIsToldInPlace: lines after a loss come after the line that tells it.
func TestLossIsToldInPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reader{blocked: make(chan struct{})}
		w := New(r, lost)
		say(t, w, 0, 1)
		synctest.Wait()
		say(t, w, 1, maxLines+3)
		r.blocked <- struct{}{} // one line goes, so that there is room for one
		synctest.Wait()
		say(t, w, maxLines+3, maxLines+4)
		close(r.blocked)
		if err := w.Close(time.Second); err == nil {
			t.Error("Close does not say that lines are missing")
		}
		if want := said(0, maxLines+1) + "2 lost\n" + said(maxLines+3, maxLines+4); r.text.String() != want {
			t.Errorf("the reader has\n%s", r.text.String())
		}
	})
}

// TestFailingReader: whatever a write fails with, lines are dropped and counted, a
// cut one is ended, and once the reader takes lines again it is told.
func TestFailingReader(t *testing.T) {
	for _, err := range []error{syscall.ENOSPC, syscall.EPIPE, syscall.EBADF, syscall.EIO, errors.New("gone")} {
		t.Run(err.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &reader{err: err, partly: 3}
				w := New(r, lost)
				say(t, w, 0, 2)
				synctest.Wait()
				if s := w.Stats(); s.Lost != 2 || s.Waiting != 0 || s.Since.IsZero() {
					t.Errorf("while it fails: %+v", s)
				}
				r.set(nil, 0)
				time.Sleep(2 * retryAfter) // without a further line
				if s := w.Stats(); s.Lost != 2 || !s.Since.IsZero() {
					t.Errorf("after it: %+v", s)
				}
				say(t, w, 2, 3)
				if err := w.Close(time.Second); err == nil {
					t.Error("Close does not say that lines are missing")
				}
				if got := r.text.String(); !strings.HasSuffix(got, "\n2 lost\nline 2\n") {
					t.Errorf("the reader has %q", got)
				}
			})
		})
	}
}

// TestBusyReader: a non-blocking reader that is full loses nothing.
func TestBusyReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reader{err: syscall.EAGAIN, partly: 3}
		w := New(r, lost)
		say(t, w, 0, 1)
		synctest.Wait()
		r.set(nil, 0)
		say(t, w, 1, 3)
		if err := w.Close(time.Second); err != nil {
			t.Error(err)
		}
		if got := r.text.String(); got != said(0, 3) {
			t.Errorf("the reader has %q", got)
		}
	})
}

// TestCloseFlushes: what was written before the end is with the reader, in order.
func TestCloseFlushes(t *testing.T) {
	var r reader
	w := New(&r, lost)
	say(t, w, 0, 500)
	if err := w.Close(time.Minute); err != nil {
		t.Error(err)
	}
	if r.text.String() != said(0, 500) {
		t.Errorf("the reader has\n%s", r.text.String())
	}
	say(t, w, 500, 501)
	if s := w.Stats(); s.Lost != 1 {
		t.Errorf("after the end: %+v", s)
	}
}
