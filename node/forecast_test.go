package node

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"time"

	"forebay/node/config"
	"forebay/wal"
)

// forecasts feeds a forecast a look a second, of what held says, and returns it
// with the time of the last.
func forecasts(seconds int, held func(s int) float64) *forecast {
	var f forecast
	for s := range seconds {
		f.add(time.Unix(1e9, 0).Add(time.Duration(s)*time.Second), int64(held(s)))
	}
	return &f
}

// TestForecast: a constant inflow into a small disk whose destination is away is
// forecast within a factor of 2 at 10, 50 and 90 %, whatever came before; what
// goes up and down, has ended or takes years is not in sight.
func TestForecast(t *testing.T) {
	const budget, age = 100e6, 60.0
	before := map[string]func(s int) float64{
		"nothing":                      func(int) float64 { return 0 },
		"a backlog that rests":         func(int) float64 { return 5e6 },
		"batches of a second":          func(s int) float64 { return float64(s % 2 * 200_000) },
		"batches of ten seconds":       func(s int) float64 { return float64(s % 10 * 200_000) },
		"batches of half a minute":     func(s int) float64 { return float64(s % 30 * 100_000) },
		"an outage that was caught up": func(s int) float64 { return max(0, float64(300-s)*60_000) },
	}
	for name, held := range before {
		for _, idle := range []int{0, 7, 900} {
			f := forecasts(idle, held)
			if in := f.fullIn(budget, budget); len(f.looks) > 120 && in != notInSight {
				t.Errorf("%s for %d s: full in %s", name, idle, in)
			}
			for _, rate := range []float64{20e3, 730e3, 5e6} {
				base := 0.0
				if idle > 0 {
					base = held(idle - 1)
				}
				ramp := func(s int) float64 {
					if s < idle {
						return held(s)
					}
					return base + rate*float64(s-idle)
				}
				for _, share := range []float64{0.1, 0.5, 0.9} {
					took := int((share*budget - base) / rate)
					if took < 3 {
						continue // too short for three looks
					}
					at := idle + took
					left := budget - ramp(at)
					f := forecasts(at+1, ramp)
					if in, truth := f.fullIn(left, budget).Seconds(), left/rate; in < truth/2 || in > truth*2 {
						t.Errorf("%s for %d s, then %.0f B/s: at %.0f %% full in %.0f s, in truth %.0f s", name, idle, rate, 100*share, in, truth)
					}
				}
			}
		}
	}
	for name, held := range map[string]func(s int) float64{
		"one event":                            func(s int) float64 { return float64(min(s/300, 1) * 400) },
		"an hour that ended three minutes ago": func(s int) float64 { return float64(min(s, 1620)) * 20e3 },
		"a burst at the start":                 func(s int) float64 { return min(float64(s)*1e6, 20e6) },
	} {
		f := forecasts(1800, held)
		if in := f.fullIn(budget-held(1800), budget); in != notInSight {
			t.Errorf("%s: full in %s", name, in)
		}
	}
}

// TestDiskFillsAsForecast: the keeper of a real log forecasts when it is full,
// says that it is, and neither while cursors keep up.
func TestDiskFillsAsForecast(t *testing.T) {
	const perSecond, budget = 20 << 10, 2 << 20
	dir := t.TempDir()
	log, err := wal.Open(wal.Options{Dir: dir, SegmentBytes: 64 << 10, ReserveBytes: -1, SyncInterval: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	stands := uint64(0) // where the cursor is; 0: at the end
	k := &diskKeeper{
		dir: dir, log: log, gate: &gate{log: log}, logger: slog.New(slog.DiscardHandler), cfg: config.WAL{DiskBudget: budget},
		wantFrom: func() uint64 { return 1 }, retained: func(time.Duration) {}, pressed: func() {}, inPlace: func() error { return nil },
		keepFrom: func() uint64 {
			if stands == 0 {
				return log.DurableSeq() + 1
			}
			return stands
		},
	}
	now := time.Unix(1e9, 0)
	second := func() diskState {
		if _, err := log.Append(context.Background(), wal.Entry{Data: bytes.Repeat([]byte{1, 2}, perSecond/2), Events: 1}); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Second)
		k.keep(now)
		return k.state()
	}
	for range 200 {
		if s := second(); s.fullIn != notInSight || s.full {
			t.Fatalf("cursors keep up: %+v", s)
		}
	}
	stands = log.DurableSeq() + 1 // its destination goes away
	for s := second(); !s.full; s = second() {
		held, err := log.HeldFrom(stands)
		if err != nil {
			t.Fatal(err)
		}
		if float64(held.Share) < 0.1*budget {
			continue
		}
		left := (float64(s.budget)*refuseAbove - float64(held.Share)) / perSecond
		if in := s.fullIn.Seconds(); in < left/2-3 || in > left*2+3 { // a file more or less
			t.Errorf("at %.0f %% full in %.0f s, in truth %.0f s", 100*s.share, in, left)
		}
	}
	for range 900 { // and while it stays so
		now = now.Add(time.Second)
		k.keep(now)
		if s := k.state(); !s.full || s.fullInMetric() != 0 || s.fullInSeconds() != 0 {
			t.Fatalf("full: %+v", s)
		}
	}
	stands = 0
	now = now.Add(time.Second)
	k.keep(now)
	if s := k.state(); s.full {
		t.Errorf("all is delivered: %+v", s)
	}
}
