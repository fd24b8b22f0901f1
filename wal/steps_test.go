package wal_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"forebay/wal"
)

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// wrongClock is a log on a machine whose clock is off by skew. Time in the
// bubble is the truth.
type wrongClock struct {
	*testing.T
	options wal.Options
	skew    time.Duration
	log     *wal.Log
	n       int
	came    []time.Time // when each event truly came
}

func newWrongClock(t *testing.T, skew time.Duration) *wrongClock {
	w := &wrongClock{T: t, options: options(filepath.Join(fastDir(t), "log")), skew: skew}
	w.options.SegmentBytes = 1 // a block a file
	w.options.Built = time.Now().Add(-30 * day)
	w.options.Now = func() time.Time { return time.Now().Add(w.skew) }
	w.log = open(t, w.options)
	return w
}

// pass lets time pass in the bubble.
func (w *wrongClock) pass(d time.Duration) {
	synctest.Wait()
	time.Sleep(d)
}

func (w *wrongClock) restart(off time.Duration) {
	w.Helper()
	closeLog(w.T, w.log)
	w.pass(off)
	w.log = open(w.T, w.options)
}

func (w *wrongClock) append() {
	w.Helper()
	w.n++
	mustAppend(w.T, w.log, entry(w.n, 1, 20))
	w.came = append(w.came, time.Now())
	w.pass(time.Minute)
}

func (w *wrongClock) set(skew time.Duration) {
	w.Helper()
	w.skew = skew
	if _, err := w.log.Clock(); err != nil {
		w.Fatal(err)
	}
}

func (w *wrongClock) clock() wal.Clock {
	w.Helper()
	c, err := w.log.Clock()
	if err != nil {
		w.Fatal(err)
	}
	return c
}

// near fails unless the events from first on came, by what a block says, when
// they truly did, within a time.
func (w *wrongClock) near(what string, first int, of func(wal.Header) time.Time, within time.Duration) {
	w.Helper()
	for _, b := range readAll(w.T, w.log, 1).blocks[first:] {
		if b.Doubted {
			w.Errorf("%s: block %d is doubted", what, b.Number)
		}
		if off := of(b.Header).Sub(w.came[b.FirstSeq-1]); off.Abs() > within {
			w.Errorf("%s: block %d is off by %s", what, b.Number, off)
		}
	}
}

func received(h wal.Header) time.Time { return h.Time }
func adjusted(h wal.Header) time.Time { return h.Adjusted }

// keeps fails unless retention by age leaves all, and a day and a half later nothing but the newest.
func (w *wrongClock) keeps(what string) {
	w.Helper()
	retain := func() {
		if _, err := w.log.Retain(wal.Retention{KeepFrom: 1 << 40, Age: day}); err != nil {
			w.Fatal(err)
		}
	}
	if retain(); w.log.FirstSeq() != 1 {
		w.Errorf("%s: history was deleted up to seq %d", what, w.log.FirstSeq()-1)
	}
	w.pass(36 * time.Hour)
	if retain(); w.log.FirstSeq() != uint64(w.n) {
		w.Errorf("%s: history is held from seq %d a day and a half later", what, w.log.FirstSeq())
	}
}

// ascending fails unless times, as they are searched, never run backwards.
func (w *wrongClock) ascending() {
	w.Helper()
	var last time.Time
	for _, b := range readAll(w.T, w.log, 1).blocks {
		if b.Adjusted.Before(last) {
			w.Errorf("block %d is from %s, the one before from %s", b.Number, b.Adjusted, last)
		}
		last = b.Adjusted
		if seq, err := w.log.SeekTime(b.Adjusted); err != nil || seq > b.FirstSeq {
			w.Errorf("seq %d is sought at %d, %v", b.FirstSeq, seq, err)
		}
	}
}

func inBubble(t *testing.T, skew time.Duration, test func(*wrongClock)) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(26 * year) // bubbles begin in 2000
		w := newWrongClock(t, skew)
		test(w)
		closeLog(t, w.log)
	})
}

// epoch is the skew of a clock that has come up in 1970.
const epoch = -56 * year

func TestClockOf1970(t *testing.T) {
	inBubble(t, epoch, func(w *wrongClock) {
		w.append()
		w.append()
		if c := w.clock(); !strings.Contains(c.Doubt, "built") || !c.Passes.IsZero() {
			w.Errorf("a clock before the build: %+v", c)
		}
		w.pass(day)
		if b := readAll(w.T, w.log, 1).blocks; !b[0].Doubted || !w.log.Doubted(1) || !w.log.Doubted(99) {
			w.Errorf("what it stamps is believed: %+v", b[0].Header)
		}
		w.set(0)
		if c := w.clock(); c.Doubt != "" || w.log.Doubted(1) || w.log.Doubted(99) {
			w.Errorf("set right: %+v", c)
		}
		w.append()
		w.near("received", 0, received, time.Second)
		w.restart(0)
		w.near("received, after a restart", 0, received, time.Second)
		w.append()
		w.ascending()
		if age := w.log.Stats().OldestAge; age < day || age > day+time.Hour {
			w.Errorf("the oldest is held for %s", age)
		}
	})
}

func TestClockOf1970OverRestarts(t *testing.T) {
	inBubble(t, 0, func(w *wrongClock) {
		w.append()
		for range 3 { // each time it begins in 1970 anew
			w.skew = time.Until(time.Unix(0, 0))
			w.restart(0)
			w.append()
			w.append()
			w.skew -= time.Hour
			w.append()
			w.pass(time.Hour)
		}
		if !w.log.Doubted(2) || !w.log.Doubted(10) || w.log.Doubted(1) {
			w.Error("the wrong events are believed")
		}
		w.skew = 0
		w.restart(0)
		w.append()
		w.near("received", 0, received, 4*time.Hour)
		w.ascending()
		w.keeps("1970 over restarts")
	})
}

func TestClockBehind(t *testing.T) {
	for what, restart := range map[string]bool{"set while it runs": false, "set while it is stopped": true} {
		t.Run(what, func(t *testing.T) {
			inBubble(t, -20*day, func(w *wrongClock) {
				w.append()
				w.append()
				if c := w.clock(); c.Doubt != "" {
					w.Fatalf("nothing speaks against it: %+v", c)
				}
				if restart {
					w.skew = 0
					w.restart(0)
				} else {
					w.set(0)
					w.append()
					w.near("adjusted", 0, adjusted, time.Second)
					w.restart(0)
				}
				w.append()
				w.near("received", 3, received, time.Second)
				w.ascending()
				w.keeps(what)
			})
		})
	}
}

func TestClockAhead(t *testing.T) {
	for _, ahead := range []time.Duration{2 * day, 10 * year} {
		for _, restart := range []bool{false, true} {
			inBubble(t, ahead, func(w *wrongClock) {
				w.append()
				if doubted := w.clock().Doubt != ""; doubted != (ahead > year) {
					w.Errorf("%s ahead: doubted: %t", ahead, doubted)
				}
				w.pass(10 * time.Minute)
				if c := w.clock(); c.Doubt != "" {
					w.Errorf("%s ahead: %+v", ahead, c)
				}
				w.append()
				w.skew = 0
				if restart {
					w.restart(0)
				}
				if c := w.clock(); c.Doubt == "" && c.Jump == 0 || c.Passes.IsZero() {
					w.Errorf("%s ahead, set right: %+v", ahead, c)
				}
				w.append()
				w.pass(10 * time.Minute)
				if c := w.clock(); c.Doubt != "" || c.Jump != 0 {
					w.Errorf("%s ahead, set right ten minutes ago: %+v", ahead, c)
				}
				w.append()
				w.near("received", 3, received, time.Second)
				w.restart(0)
				if c := w.clock(); c.Doubt != "" {
					w.Errorf("after a restart: %+v", c)
				}
				w.append()
				w.near("received", 3, received, time.Second)
				w.near("adjusted", 0, adjusted, time.Hour)
				w.ascending()
				w.keeps("ahead")
			})
		}
	}
}

func TestClockIsCompared(t *testing.T) {
	inBubble(t, -20*day, func(w *wrongClock) {
		compare := func(there time.Time) wal.Clock {
			w.Helper()
			if err := w.log.CompareClock("a", there); err != nil {
				w.Fatal(err)
			}
			return w.clock()
		}
		w.append()
		w.append()
		if c := compare(time.Now()); !c.Apart || w.log.ClockCompared() || !w.log.Doubted(1) {
			w.Errorf("20 days behind: %+v", c)
		}
		w.pass(10 * time.Minute)
		if c := w.clock(); c.Led != "a" || c.Doubt != "" || !w.log.ClockCompared() {
			w.Errorf("ten minutes later: %+v", c)
		}
		w.append()
		w.near("received", 0, received, time.Second)
		w.set(0)
		if c := w.clock(); c.Led != "" || c.Doubt != "" {
			w.Errorf("set right: %+v", c)
		}
		w.append()
		w.near("received", 0, received, time.Second)

		// One that is behind is outwaited, and asked no more.
		w.restart(0)
		w.append()
		if c := compare(time.Now().Add(-50 * day)); !c.Apart {
			w.Errorf("the other is behind: %+v", c)
		}
		w.pass(10 * time.Minute)
		if c := compare(time.Now().Add(-50 * day)); c.Doubt != "" || c.Led != "" {
			w.Errorf("the other is behind, and was waited for: %+v", c)
		}
		w.append()
		w.near("received", 0, received, time.Second)
		w.ascending()
	})
}

// TestClockFileIsChecked: a file that is not understood is named.
func TestClockFileIsChecked(t *testing.T) {
	o := options(filepath.Join(fastDir(t), "log"))
	closeLog(t, open(t, o))
	for text, says := range map[string]string{
		`{"version":2,"steps":[]}`:                       "newer",
		`{"version":1,"steps":[{"seq":2},{"seq":1}]}`:    "damaged",
		`{"version":1,"steps":[{"seq":2,"by_ms":1e99}]}`: "damaged",
		"\x00\x00": "damaged",
	} {
		if err := os.WriteFile(filepath.Join(o.Dir, "clock.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if l, err := wal.Open(o); err == nil || !strings.Contains(err.Error(), says) {
			if l != nil {
				l.Close()
			}
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestElapsed: what was noted is as old as it was seen to become.
func TestElapsed(t *testing.T) {
	inBubble(t, epoch, func(w *wrongClock) {
		w.append()
		at, seq := w.log.Noted()
		w.pass(time.Hour)
		w.set(0)
		after, afterSeq := w.log.Noted()
		w.pass(time.Hour)
		w.append()
		w.set(2 * day)
		w.append()
		w.restart(5 * day)
		for what, c := range map[string]struct {
			got  time.Duration
			want time.Duration
		}{
			"before the clock was set": {w.log.Elapsed(at, seq), 2*time.Hour + 2*time.Minute},
			"after it was set":         {w.log.Elapsed(after, afterSeq), time.Hour + 2*time.Minute},
		} {
			if (c.got - c.want).Abs() > time.Minute {
				t.Errorf("%s: %s, want %s", what, c.got, c.want)
			}
		}
	})
}
