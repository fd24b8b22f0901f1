package shipper

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// epochKey holds the last epoch given out, 8 bytes big endian.
const epochKey = "meta/epoch"

// Options are what the cursors of one node share.
type Options struct {
	Log    Log
	State  State
	Logger *slog.Logger

	// MaxDead bounds the dead letters of one cursor in number, MaxDeadBytes
	// in raw bytes. A cursor that reaches either pauses; nothing is evicted.
	// Defaults: 100,000 and 512 MiB.
	MaxDead      int
	MaxDeadBytes int64
}

// Cursors are the cursors of a node.
type Cursors struct {
	opts  Options
	trail *trail
	begun chan struct{} // closed by Run

	unreadable unreadables

	epochMu sync.Mutex

	mu      sync.Mutex
	ordered []*Cursor
}

// NewCursors returns an empty set; Add fills it before Run is called.
func NewCursors(o Options) (*Cursors, error) {
	if o.MaxDead <= 0 {
		o.MaxDead = 100_000
	}
	if o.MaxDeadBytes <= 0 {
		o.MaxDeadBytes = 512 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	cs := &Cursors{opts: o, begun: make(chan struct{}), unreadable: unreadables{logger: o.Logger}}
	var err error
	cs.trail, err = newTrail(o.State, &cs.unreadable)
	return cs, err
}

// Add makes the cursor name, loading its position; one that is new starts at
// the oldest event of the log in an epoch of its own, and counts what the log
// no longer keeps as expired.
func (cs *Cursors) Add(name string, sink Sink, flush Flush) (*Cursor, error) {
	c, err := cs.newCursor(name, sink, flush, nil)
	if err != nil {
		return nil, err
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, have := range cs.ordered {
		if have.name == name {
			return nil, fmt.Errorf("cursor %s exists already", name)
		}
	}
	cs.ordered = append(cs.ordered, c)
	return c, nil
}

// newCursor makes a cursor of what is saved under its name.
func (cs *Cursors) newCursor(name string, sink Sink, flush Flush, of *part) (*Cursor, error) {
	if err := flush.check(name); err != nil {
		return nil, err
	}
	c := &Cursor{
		name: name, part: of, sink: sink, flush: flush,
		log: cs.opts.Log, state: cs.opts.State, set: cs,
		logger: cs.opts.Logger.With("cursor", name),
		wake:   make(chan struct{}, 1),
	}
	return c, c.load()
}

// All returns the cursors in the order in which they were added.
func (cs *Cursors) All() []*Cursor {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return append([]*Cursor(nil), cs.ordered...)
}

// Get returns the cursor with the name, nil if there is none.
func (cs *Cursors) Get(name string) *Cursor {
	for _, c := range cs.All() {
		if c.name == name {
			return c
		}
	}
	return nil
}

// Run ships on all cursors until ctx ends, and returns once none has a
// request in flight. Cursors fail and pause each for itself. It is called once.
func (cs *Cursors) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, c := range cs.All() {
		c.enter()
		wg.Go(func() { c.run(ctx) })
	}
	close(cs.begun)
	wg.Wait()
}

// Begun is closed once Run was called and takes commands, such as a step.
func (cs *Cursors) Begun() <-chan struct{} { return cs.begun }

// KeepFrom is the lowest seq that some cursor still has to deliver: the log
// must keep it. With no cursors nothing is needed, and it is the seq after
// the newest.
func (cs *Cursors) KeepFrom() uint64 {
	keep := cs.opts.Log.DurableSeq() + 1
	for _, c := range cs.All() {
		keep = min(keep, c.Next())
	}
	return keep
}

// nextEpoch takes a new epoch and has commit make it durable: counter is the
// write that does so. Where the state is new but the log is not, the state was
// lost: the counter then starts at the Unix time, above what any receiver can
// have seen from this node.
func (cs *Cursors) nextEpoch(commit func(epoch uint64, counter Write) error) error {
	cs.epochMu.Lock()
	defer cs.epochMu.Unlock()
	saved, err := cs.opts.State.Get(epochKey)
	if err != nil {
		return fmt.Errorf("read the epoch counter: %w", err)
	}
	epoch := uint64(1)
	switch {
	case len(saved) == 8:
		epoch = binary.BigEndian.Uint64(saved) + 1
	case saved != nil:
		return errors.New("the epoch counter in the state folder is damaged: restore the state folder, or remove it to start every cursor at the oldest event")
	case cs.opts.Log.DurableSeq() > 0:
		newest, err := cs.opts.Log.TimeOf(cs.opts.Log.DurableSeq())
		if err != nil {
			return fmt.Errorf("begin a new epoch: %w", err)
		}
		epoch = uint64(max(time.Now().Unix(), newest.Unix(), 1))
		cs.opts.Logger.Warn("no saved cursors, but the log holds events: delivering from the oldest event on, in a new epoch", "epoch", epoch)
	}
	return commit(epoch, Write{Key: epochKey, Value: binary.BigEndian.AppendUint64(nil, epoch)})
}

// FloorSeq is the highest seq that some saved cursor has passed or is about to
// send, read before the log is opened: the log must never give out such a seq
// again, even if it has lost its end. A cursor that was rewound has passed more
// than where it stands.
func FloorSeq(state State) (uint64, error) {
	floor := uint64(0)
	var names []string
	err := state.Scan(cursorKey(""), func(key string, value []byte) error {
		name := key[len(cursorKey("")):]
		p, err := decodePosition(name, value)
		if err != nil {
			return err
		}
		names = append(names, name)
		floor = max(floor, p.Next-min(p.Next, 1), p.RepeatsTo)
		return nil
	})
	for _, name := range names {
		if err != nil {
			break
		}
		// Not those of fills: letters may have been imported from elsewhere.
		var saved []byte
		var plan *Plan
		if saved, err = state.Get(planKey(name)); err == nil {
			plan, err = decodePlan(saved)
		}
		if plan != nil {
			floor = max(floor, plan.Last)
		}
	}
	return floor, err
}
