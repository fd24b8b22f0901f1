package shipper_test

import (
	"cmp"
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"forebay/shipper"
	"forebay/shipper/shippertest"
	"forebay/wal"
)

// TestWatchKeepsHolesThatTheLogHasLeft named, until it is begun anew.
func TestWatchKeepsHolesThatTheLogHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig, s := shippertest.NewRig(t), newShelf()
		s.most = 10_000
		for range 40 {
			rig.Append("p", "a", 100)
		}
		ship := rig.Start(s, large, shipper.Options{})
		ship.WaitDone()
		s.set(0, 50)
		a := s.audits(t, ship, shipper.LeastWatch)
		running, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { a.Run(running); close(ended) }()
		defer func() { cancel(); <-ended }()
		holes := func() []shipper.Range { _, all := a.Watch(); return all[0].Holes }
		ship.WaitFor("the hole is found", func() bool { return len(holes()) == 1 })
		if _, err := rig.Log.Retain(wal.Retention{KeepFrom: rig.Log.DurableSeq(), Bytes: 128 << 10}); err != nil {
			t.Fatal(err)
		}
		if rig.Log.FirstSeq() < 100 {
			t.Fatalf("the log begins at %d", rig.Log.FirstSeq())
		}
		rounds := func() { // two that began after this
			for range 2 {
				_, all := a.Watch()
				at := all[0].ProvenAt
				ship.WaitFor("a round has ended", func() bool { _, all := a.Watch(); return all[0].ProvenAt.After(at) })
			}
		}
		rounds()
		if got := holes(); !reflect.DeepEqual(got, []shipper.Range{{First: 50, Last: 50}}) {
			t.Errorf("after the log has left the hole: %v", got)
		}
		if err := a.SetWatch(ann, shipper.LeastWatch); err != nil {
			t.Fatal(err)
		}
		rounds()
		if got := holes(); len(got) > 0 {
			t.Errorf("begun anew: %v", got)
		}
	})
}

// TestWatch proves what comes, finds what goes later, and sees it come back; it
// is kept over a restart until it is switched off.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig, s := shippertest.NewRig(t), newShelf()
		rig.Append("p", "a", 10)
		ship := rig.Start(s, small, shipper.Options{})
		ship.WaitDone()
		var a *shipper.Audits
		var stop func()
		start := func(every time.Duration) {
			a = s.audits(t, ship, every)
			running, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { a.Run(running); close(ended) }()
			stop = func() { cancel(); <-ended }
		}
		is := func(what string, proven, missing, doubles uint64) {
			t.Helper()
			time.Sleep(10 * time.Minute) // a few rounds
			_, all := a.Watch()
			if len(all) != 1 || all[0].ProvenSeq != proven || all[0].Missing != missing || all[0].Doubles != doubles ||
				time.Since(all[0].ProvenAt) > time.Minute || all[0].Error != "" {
				t.Errorf("%s: %+v, want it proven up to %d, %d missing, %d double", what, all, proven, missing, doubles)
			}
		}
		start(0)
		time.Sleep(time.Hour)
		if every, all := a.Watch(); every != 0 || all != nil {
			t.Errorf("nobody asked for a watch: %s, %+v", every, all)
		}
		if err := a.SetWatch(ann, time.Minute); err != nil {
			t.Fatal(err)
		}
		is("at the beginning", 10, 0, 0)
		rig.Append("p", "a", 10)
		is("more has come", 20, 0, 0)
		s.set(0, 8)
		s.set(2, 15)
		is("a row has gone, one is double", 7, 1, 1)
		stop()
		ship.Stop()
		ship = rig.Start(s, small, shipper.Options{})
		start(0)
		is("after a restart", 7, 1, 1)
		s.set(1, 8, 15)
		is("healed", 20, 0, 0)

		s.fail(errors.New("connection refused"))
		since := time.Now()
		time.Sleep(time.Hour)
		if _, all := a.Watch(); len(all) != 1 || !strings.Contains(all[0].Error, "refused") || all[0].Unproven().After(since.Add(time.Minute)) {
			t.Errorf("the destination is down: %+v", all)
		}
		s.fail(nil)
		is("up again", 20, 0, 0)
		if err := a.SetWatch(ann, 0); err != nil {
			t.Fatal(err)
		}
		if every, all := a.Watch(); every != 0 || all != nil {
			t.Errorf("switched off: %s, %+v", every, all)
		}
		if err := a.SetWatch(ann, time.Millisecond); !errors.Is(err, shipper.ErrRefused) {
			t.Errorf("every millisecond: %v", err)
		}
		stop()
		start(time.Minute)
		is("as the configuration asks", 20, 0, 0)
		for _, every := range []time.Duration{time.Hour, 0} {
			if err := a.SetWatch(ann, every); err != nil {
				t.Fatal(err)
			}
			want := cmp.Or(every, time.Minute)
			if got, _ := a.Watch(); got != want {
				t.Errorf("asked for a round each %s, where the configuration says each minute: each %s", every, got)
			}
		}
		stop()
	})
}

// TestWatchMissesWhatIsTooOldAtOnce: the destination deletes events for their
// age as soon as they come, which no other check tells of; and it finds what
// went later, anywhere in a log of many questions, within an hour.
func TestWatchMissesWhatIsTooOldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig, s := shippertest.NewRig(t), newShelf()
		rig.Append("p", "a", 200)
		ship := rig.Start(s, small, shipper.Options{})
		ship.WaitDone()
		s.most = 3
		a := s.audits(t, ship, 10*time.Minute)
		running, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { a.Run(running); close(ended) }()
		defer func() { cancel(); <-ended }()
		missing := func(what string, want uint64) {
			t.Helper()
			if _, all := a.Watch(); len(all) != 1 || all[0].Missing != want {
				t.Errorf("%s: %+v, want %d missing", what, all, want)
			}
		}
		time.Sleep(5 * time.Minute)
		missing("all is there", 0)
		s.set(0, 150)
		time.Sleep(time.Hour)
		missing("one went later", 1)
		s.set(1, 150)
		s.mu.Lock()
		s.keeps = 30 * time.Minute
		s.mu.Unlock()
		if err := ship.Pause(t.Context(), ann, 0); err != nil {
			t.Fatal(err)
		}
		rig.Append("p", "a", 5)
		time.Sleep(45 * time.Minute) // they are older than that when they come
		if err := ship.Resume(t.Context(), ann); err != nil {
			t.Fatal(err)
		}
		ship.WaitDone()
		s.set(0, 201, 202, 203, 204, 205)
		time.Sleep(time.Hour)
		missing("five were too old as they came", 5)
	})
}
