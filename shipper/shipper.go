package shipper

import (
	"context"
	"fmt"
	"time"

	"forebay/wal"
)

// Log is what a cursor needs of the write-ahead log.
type Log interface {
	// ID is the log's identity. Blocks from before it was given a new one keep
	// the old.
	ID() wal.ID
	// NewReader reads blocks in order from the block that holds seq from.
	// Readers are independent of each other and of the appender.
	NewReader(from uint64) *wal.Reader
	// FirstSeq is the seq of the oldest event that the log still holds, or
	// DurableSeq()+1 if it holds none: 1 at least.
	FirstSeq() uint64
	// DurableSeq is the highest seq that is settled: every seq up to it is
	// either durable or inside a named gap. 0 means that there is none.
	DurableSeq() uint64
	// TimeOf is when the block that holds seq was committed, or the first one
	// after it; the zero time if there is none.
	TimeOf(seq uint64) (time.Time, error)
	// Doubted tells whether the event with this seq was stamped, or would be, by a
	// clock that is not believed and has not been set since.
	Doubted(seq uint64) bool
	// Noted is the time by the log's clock, and a seq that says how far the log has
	// come. Elapsed is how long ago that was: a clock that was set since makes nothing older.
	Noted() (at time.Time, seq uint64)
	Elapsed(at time.Time, seq uint64) time.Duration
}

// State keeps what must survive a restart. Keys are plain text, values belong
// to whoever wrote them.
type State interface {
	// Get returns a copy of the value, nil if there is none.
	Get(key string) ([]byte, error)
	// Scan calls fn for every key with the prefix, in ascending order.
	Scan(prefix string, fn func(key string, value []byte) error) error
	// Commit applies all writes or none; they are on disk when it returns.
	Commit(writes ...Write) error
}

// Write is one change of a State.
type Write struct {
	Key   string
	Value []byte // nil deletes
}

// Sink carries events to one destination.
type Sink interface {
	// Ship delivers every event that the feed yields. It returns
	//   - nil, once feed.Next said io.EOF and all that was taken is advanced;
	//   - ctx.Err(), once ctx has ended and no request is in flight any more;
	//   - a *PauseError, when only an operator can help;
	//   - any other error, upon which the cursor calls Ship again from its
	//     durable position, with growing pauses in between.
	// Failures that pass by themselves are retried inside Ship, for ever, and
	// told to feed.Report. Ship is never called twice at the same time.
	Ship(ctx context.Context, feed *Feed) error
}

// Dated is implemented by sinks that deliver an event's ReceivedAt. Their cursors
// wait before what was stamped by a clock that is not believed.
type Dated interface {
	// Dated does nothing.
	Dated()
}

// Event is one accepted event on its way out. Raw is the sender's JSON, byte
// for byte. Its strings and Raw share memory with the block they came from,
// and stay valid as long as they are referenced.
type Event struct {
	Seq        uint64
	LogID      wal.ID
	ReceivedAt time.Time // commit time of its block: UTC, whole milliseconds
	Adjusted   time.Time // the same by the node's clock as it is set now; zero: not known
	Project    string
	SDKVersion string
	AppID      string
	Session    string
	Raw        []byte

	// Foreign says that the event is of another node's log, whose letter was
	// imported: its seq has nothing to do with those of this log.
	Foreign bool
}

// Batch is a stretch of the log without holes in its range: every seq of
// First..Last is either one of Events or named in Lost. In a fill feed
// (see Feed.Fill) and in a replay the range has holes: only the Events are
// meant.
type Batch struct {
	First, Last uint64
	Events      []Event
	Lost        []wal.Gap
	Bytes       int64 // sum of len(Raw)
}

// Flush says when a batch is closed: at the first limit that is reached.
type Flush struct {
	Rows  int           // events, at least 1
	Bytes int64         // sum of raw event bytes; one larger event still goes, alone
	Age   time.Duration // since the first event was read; 0 takes what is there without waiting
}

func (f Flush) check(cursor string) error {
	if f.Rows < 1 || f.Bytes < 1 || f.Age < 0 {
		return fmt.Errorf("cursor %s: flush needs rows and bytes of at least 1 and no negative age", cursor)
	}
	return nil
}

// PauseError is returned by Sink.Ship when retrying is pointless until an
// operator acts. The cursor pauses, shows Reason, and asks Probe now and then
// whether the cause has gone; if there is no Probe it waits for a resume.
type PauseError struct {
	Reason string                      // one line that says what to do
	Probe  func(context.Context) error // nil error: resume by itself
	Err    error
}

func (e *PauseError) Error() string {
	if e.Err == nil {
		return e.Reason
	}
	return e.Reason + ": " + e.Err.Error()
}

func (e *PauseError) Unwrap() error { return e.Err }
