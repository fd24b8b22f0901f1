package shippertest

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	"forebay/shipper"
)

// shelf is a destination in memory: it takes each event once in an epoch.
type shelf struct {
	mu     sync.Mutex
	seqs   []uint64
	taken  map[[2]uint64]bool // epoch and seq
	broken bool
	hung   chan struct{} // closed when it answers again; nil: it does
	cured  bool
}

func newShelf() *shelf { return &shelf{taken: map[[2]uint64]bool{}} }

// put takes an event, or says why not.
func (s *shelf) put(ctx context.Context, e shipper.Event, epoch uint64) (refused bool, err error) {
	s.mu.Lock()
	hung := s.hung
	s.mu.Unlock()
	if hung != nil {
		select {
		case <-hung:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		return false, errors.New("connection refused")
	}
	if strings.Contains(string(e.Raw), "poison") && !s.cured {
		return true, nil
	}
	if key := [2]uint64{epoch, e.Seq}; !s.taken[key] {
		s.taken[key] = true
		s.seqs = append(s.seqs, e.Seq)
	}
	return false, nil
}

func (s *shelf) set(change func()) func() {
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		change()
	}
}

// carrier is the smallest sink that conforms; hasty ones do not.
type carrier struct {
	*shelf
	hasty bool // it advances before it delivers
	drops bool // it leaves out what is refused
}

func (c carrier) Ship(ctx context.Context, feed *shipper.Feed) error {
	for {
		b, err := feed.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if c.hasty {
			if err := feed.Advance(b.Last + 1); err != nil {
				return err
			}
		}
		var refused []shipper.DeadLetter
		for _, e := range b.Events {
			bad, err := c.deliver(ctx, feed, e)
			if err != nil {
				return err
			}
			if bad && !c.drops {
				refused = append(refused, shipper.NewDeadLetter(e, "poison", 1))
			}
		}
		if err := feed.Bury(refused); err != nil {
			return err
		}
		if err := feed.Advance(b.Last + 1); err != nil {
			return err
		}
		feed.Report(nil)
	}
}

// deliver tries until it works.
func (c carrier) deliver(ctx context.Context, feed *shipper.Feed, e shipper.Event) (refused bool, err error) {
	var backoff shipper.Backoff
	for {
		refused, err := c.put(ctx, e, feed.Epoch())
		if err == nil || ctx.Err() != nil {
			return refused, err
		}
		feed.Report(err)
		if err := backoff.Wait(ctx); err != nil {
			return false, err
		}
	}
}

func TestSmallestSinkConforms(t *testing.T) {
	Conform(t, func(*testing.T) Subject {
		s := newShelf()
		return Subject{
			Sink: func() shipper.Sink { return carrier{shelf: s} },
			Arrived: func() []uint64 {
				s.mu.Lock()
				defer s.mu.Unlock()
				return append([]uint64{}, s.seqs...)
			},
			Empty: s.set(func() { s.seqs, s.taken = nil, map[[2]uint64]bool{} }),
			Break: s.set(func() { s.broken = true }),
			Hang:  s.set(func() { s.hung = make(chan struct{}) }),
			Heal: s.set(func() {
				s.broken = false
				if s.hung != nil {
					close(s.hung)
					s.hung = nil
				}
			}),
			Poison: plainEvent("s1", "poison"),
			Cure:   s.set(func() { s.cured = true }),
		}
	})
}

// TestMonitorSeesWhatIsWrong: a suite that passes every sink would be none.
func TestMonitorSeesWhatIsWrong(t *testing.T) {
	for name, sink := range map[string]carrier{
		"before event":     {shelf: newShelf(), hasty: true},
		"before event 2 ":  {shelf: newShelf(), drops: true},
		"dropped before":   {shelf: newShelf()},
		"position 3 was s": {shelf: newShelf()},
	} {
		t.Run(name, func(t *testing.T) {
			rig := NewRig(t)
			m := newMonitor(func() []uint64 {
				sink.mu.Lock()
				defer sink.mu.Unlock()
				return append([]uint64{}, sink.seqs...)
			})
			rig.State.BeforeCommit = m.commit
			rig.Append("shop", "s1", 1)
			rig.appendRaws("shop", "s1", plainEvent("s1", "poison"))
			ship := rig.Start(sink, conformFlush, shipper.Options{})
			ship.WaitDone()
			switch name {
			case "dropped before":
				if _, err := ship.Discard(operator, shipper.DeadFilter{}); err != nil {
					t.Fatal(err)
				}
			case "position 3 was s":
				value, err := rig.State.Get("cursor/test")
				if err != nil {
					t.Fatal(err)
				}
				rig.Append("shop", "s1", 1)
				ship.WaitDone()
				if err := rig.State.Commit(shipper.Write{Key: "cursor/test", Value: value}); err != nil {
					t.Fatal(err)
				}
			}
			if wrong := strings.Join(m.found(), "; "); !strings.Contains(wrong, name) {
				t.Errorf("it found %q, want something about %q", wrong, name)
			}
		})
	}
}
