package wal

import (
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
)

// Log is an open log. All methods are safe for concurrent use.
type Log struct {
	opts     Options
	logger   *slog.Logger
	lock     *os.File
	steps    atomic.Pointer[steps]
	identity *identity // does not change while the log is open; nil while Open looks for it
	recovery Recovery

	queue     *queue
	decoder   decompressor
	incidents incidents
	reserve   reserve
	recent    recent

	durable  atomic.Uint64 // the last seq that readers may see
	firstSeq atomic.Uint64 // of the oldest block held; 0: none
	tail     broadcast     // durable has moved, or the log has closed

	committer *committer   // nil for a log that is only read
	appending atomic.Int64 // calls of Append under way

	retaining sync.Mutex // one Retain at a time

	mu          sync.RWMutex
	segments    []*segment // by number; replaced, never changed in place
	retained    uint64     // the last seq that Retain has deleted since open
	lastNumber  uint64     // number of the newest block
	newestBlock Header     // as it is in the file
	oldest      Header     // of the oldest block held, likewise
	counts      Counts
	failures    uint64

	closeOnce sync.Once
	closing   chan struct{} // closed when Close begins
	stopped   chan struct{} // closed when the committer has ended
	closeErr  error         // set by the committer before it ends
}

// ID returns the identity that new blocks get.
func (l *Log) ID() ID { return l.identity.current().ID }

// Recovery returns what Open found and did.
func (l *Log) Recovery() Recovery { return l.recovery }

// DurableSeq returns the highest seq that is settled: every seq up to it is
// either durable or inside a named gap. 0 means that there is none. With
// Options.SyncInterval it is what has been written.
func (l *Log) DurableSeq() uint64 { return l.durable.Load() }

// FirstSeq returns the seq of the oldest event that the log still holds, or
// DurableSeq()+1 if it holds none.
func (l *Log) FirstSeq() uint64 {
	if first := l.firstSeq.Load(); first > 0 {
		return first
	}
	return l.nextSeq()
}

// nextSeq is the seq that the next group starts with.
func (l *Log) nextSeq() uint64 { return l.durable.Load() + 1 }

// Close commits the appends that wait, syncs, and gives up the directory.
// Readers return ErrClosed from then on. It returns the *UnavailableError that
// keeps the log from being closed properly, if there is one; unless there is an
// Options.SyncInterval nothing that was acknowledged is lost by that.
func (l *Log) Close() error {
	var err error = ErrClosed
	l.closeOnce.Do(func() {
		l.queue.refuse(ErrClosed)
		close(l.closing)
		<-l.stopped
		l.retaining.Lock() // a Retain that is under way ends with the file that it is at
		defer l.retaining.Unlock()
		l.reserve.close()
		err = errors.Join(l.closeErr, l.lock.Close())
	})
	return err
}

// isClosing reports whether Close has begun.
func (l *Log) isClosing() bool {
	select {
	case <-l.closing:
		return true
	default:
		return false
	}
}

// addSegment appends to the list of segments; the caller holds mu.
func (l *Log) addSegment(s *segment) {
	l.segments = append(l.segments[:len(l.segments):len(l.segments)], s)
}

func (l *Log) newest() *segment {
	segments := l.view()
	return segments[len(segments)-1]
}
