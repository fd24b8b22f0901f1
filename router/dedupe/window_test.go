package dedupe_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"forebay/router/dedupe"
)

func TestReserveTellsFreeDuplicateAndHeldApart(t *testing.T) {
	w := dedupe.New(dedupe.Options{})
	first := w.Reserve([]uint64{1, 2, 1, dedupe.NoKey, dedupe.NoKey})
	want := []dedupe.Outcome{dedupe.Free, dedupe.Free, dedupe.Duplicate, dedupe.Free, dedupe.Free}
	if got := first.Outcomes(); !slices.Equal(got, want) {
		t.Fatalf("outcomes %v, want %v", got, want)
	}
	if got := first.Reserved(); !slices.Equal(got, []uint64{1, 2}) {
		t.Fatalf("reserved %v, want 1 and 2", got)
	}
	second := w.Reserve([]uint64{2, 3, 2})
	want = []dedupe.Outcome{dedupe.Held, dedupe.Free, dedupe.Held}
	if got := second.Outcomes(); !slices.Equal(got, want) {
		t.Fatalf("outcomes %v, want %v", got, want)
	}
	if err := second.Wait(context.Background()); !errors.Is(err, dedupe.ErrReserved) {
		t.Fatalf("Wait while holding = %v, want ErrReserved", err)
	}
	first.Commit()
	second.Commit()
	if err := second.Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
	want = []dedupe.Outcome{dedupe.Duplicate, dedupe.Free, dedupe.Duplicate}
	if got := second.Outcomes(); !slices.Equal(got, want) {
		t.Fatalf("outcomes %v, want %v", got, want)
	}
	if s := w.Stats(); s.Keys != 3 || s.InFlight != 0 {
		t.Fatalf("stats %+v, want 3 keys", s)
	}
}

func TestReleasedKeyFailsItsWaiterAndIsFreeAgain(t *testing.T) {
	w := dedupe.New(dedupe.Options{})
	first := w.Reserve([]uint64{7})
	waiter := w.Reserve([]uint64{7})
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := waiter.Wait(ended); !errors.Is(err, context.Canceled) || waiter.Outcomes()[0] != dedupe.Held {
		t.Fatalf("Wait = %v, outcome %v; want canceled and still held", err, waiter.Outcomes()[0])
	}
	first.Release()
	first.Commit() // too late: nothing
	if err := waiter.Wait(context.Background()); err != nil || waiter.Outcomes()[0] != dedupe.Failed {
		t.Fatalf("Wait = %v, outcome %v; want failed", err, waiter.Outcomes()[0])
	}
	if got := w.Reserve([]uint64{7}).Outcomes()[0]; got != dedupe.Free {
		t.Fatalf("a released key is %v, want free", got)
	}
}

func TestKeysExpireWithTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := dedupe.New(dedupe.Options{Window: time.Hour})
		w.Reserve([]uint64{1}).Commit()
		time.Sleep(30 * time.Minute)
		w.Reserve([]uint64{2}).Commit()
		time.Sleep(30 * time.Minute)
		if got := outcome(w, 1); got != dedupe.Duplicate {
			t.Fatalf("a key as old as the window is %v, want duplicate", got)
		}
		time.Sleep(time.Minute)
		if got := outcome(w, 1); got != dedupe.Free {
			t.Fatalf("a key past the window is %v, want free", got)
		}
		if got := outcome(w, 2); got != dedupe.Duplicate {
			t.Fatalf("a younger key is %v, want duplicate", got)
		}
		if s := w.Stats(); s.Keys != 1 || s.Effective != time.Hour {
			t.Fatalf("stats %+v, want one key and the whole window", s)
		}
	})
}

func TestOldestKeysGoWhenThereAreTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := dedupe.New(dedupe.Options{Window: time.Hour, MaxKeys: 10})
		for d := uint64(1); d <= 25; d++ {
			w.Reserve([]uint64{d}).Commit()
			time.Sleep(time.Second)
		}
		for d := uint64(1); d <= 25; d++ {
			want := dedupe.Free
			if d > 15 {
				want = dedupe.Duplicate
			}
			if got := outcome(w, d); got != want {
				t.Errorf("key %d is %v, want %v", d, got, want)
			}
		}
		if s := w.Stats(); s.Keys != 10 || s.Effective < 10*time.Second || s.Effective >= 11*time.Second {
			t.Errorf("stats %+v, want 10 keys and about as many seconds", s)
		}
	})
}

func TestKeysGoWithTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := dedupe.New(dedupe.Options{Window: time.Hour})
		w.Reserve([]uint64{1}).Commit()
		time.Sleep(10 * time.Minute)
		oldest := time.Now()
		w.Reserve([]uint64{2}).Commit()
		time.Sleep(time.Minute)
		w.Retain(oldest)
		w.Retain(time.Time{})
		w.Retain(oldest.Add(-time.Minute))
		if outcome(w, 1) != dedupe.Free || outcome(w, 2) != dedupe.Duplicate {
			t.Fatal("the window does not follow what the log retains")
		}
		if got := w.Stats().Effective; got != time.Minute {
			t.Fatalf("effective window %v, want a minute", got)
		}
	})
}

func TestRebuildFindsOldKeysAndCountsRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		w := dedupe.New(dedupe.Options{Window: time.Hour, Rebuild: true})
		time.Sleep(time.Minute)
		if s := w.Stats(); !s.Rebuilding || s.Effective != time.Minute {
			t.Fatalf("stats %+v, want rebuilding and a window since the start", s)
		}
		w.Reserve([]uint64{1}).Commit() // a repeat that is not recognised yet
		held := w.Reserve([]uint64{2})  // another
		w.Load(now.Add(-2*time.Hour), []uint64{9})
		w.Load(now.Add(-30*time.Minute), []uint64{dedupe.NoKey, 1, 2, 3})
		held.Commit()
		w.Loaded()
		if s := w.Stats(); s.Rebuilding || s.Repeats != 2 || s.Keys != 3 || s.Effective != time.Hour {
			t.Fatalf("stats %+v, want 3 keys, 2 repeats and the whole window", s)
		}
		if outcome(w, 3) != dedupe.Duplicate || outcome(w, 9) != dedupe.Free {
			t.Fatal("keys of the log are not recognised by their age")
		}
		time.Sleep(31 * time.Minute) // the copies in the log expire, those stored since do not
		for digest, want := range map[uint64]dedupe.Outcome{1: dedupe.Duplicate, 2: dedupe.Duplicate, 3: dedupe.Free} {
			if got := outcome(w, digest); got != want {
				t.Errorf("key %d is %v, want %v", digest, got, want)
			}
		}
	})
}

// outcome looks a key up and leaves no trace.
func outcome(w *dedupe.Window, digest uint64) dedupe.Outcome {
	r := w.Reserve([]uint64{digest})
	defer r.Release()
	return r.Outcomes()[0]
}
