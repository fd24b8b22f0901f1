package shipper

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ErrNoReplay is returned for a name that no replay has.
var ErrNoReplay = errors.New("no such replay")

// ReplayOptions are what replays need of the node.
type ReplayOptions struct {
	// Open makes the sink of a destination, and says how batches are closed.
	// It asks no server. A sink with a method Close has it called at the end.
	Open func(Destination) (Sink, Flush, error)
	// Live names the cursor that fills the same destination, "" if none does.
	Live func(Destination) string
	// TypeOf reads an event's type.
	TypeOf func(raw []byte) string
	// Reserved are names that replays may not have: those of cursors.
	Reserved []string
}

// Replays are second cursors, each over a part of the log and a selection of
// its events, that end. They are moved by the same machine as the live
// cursors, beside them: with a reader, a sink, a position and an epoch of their
// own. They survive restarts.
type Replays struct {
	set  *Cursors
	opts ReplayOptions
	wake chan struct{} // there is one to be begun

	begun chan struct{} // closed by Run

	commands sync.Mutex // one start or cancel at a time

	mu   sync.Mutex
	runs bool
	all  []*replay // in the order in which they were started
}

// replay is one of them.
type replay struct {
	record replayRecord
	sink   Sink
	cursor *Cursor // nil once it is over

	stop  context.CancelFunc // nil while nobody runs it, and nobody ends it
	ended chan struct{}      // closed when its run has ended
}

// NewReplays loads the replays that are known. One whose destination can no
// longer be opened pauses and says why.
func NewReplays(cs *Cursors, o ReplayOptions) (*Replays, error) {
	rs := &Replays{set: cs, opts: o, wake: make(chan struct{}, 1), begun: make(chan struct{})}
	err := cs.opts.State.Scan(replayPrefix, func(key string, value []byte) error {
		record, err := decodeReplay(key, value)
		if err != nil {
			cs.unreadable.note(key, err)
			return nil
		}
		rs.all = append(rs.all, &replay{record: record})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load replays: %w", err)
	}
	slices.SortFunc(rs.all, func(a, b *replay) int { return a.record.StartedAt.Compare(b.record.StartedAt) })
	for _, r := range rs.all {
		if r.record.Over() {
			err = rs.wipe(r.record.Name) // what a crash has left of it
		} else {
			err = rs.open(r)
		}
		if err != nil {
			return nil, err
		}
	}
	return rs, nil
}

// open makes the cursor of a replay whose position is saved.
func (rs *Replays) open(r *replay) error {
	sink, flush, err := rs.opts.Open(r.record.Destination)
	if err != nil {
		sink, flush = unopened{err}, Flush{Rows: 1, Bytes: 1}
	}
	r.sink = sink
	return rs.attach(r, flush)
}

// attach makes the cursor, in batches that keep to the rate limit.
func (rs *Replays) attach(r *replay, flush Flush) (err error) {
	of := &part{last: r.record.Last, match: r.record.match(rs.opts.TypeOf)}
	if of.pace.perSecond = r.record.Rate; r.record.Rate > 0 {
		flush.Rows = min(flush.Rows, r.record.Rate) // a second's worth at a time
	}
	r.cursor, err = rs.set.newCursor(r.record.Name, r.sink, flush, of)
	return err
}

// unopened stands for a destination that the configuration no longer allows.
type unopened struct{ err error }

func (u unopened) Ship(context.Context, *Feed) error {
	return &PauseError{Reason: "its destination cannot be opened: mend the configuration and restart the node, or cancel the replay", Err: u.err}
}

// Begun is closed once Run was called and takes replays.
func (rs *Replays) Begun() <-chan struct{} { return rs.begun }

// Run delivers until ctx ends, and returns once nothing is in flight. It is
// called once.
func (rs *Replays) Run(ctx context.Context) {
	rs.setRuns(true)
	close(rs.begun)
	defer rs.setRuns(false)
	var running sync.WaitGroup
	defer func() {
		running.Wait()
		rs.closeSinks()
	}()
	for {
		for _, carry := range rs.claim(ctx) {
			running.Go(carry)
		}
		select {
		case <-rs.wake:
		case <-ctx.Done():
			return
		}
	}
}

func (rs *Replays) setRuns(runs bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.runs = runs
}

func closeSink(s Sink) {
	if c, ok := s.(interface{ Close() }); ok {
		c.Close()
	}
}

// closeSinks gives up the connections of what has not ended.
func (rs *Replays) closeSinks() {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, r := range rs.all {
		if r.cursor != nil {
			closeSink(r.sink)
		}
	}
}

// claim takes the replays that nobody runs and that are not over, and returns
// what runs them. From here on a cancel finds whom it has to stop: it must not
// end a replay that is about to be run.
func (rs *Replays) claim(ctx context.Context) []func() {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	var carries []func()
	for _, r := range rs.all {
		if r.cursor == nil || r.stop != nil {
			continue
		}
		own, stop := context.WithCancel(ctx)
		cursor, ended := r.cursor, make(chan struct{})
		r.stop, r.ended = stop, ended
		carries = append(carries, func() {
			defer close(ended)
			defer stop()
			rs.carry(own, r, cursor)
		})
	}
	return carries
}

// carry runs a replay, and notes that it has come to its end.
func (rs *Replays) carry(ctx context.Context, r *replay, c *Cursor) {
	c.enter()
	c.run(ctx)
	var backoff Backoff
	for c.part.over(c.Next()) {
		err := rs.end(r, Done, func(_ Replay, writes []Write) error { return c.commit(writes) })
		if err == nil {
			return
		}
		c.report(err)
		if backoff.Wait(ctx) != nil {
			return // the next start ends it
		}
	}
}

// end makes the outcome of a replay durable with commit, in one step with the
// end of its cursor, and forgets what it needed.
func (rs *Replays) end(r *replay, state string, commit func(Replay, []Write) error) error {
	last, err := r.now()
	if err != nil {
		return err
	}
	last.State, last.EndedAt, last.Stopped = state, time.Now().UTC(), false
	last.PassedRate, last.SecondsLeft, last.Pause, last.Plan, last.Sink = 0, 0, nil, nil, nil
	record := replayRecord{Replay: last}
	w, err := record.write()
	if err != nil {
		return err
	}
	name := last.Name
	if err := commit(last, []Write{w, {Key: cursorKey(name)}, {Key: planKey(name)}}); err != nil {
		return err
	}
	rs.mu.Lock()
	cursor := r.cursor
	r.record, r.cursor = record, nil
	rs.mu.Unlock()
	closeSink(r.sink)
	cursor.logger.Info("replay ended", "state", state, "delivered", last.Delivered, "refused", last.Refused)
	err = errors.Join(rs.wipe(name), rs.forgetOldest())
	if err != nil { // the next start does it
		cursor.logger.Warn("what a replay leaves behind cannot be removed now", "err", err)
	}
	return nil
}

// wipe removes what a cursor and its sink kept, all but its position and plan.
func (rs *Replays) wipe(name string) error {
	const atOnce = 1000
	var writes []Write
	for _, prefix := range []string{lanePrefix(name), deadPrefix(name)} {
		err := rs.set.opts.State.Scan(prefix, func(key string, _ []byte) error {
			if writes = append(writes, Write{Key: key}); len(writes) < atOnce {
				return nil
			}
			err := rs.set.opts.State.Commit(writes...)
			writes = nil
			return err
		})
		if err != nil {
			return fmt.Errorf("remove the state of replay %s: %w", name, err)
		}
	}
	if len(writes) == 0 {
		return nil
	}
	return rs.set.opts.State.Commit(writes...)
}

// forgetOldest drops those that ended first, past maxEnded.
func (rs *Replays) forgetOldest() error {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	ended := slices.DeleteFunc(slices.Clone(rs.all), func(r *replay) bool { return r.cursor != nil })
	slices.SortFunc(ended, func(a, b *replay) int { return a.record.EndedAt.Compare(b.record.EndedAt) })
	for len(ended) > maxEnded {
		if err := rs.set.opts.State.Commit(Write{Key: replayPrefix + ended[0].record.Name}); err != nil {
			return fmt.Errorf("forget replay %s: %w", ended[0].record.Name, err)
		}
		rs.all = slices.DeleteFunc(rs.all, func(r *replay) bool { return r == ended[0] })
		ended = ended[1:]
	}
	return nil
}

// KeepFrom is the lowest seq that some replay has still to pass, the seq after
// the log's newest if none has.
func (rs *Replays) KeepFrom() uint64 {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	keep := rs.set.opts.Log.DurableSeq() + 1
	for _, r := range rs.all {
		if r.cursor != nil {
			keep = min(keep, r.cursor.Next())
		}
	}
	return keep
}

// All are the replays that have not ended and the last that have, oldest first.
func (rs *Replays) All() ([]Replay, error) {
	rs.mu.Lock()
	all := slices.Clone(rs.all)
	rs.mu.Unlock()
	out := []Replay{}
	for _, r := range all {
		now, err := rs.look(r)
		if err != nil {
			return nil, err
		}
		out = append(out, now)
	}
	return out, nil
}

// Get is one replay.
func (rs *Replays) Get(name string) (Replay, error) {
	r, err := rs.find(name)
	if err != nil {
		return Replay{}, err
	}
	return rs.look(r)
}

// look reads a replay's state from a copy, since it may end meanwhile.
func (rs *Replays) look(r *replay) (Replay, error) {
	rs.mu.Lock()
	as := *r
	rs.mu.Unlock()
	return as.now()
}

func (rs *Replays) find(name string) (*replay, error) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, r := range rs.all {
		if r.record.Name == name {
			return r, nil
		}
	}
	return nil, fmt.Errorf("%w as %q: forebay replay list shows those there are", ErrNoReplay, name)
}

var replayName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)

// name is the one asked for, or the next free one. It is called with commands
// held.
func (rs *Replays) name(asked string) (string, error) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	next := 1
	for rs.set.unreadable.has(fmt.Sprintf("%sreplay-%d", replayPrefix, next)) {
		next++
	}
	if asked != "" && rs.set.unreadable.has(replayPrefix+asked) {
		return "", fmt.Errorf("%w: the record of a replay %s cannot be read: choose another name", ErrRefused, asked)
	}
	for _, r := range rs.all {
		if r.record.Name == asked {
			return "", fmt.Errorf("%w: there is a replay %s: choose another name", ErrRefused, asked)
		}
		if n, err := strconv.Atoi(strings.TrimPrefix(r.record.Name, "replay-")); err == nil {
			next = max(next, n+1)
		}
	}
	switch {
	case asked == "":
		return fmt.Sprintf("replay-%d", next), nil
	case !replayName.MatchString(asked) || slices.Contains(rs.opts.Reserved, asked):
		return "", fmt.Errorf("%w: %q cannot be a replay's name: a small letter, then up to 39 small letters, digits and -, and not a cursor's name", ErrRefused, asked)
	}
	return asked, nil
}
