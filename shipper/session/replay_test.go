package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"forebay/shipper"
	"forebay/shipper/session"
	"forebay/shipper/session/header"
	"forebay/shipper/session/receiver"
	"forebay/shipper/shippertest"
)

// besides is what took effect at a receiver, by log id and session.
type besides struct {
	mu    sync.Mutex
	taken map[string]map[string][]uint64
	plain []uint64 // what came of a replay without being marked as one
}

func (b *besides) take(live string) func(receiver.Delivery) {
	return func(d receiver.Delivery) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.taken[d.LogID] == nil {
			b.taken[d.LogID] = map[string][]uint64{}
		}
		b.taken[d.LogID][d.Session] = append(b.taken[d.LogID][d.Session], d.Seqs...)
		if d.LogID != live && !d.Replay {
			b.plain = append(b.plain, d.Seqs...)
		}
	}
}

// TestReplayBesideTheLiveCursor goes to the same Session Manager while the live
// cursor delivers to the same sessions, and the node dies in the middle. Each
// of the two has its events once and in order, and the live marks stay.
func TestReplayBesideTheLiveCursor(t *testing.T) {
	t.Parallel()
	rig := shippertest.NewRig(t)
	live := rig.Log.ID().String()
	b := &besides{taken: map[string]map[string][]uint64{}}
	var n atomic.Int64
	r, server := newReceiver(t, receiver.Options{Taken: b.take(live), Hook: func(receiver.Delivery) receiver.Fault {
		return []receiver.Fault{{}, {}, {Status: 500, After: true}, {Status: 503}}[n.Add(1)%4]
	}})
	sent := map[string][]uint64{}
	grow := func(requests int) {
		for i := range requests {
			name := fmt.Sprintf("s%d", i%6)
			first := rig.Append([]string{"shop", "forum"}[i%2], name, 2)
			sent[name] = append(sent[name], first, first+1)
		}
	}
	grow(60)
	var dead atomic.Bool
	rig.State.BeforeCommit = func([]shipper.Write) error {
		if dead.Load() {
			return errors.New("the process is dead")
		}
		return nil
	}

	cursors, replays, stop := runBeside(t, rig, server)
	until(t, "the live cursor is done", func() bool { return cursors.Get("session").Next() > rig.Log.DurableSeq() })
	newest := rig.Log.DurableSeq()
	// Projects and sessions go together here: these are of two sessions.
	spec := shipper.ReplaySpec{
		Destination: shipper.Destination{Into: "session"}, Rate: 60,
		Filter: shipper.Filter{Projects: []string{"shop"}, Sessions: []string{"s0", "s1", "s2"}}, First: 11,
	}
	begun, err := replays.Start(shipper.Command{By: "ann"}, spec)
	if err != nil {
		t.Fatal(err)
	}
	grow(30)
	until(t, "a part is replayed", func() bool { now, err := replays.Get(begun.Name); return err == nil && now.NextSeq > begun.First })
	dead.Store(true)
	stop()
	dead.Store(false)
	cursors, replays, stop = runBeside(t, rig, server)
	defer stop()
	grow(30)
	until(t, "the replay has ended", func() bool { now, err := replays.Get(begun.Name); return err == nil && now.State == shipper.Done })
	until(t, "the live cursor is done", func() bool { return cursors.Get("session").Next() > rig.Log.DurableSeq() })

	b.mu.Lock()
	defer b.mu.Unlock()
	beside := header.ReplayID(rig.Log.ID(), begun.Epoch)
	if len(b.taken) != 2 || len(b.plain) > 0 {
		t.Errorf("%d logs are known to the receiver, want the live one and the replay; %v came unmarked", len(b.taken), b.plain)
	}
	for name, seqs := range sent {
		if got := b.taken[live][name]; !slices.Equal(got, seqs) {
			t.Errorf("live, session %s: %v took effect, want %v", name, got, seqs)
		}
		want := slices.DeleteFunc(slices.Clone(seqs), func(seq uint64) bool { return seq < 11 || seq > newest })
		if name != "s0" && name != "s2" {
			want = nil
		}
		if got := b.taken[fmt.Sprintf("%x", beside)][name]; !slices.Equal(got, want) {
			t.Errorf("replayed, session %s: %v took effect, want %v", name, got, want)
		}
	}
	if report := r.Report(); !report.InOrder() {
		t.Errorf("the receiver says: %+v", report)
	}
	if s := cursors.Get("session").Status(); s.State == shipper.Paused || s.Epoch >= begun.Epoch {
		t.Errorf("the live cursor: %+v", s)
	}
}

// runBeside runs a live cursor and replays into one Session Manager, as a node
// that begins.
func runBeside(t *testing.T, rig *shippertest.Rig, server *httptest.Server) (*shipper.Cursors, *shipper.Replays, func()) {
	t.Helper()
	cursors, err := shipper.NewCursors(shipper.Options{Log: rig.Log, State: rig.State})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cursors.Add("session", newSink(t, session.Options{URL: server.URL}), flush); err != nil {
		t.Fatal(err)
	}
	replays, err := shipper.NewReplays(cursors, shipper.ReplayOptions{
		Open: func(shipper.Destination) (shipper.Sink, shipper.Flush, error) {
			sink, err := session.New(session.Options{URL: server.URL, Lanes: 4, Beside: true})
			return sink, flush, err
		},
		Live:   func(shipper.Destination) string { return "session" },
		TypeOf: func([]byte) string { return "click" },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { cursors.Run(ctx) })
	running.Go(func() { replays.Run(ctx) })
	stop := sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(stop)
	until(t, "replays run", func() bool {
		_, err := replays.Start(shipper.Command{}, shipper.ReplaySpec{First: 1 << 60}) // refused either way
		return !strings.Contains(err.Error(), "stopped")
	})
	return cursors, replays, stop
}

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); !cond(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
