package shipper_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"forebay/shipper"
	"forebay/shipper/shippertest"
	"forebay/wal"
)

// TestReplayDeliversExactlyWhatIsSelected, once and in order, over restarts at
// any moment, while the live cursor goes its way.
func TestReplayDeliversExactlyWhatIsSelected(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		log, err := wal.Open(wal.Options{Dir: t.TempDir(), SegmentBytes: 64 << 10, ReserveBytes: -1, SyncInterval: time.Minute})
		if err != nil {
			rt.Fatal(err)
		}
		b := newBench(t, &shippertest.Rig{TB: t, Log: log, State: shippertest.NewState()})
		b.fails = rt
		defer func() {
			b.stop()
			if err := log.Close(); err != nil {
				rt.Error(err)
			}
		}()
		type known struct{ project, session, kind string }
		var events []known // by seq, from 1
		pick := func(of string) string { return fmt.Sprint(of, rapid.IntRange(0, 3).Draw(rt, of)) }
		grow := func(n int) {
			for range n {
				e := known{pick("p"), pick("s"), pick("t")}
				if rapid.IntRange(0, 19).Draw(rt, "damage") == 0 {
					e = known{}
					if _, err := b.Log.Append(context.Background(), wal.Entry{Data: []byte("\x00 no record"), Events: 1}); err != nil {
						rt.Fatal(err)
					}
				} else {
					b.add(e.project + " " + e.session + " " + e.kind)
				}
				events = append(events, e)
			}
		}
		grow(rapid.IntRange(1, 30).Draw(rt, "events"))
		subset := func(of string) []string {
			all := []string{of + "0", of + "1", of + "2", of + "3"}
			return all[:rapid.IntRange(0, 3).Draw(rt, "of "+of)]
		}
		newest := uint64(len(events))
		first := rapid.Uint64Range(1, newest).Draw(rt, "first")
		spec := shipper.ReplaySpec{
			Filter: shipper.Filter{Projects: subset("p"), Sessions: subset("s"), Types: subset("t")},
			First:  first, Last: rapid.Uint64Range(first, newest).Draw(rt, "last"),
		}
		in := func(list []string, v string) bool { return len(list) == 0 || slices.Contains(list, v) }
		want, lost := []uint64{}, uint64(0)
		for seq := spec.First; seq <= spec.Last; seq++ {
			switch e := events[seq-1]; {
			case e == known{}:
				lost++
			case in(spec.Projects, e.project) && in(spec.Sessions, e.session) && in(spec.Types, e.kind):
				want = append(want, seq)
			}
		}

		b.start()
		spec.Into = "elsewhere"
		preview, err := b.replays.Preview(ctx, spec)
		if err != nil || preview.Events != uint64(len(want)) || preview.Lost != lost || preview.Duplicates != 0 {
			rt.Fatalf("preview: %+v, %v; want %d events", preview, err, len(want))
		}
		live := b.cursors.Get("test").Epoch()
		name := b.begin(spec)
		for range rapid.IntRange(0, 2).Draw(rt, "restarts") {
			b.restart()
			grow(rapid.IntRange(0, 5).Draw(rt, "more"))
		}
		r := b.ended(name)
		if got := seqs(b.target.Delivered()); !slices.Equal(got, want) {
			rt.Fatalf("delivered %v of %+v, want %v", got, spec, want)
		}
		named := uint64(0)
		for _, gap := range r.Lost {
			named += gap.Len()
		}
		if r.State != shipper.Done || r.Delivered != uint64(len(want)) || named != lost || r.Progress != 1 || r.Refused != 0 {
			rt.Fatalf("in the end: %+v; want %d delivered, %d lost", r, len(want), lost)
		}
		for _, d := range b.target.Delivered() {
			if d.Epoch != r.Epoch || d.Epoch == live {
				rt.Fatalf("seq %d came in epoch %d; the replay's is %d", d.Seq, d.Epoch, r.Epoch)
			}
		}

		// The live cursor has not noticed.
		b.until("the live cursor is done", func() bool { return b.cursors.Get("test").Next() > b.Log.DurableSeq() })
		s := b.cursors.Get("test").Status()
		if s.Account.Imbalance != 0 || s.Epoch != live || s.ReplayTo != 0 || !slices.IsSorted(seqs(b.live.Delivered())) {
			rt.Fatalf("the live cursor: %+v; it delivered %v", s, seqs(b.live.Delivered()))
		}
	})
}

// TestReplayDiesAtAnyCommit: what was delivered in vain comes again, and it
// comes to the same end.
func TestReplayDiesAtAnyCommit(t *testing.T) {
	for n := 1; ; n++ {
		b := newBench(t, shippertest.NewRig(t))
		b.add("p s a", "p s b", "p s a", "p s a", "p s b", "p s a", "p s a", "p s a", "p s b", "p s a")
		b.start()
		b.until("the live cursor is done", func() bool { return b.cursors.Get("test").Next() == 11 })
		var mu sync.Mutex
		left, died := n, false
		b.State.BeforeCommit = func([]shipper.Write) error {
			mu.Lock()
			defer mu.Unlock()
			if left--; left <= 0 {
				died = true
				return errors.New("the node is dead")
			}
			return nil
		}
		dead := func() bool { mu.Lock(); defer mu.Unlock(); return died }
		spec := shipper.ReplaySpec{Destination: shipper.Destination{Into: "elsewhere"}, Filter: shipper.Filter{Types: []string{"a"}}, Name: "mine"}
		_, err := b.replays.Start(ann, spec)
		begun := err == nil
		if begun {
			b.until("it has died, or ended", func() bool { r := b.get("mine"); return dead() || r.Over() })
		}
		b.stop()
		reached := dead()
		mu.Lock()
		left = 1 << 30
		mu.Unlock()
		b.start()
		if !begun {
			if all, err := b.replays.All(); err != nil || len(all) != 0 {
				t.Fatalf("commit %d: it did not begin, and yet %+v, %v", n, all, err)
			}
		} else {
			if r := b.ended("mine"); r.State != shipper.Done || r.Delivered != 7 {
				t.Fatalf("commit %d: %+v", n, r)
			}
			got := seqs(b.target.Delivered())
			slices.Sort(got)
			if got = slices.Compact(got); !slices.Equal(got, []uint64{1, 3, 4, 6, 7, 8, 10}) {
				t.Fatalf("commit %d: delivered %v", n, got)
			}
			b.stop()
			b.leavesNothing("mine")
		}
		b.stop()
		if !reached {
			if n < 4 {
				t.Fatalf("only %d commits", n)
			}
			return
		}
	}
}

// leavesNothing waits until only its record is left of a replay that has ended.
func (b *bench) leavesNothing(name string) {
	b.tb.Helper()
	b.until("nothing of "+name+" is left in the state", func() bool {
		left := false
		err := b.State.Scan("", func(key string, _ []byte) error {
			left = left || strings.Contains(key, name) && key != "replay/"+name
			return nil
		})
		if err != nil {
			b.tb.Fatal(err)
		}
		return !left
	})
}

// TestReplayIsPacedByItsRate runs seconds of a bubble's time.
func TestReplayIsPacedByItsRate(t *testing.T) {
	for _, rate := range []int{40, 100} {
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, shippertest.NewRig(t))
				const events = 60
				b.Append("p", "s", events)
				b.start()
				b.until("the live cursor is done", func() bool { return len(b.live.Delivered()) == events })
				began := time.Now()
				b.target.Before = func(_ *shipper.Feed, batch *shipper.Batch) error {
					// One batch, of at most three events, may go ahead.
					due := time.Duration(int(batch.Last)-3) * time.Second / time.Duration(rate)
					if at := time.Since(began); at < due {
						t.Errorf("events up to %d go out after %s, due is %s", batch.Last, at, due)
					}
					return nil
				}
				b.ended(b.begin(shipper.ReplaySpec{Rate: rate}))
				if took, least := time.Since(began), time.Duration(events-4)*time.Second/time.Duration(rate); took < least || took > 2*least+time.Second {
					t.Errorf("%d events took %s at %d a second", events, took, rate)
				}
				b.stop()
			})
		})
	}
}

func TestReplayIsCanceled(t *testing.T) {
	b := newBench(t, shippertest.NewRig(t))
	b.add("p s a", "p s a", "p s a", "p s a", "p s a", "p s a")
	third := make(chan struct{})
	b.target.Before = func(_ *shipper.Feed, batch *shipper.Batch) error {
		if batch.First > 3 {
			select {
			case <-third:
			default:
				close(third)
			}
			return errors.New("no more")
		}
		return nil
	}
	b.start()
	name := b.begin(shipper.ReplaySpec{})
	<-third
	b.until("the failure shows", func() bool { return b.get(name).State == shipper.Failing })
	if r := b.get(name); r.LastError != "no more" || r.NextSeq != 4 || r.Progress != 0.5 {
		t.Errorf("while it fails: %+v", r)
	}
	r, err := b.replays.Cancel(ctx, ann, name)
	if err != nil || r.State != shipper.Canceled || r.Delivered != 3 || r.EndedAt.IsZero() {
		t.Fatalf("cancel: %+v, %v", r, err)
	}
	if _, err := b.replays.Cancel(ctx, ann, name); !errors.Is(err, shipper.ErrRefused) {
		t.Errorf("a second cancel: %v, want a refusal", err)
	}
	if _, err := b.replays.Resume(ctx, ann, name); !errors.Is(err, shipper.ErrRefused) {
		t.Errorf("a resume after the end: %v, want a refusal", err)
	}
	if _, err := b.replays.Cancel(ctx, ann, "nosuch"); !errors.Is(err, shipper.ErrNoReplay) {
		t.Errorf("cancel of nothing: %v", err)
	}
	b.restart()
	if r := b.get(name); r.State != shipper.Canceled || r.Delivered != 3 {
		t.Errorf("after a restart: %+v", r)
	}
	b.leavesNothing(name)
	var verbs []string
	if err := b.cursors.Trail(func(e shipper.TrailEntry) error {
		verbs = append(verbs, e.By+" "+e.Verb+" "+e.Cursor+" "+e.Why)
		return nil
	}); err != nil || !slices.Equal(verbs, []string{"ann replay replay-1 a test", "ann cancel replay-1 a test"}) {
		t.Errorf("the trail: %q, %v", verbs, err)
	}
}

// TestReplayIsPausedOverARestart, by an operator or by itself.
func TestReplayIsPausedOverARestart(t *testing.T) {
	b := newBench(t, shippertest.NewRig(t))
	b.add("p s a", "p s a", "p s a", "p s a", "p s a", "p s a")
	b.target.Before = func(_ *shipper.Feed, batch *shipper.Batch) error {
		if batch.First == 4 && len(b.target.Delivered()) == 3 {
			return &shipper.PauseError{Reason: "a column is missing"}
		}
		return nil
	}
	b.start()
	name := b.begin(shipper.ReplaySpec{})
	b.until("it has paused", func() bool { return b.get(name).State == shipper.Paused })
	if r := b.get(name); r.Pause == nil || r.Pause.Reason != "a column is missing" || r.NextSeq != 4 {
		t.Errorf("paused: %+v", r)
	}
	if _, err := b.replays.Pause(ctx, ann, name, 0); err != nil {
		t.Fatal(err)
	}
	b.restart()
	if r := b.get(name); r.State != shipper.Paused || r.Pause.By != "ann" {
		t.Errorf("after a restart: %+v", r)
	}
	b.target.Before = nil
	if _, err := b.replays.Resume(ctx, ann, name); err != nil {
		t.Fatal(err)
	}
	if r := b.ended(name); r.Delivered != 6 {
		t.Errorf("in the end: %+v", r)
	}
}

// TestReplayNamesWhatIsRefused and keeps no letters of it.
func TestReplayNamesWhatIsRefused(t *testing.T) {
	b := newBench(t, shippertest.NewRig(t))
	for i := range 120 {
		b.add(fmt.Sprint("p s e", i))
	}
	b.target.Refuse = func(e shipper.Event) (string, bool) { return "too odd", e.Seq > 119 }
	b.start()
	r := b.ended(b.begin(shipper.ReplaySpec{}))
	if r.Delivered != 119 || r.Refused != 1 || len(r.Refusals) != 1 || r.Refusals[0] != (shipper.Refusal{Seq: 120, Reason: "too odd"}) {
		t.Errorf("one is refused: %+v", r)
	}
	b.leavesNothing(r.Name)

	// Where over 1 % is refused, more is wrong than single events.
	b.target.Refuse = func(shipper.Event) (string, bool) { return "too odd", true }
	name := b.begin(shipper.ReplaySpec{})
	b.until("it has paused", func() bool { return b.get(name).State == shipper.Paused })
	if r := b.get(name); r.Refused == 0 || r.Refused > 100 || !strings.Contains(r.Pause.Reason, "too odd") {
		t.Errorf("most are refused: %+v", r)
	}
	if s := b.cursors.Get("test").Status(); s.Dead != 0 {
		t.Errorf("the live cursor has %d dead letters", s.Dead)
	}
}

// TestReplayAndRetention: history that goes before the replay has come to it is
// named, and holds up nothing.
func TestReplayAndRetention(t *testing.T) {
	b := newBench(t, shippertest.NewRig(t))
	for range 300 {
		b.Append("p", "s", 10)
	}
	reached, gone := make(chan struct{}), make(chan struct{})
	b.target.Before = func(_ *shipper.Feed, batch *shipper.Batch) error {
		if batch.First == 1 {
			close(reached)
			<-gone
		}
		return nil
	}
	b.start()
	newest := b.Log.DurableSeq()
	name := b.begin(shipper.ReplaySpec{})
	<-reached
	if keep := b.replays.KeepFrom(); keep != 1 {
		t.Errorf("it would keep the log from %d", keep)
	}
	b.until("the live cursor is done", func() bool { return b.cursors.Get("test").Next() > newest })
	if _, err := b.Log.Retain(wal.Retention{KeepFrom: b.cursors.KeepFrom(), Bytes: 1}); err != nil {
		t.Fatal(err)
	}
	close(gone)
	r := b.ended(name)
	expired := uint64(0)
	for _, e := range r.Expired {
		expired += e.Len()
	}
	if expired == 0 || r.Delivered+expired != newest || len(r.Lost) > 0 {
		t.Errorf("%d delivered, %d expired of %d: %+v", r.Delivered, expired, newest, r)
	}
	if keep := b.replays.KeepFrom(); keep != newest+1 {
		t.Errorf("after its end it would keep the log from %d", keep)
	}

	// What is gone before it begins is told.
	p, err := b.replays.Preview(ctx, shipper.ReplaySpec{Destination: shipper.Destination{Into: "same"}, First: 1})
	if oldest := b.Log.FirstSeq(); err != nil || p.NotKept != oldest-1 || p.Spec.First != oldest || p.Duplicates != p.Events || p.SameAs != "test" {
		t.Errorf("preview: %+v, %v; the oldest is %d", p, err, oldest)
	}
}

func TestReplaysAreBounded(t *testing.T) {
	b := newBench(t, shippertest.NewRig(t))
	b.add("p s a", "p s a")
	b.start()
	for range 25 {
		b.ended(b.begin(shipper.ReplaySpec{}))
	}
	b.until("the oldest are forgotten", func() bool { all, err := b.replays.All(); return err == nil && len(all) == 20 })
	all, err := b.replays.All()
	if err != nil || all[0].Name != "replay-6" || all[19].Name != "replay-25" {
		t.Errorf("%s to %s are remembered, %v", all[0].Name, all[19].Name, err)
	}
	b.target.Before = func(*shipper.Feed, *shipper.Batch) error { return errors.New("down") }
	for i := range 4 {
		b.begin(shipper.ReplaySpec{Name: fmt.Sprint("mine-", i)})
	}
	many := make([]string, 101)
	for i := range many {
		many[i] = "x"
	}
	for want, spec := range map[string]shipper.ReplaySpec{"as many as there may be": {}} {
		spec.Into = "elsewhere"
		if _, err := b.replays.Start(ann, spec); !errors.Is(err, shipper.ErrRefused) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want a refusal about %q", spec, err, want)
		}
	}
	if _, err := b.replays.Cancel(ctx, ann, "mine-0"); err != nil {
		t.Fatal(err)
	}
	for want, spec := range map[string]shipper.ReplaySpec{
		"choose another name":  {Name: "mine-1"},
		"cannot be a replay's": {Name: "test"},
		"small letter":         {Name: "../x"},
		"nothing from seq 3":   {First: 3},
		"from seq 2 to 1":      {First: 2, Last: 1},
		"a rate is between":    {Rate: -1},
		"at most 100 values":   {Filter: shipper.Filter{Types: many}},
		"1 to 1024 bytes":      {Filter: shipper.Filter{Projects: []string{""}}},
		"nobody is there":      {Destination: shipper.Destination{Into: "nowhere"}},
	} {
		if spec.Into == "" {
			spec.Into = "elsewhere"
		}
		if _, err := b.replays.Start(ann, spec); !errors.Is(err, shipper.ErrRefused) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want a refusal about %q", spec, err, want)
		}
	}
	b.stop()
	if _, err := b.replays.Start(ann, shipper.ReplaySpec{Destination: shipper.Destination{Into: "elsewhere"}}); !errors.Is(err, shipper.ErrRefused) {
		t.Errorf("a start on a node that is stopped: %v", err)
	}
}

// TestReplayOfSeqsThatTheLogSteppedOver ends, although no block is behind them.
func TestReplayOfSeqsThatTheLogSteppedOver(t *testing.T) {
	dir := t.TempDir()
	open := func(floor uint64) *wal.Log {
		log, err := wal.Open(wal.Options{Dir: dir, ReserveBytes: -1, Floor: floor})
		if err != nil {
			t.Fatal(err)
		}
		return log
	}
	rig := &shippertest.Rig{TB: t, Log: open(0), State: shippertest.NewState()}
	rig.Append("p", "s", 5)
	if err := rig.Log.Close(); err != nil {
		t.Fatal(err)
	}
	rig.Log = open(9)
	t.Cleanup(func() { _ = rig.Log.Close() })
	if newest := rig.Log.DurableSeq(); newest != 9 {
		t.Fatalf("the log's newest seq is %d", newest)
	}
	b := newBench(t, rig)
	b.start()
	r := b.ended(b.begin(shipper.ReplaySpec{}))
	if r.Delivered != 5 || !slices.Equal(r.Lost, []shipper.Range{{First: 6, Last: 9}}) {
		t.Errorf("%+v", r)
	}
}
