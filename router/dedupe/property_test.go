package dedupe_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"forebay/router/dedupe"
)

// request is one sender's batch: digests, how long the log takes to write it, and
// whether that fails.
type request struct {
	After   int // milliseconds after the request before it
	Digests []uint64
	Takes   int // milliseconds
	Fails   bool
}

// life is what one process sees between a start and a crash.
type life struct{ Requests []request }

func drawLives(rt *rapid.T) []life {
	req := rapid.Custom(func(rt *rapid.T) request {
		return request{
			After:   rapid.IntRange(0, 40).Draw(rt, "after"),
			Digests: rapid.SliceOfN(rapid.Uint64Range(0, 12), 1, 8).Draw(rt, "digests"), // few, so that requests overlap; 0 is no key
			Takes:   rapid.IntRange(0, 60).Draw(rt, "takes"),
			Fails:   rapid.IntRange(0, 3).Draw(rt, "fails") == 0,
		}
	})
	return rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) life {
		return life{Requests: rapid.SliceOfN(req, 1, 40).Draw(rt, "requests")}
	}), 1, 4).Draw(rt, "lives")
}

// block is what a restart finds in the log.
type block struct {
	at      time.Time
	digests []uint64
}

// pass waits in the time of a synctest bubble, which costs none.
func pass(milliseconds int) { <-time.After(time.Duration(milliseconds) * time.Millisecond) }

// history is a log with all that was answered to senders, for the checks.
type history struct {
	window     time.Duration
	mu         sync.Mutex
	log        []block
	rebuilding bool // a repeat may be stored
	repeats    uint64
	faults     []string
}

func (h *history) fault(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults = append(h.faults, fmt.Sprintf(format, args...))
}

// append is the log: durable when it returns nil.
func (h *history) append(r request, digests []uint64) error {
	pass(r.Takes)
	if r.Fails {
		return errors.New("disk")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	for _, d := range digests {
		if h.stored(d, now.Add(-h.window)) {
			h.repeats++
			if !h.rebuilding {
				h.faults = append(h.faults, fmt.Sprintf("key %d is stored again within the window", d))
			}
		}
	}
	h.log = append(h.log, block{at: now, digests: digests})
	return nil
}

// stored tells whether a key is in the log since a time. The lock is held.
func (h *history) stored(digest uint64, since time.Time) bool {
	return slices.ContainsFunc(h.log, func(b block) bool {
		return !b.at.Before(since) && slices.Contains(b.digests, digest)
	})
}

// send is what the router does with a request.
func (h *history) send(w *dedupe.Window, r request) {
	begin := time.Now()
	reservation := w.Reserve(r.Digests)
	var err error
	if slices.Contains(reservation.Outcomes(), dedupe.Free) {
		err = h.append(r, slices.Clone(reservation.Reserved()))
	}
	if err != nil {
		reservation.Release()
	} else {
		reservation.Commit()
	}
	if err := reservation.Wait(context.Background()); err != nil {
		h.fault("Wait: %v", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, outcome := range reservation.Outcomes() {
		switch {
		case outcome == dedupe.Held:
			h.faults = append(h.faults, "a key is still held after Wait")
		case outcome == dedupe.Duplicate && err == nil && !h.stored(r.Digests[i], begin.Add(-h.window-h.window/1000)):
			// Reported as stored, so it has to be: otherwise it is lost. A little longer than the window is allowed.
			h.faults = append(h.faults, fmt.Sprintf("key %d is called a duplicate and is nowhere", r.Digests[i]))
		case outcome != dedupe.Free && r.Digests[i] == dedupe.NoKey:
			h.faults = append(h.faults, "an event without a key is not free")
		}
	}
}

// run is one process: a window rebuilt from the log, then the requests, many at a
// time.
func (h *history) run(l life) {
	w := dedupe.New(dedupe.Options{Window: h.window, Rebuild: true})
	for _, b := range h.log {
		w.Load(b.at, b.digests)
	}
	w.Loaded()
	var senders sync.WaitGroup
	for _, r := range l.Requests {
		pass(r.After)
		senders.Go(func() { h.send(w, r) })
	}
	senders.Wait()
	if s := w.Stats(); s.InFlight != 0 || s.Repeats != 0 {
		h.fault("at rest: %+v", s)
	}
	// Whatever was stored and is within the window is known, and nothing else is held.
	now := time.Now()
	for d := uint64(1); d <= 12; d++ {
		within := h.stored(d, now.Add(-h.window))
		shortly := h.stored(d, now.Add(-h.window-h.window/1000))
		if got := outcome(w, d); within && got != dedupe.Duplicate || !shortly && got != dedupe.Free {
			h.fault("at rest: key %d is %v, in the log within the window: %v", d, got, within)
		}
	}
}

// TestAcceptedOnceWithinTheWindow runs concurrent overlapping requests, failures
// and restarts. A deadlock fails it too: the bubble's goroutines would all block.
func TestAcceptedOnceWithinTheWindow(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		lives := drawLives(rt)
		window := time.Duration(rapid.SampledFrom([]int{50, 500, 100_000}).Draw(rt, "window in ms")) * time.Millisecond
		h := &history{window: window}
		synctest.Test(t, func(*testing.T) {
			for _, l := range lives {
				h.run(l)
			}
		})
		if len(h.faults) > 0 {
			rt.Fatalf("%q", h.faults)
		}
	})
}

// TestRepeatsDuringARebuildAreCounted sends while the log is being read: what is
// stored twice then is exactly what Stats tells.
func TestRepeatsDuringARebuildAreCounted(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		before, during := drawLives(rt)[0], drawLives(rt)[0]
		pauses := rapid.SliceOfN(rapid.IntRange(0, 50), len(before.Requests), len(before.Requests)).Draw(rt, "pauses in ms")
		h := &history{window: time.Hour}
		var stats dedupe.Stats
		synctest.Test(t, func(*testing.T) {
			h.run(before)
			old := slices.Clone(h.log)
			h.rebuilding = true
			w := dedupe.New(dedupe.Options{Window: h.window, Rebuild: true})
			var busy sync.WaitGroup
			busy.Go(func() {
				for i, b := range old {
					pass(pauses[i])
					w.Load(b.at, b.digests)
				}
			})
			for _, r := range during.Requests {
				pass(r.After)
				busy.Go(func() { h.send(w, r) })
			}
			busy.Wait()
			w.Loaded()
			stats = w.Stats()
		})
		if stats.Repeats != h.repeats || stats.InFlight != 0 || stats.Rebuilding {
			rt.Fatalf("stats %+v, want %d repeats", stats, h.repeats)
		}
		if len(h.faults) > 0 {
			rt.Fatalf("%q", h.faults)
		}
	})
}

// TestWindowAgreesWithAList compares every step with the plainest way to say the
// same, over times, crowding, retention and loads.
func TestWindowAgreesWithAList(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		maxKeys := rapid.IntRange(1, 30).Draw(rt, "max keys")
		steps := rapid.SliceOfN(rapid.Custom(drawStep), 1, 200).Draw(rt, "steps")
		var fault string
		synctest.Test(t, func(*testing.T) { fault = compareWithList(maxKeys, steps) })
		if fault != "" {
			rt.Fatal(fault)
		}
	})
}

// step is one call; the one that is drawn decides which fields count.
type step struct {
	Pause  int // milliseconds before it
	Call   string
	Digest uint64
	Age    int // milliseconds
}

func drawStep(rt *rapid.T) step {
	return step{
		Pause:  rapid.IntRange(0, 200).Draw(rt, "pause"),
		Call:   rapid.SampledFrom([]string{"commit", "commit", "commit", "release", "load", "retain"}).Draw(rt, "call"),
		Digest: rapid.Uint64Range(1, 40).Draw(rt, "digest"),
		Age:    rapid.IntRange(0, 1500).Draw(rt, "age"),
	}
}

type listed struct {
	digest uint64
	at     time.Time
}

func compareWithList(maxKeys int, steps []step) (fault string) {
	const window = time.Second
	start := time.Now()
	w := dedupe.New(dedupe.Options{Window: window, MaxKeys: maxKeys, Rebuild: true})
	var loaded, live []listed
	var retained, lastLoad time.Time
	for n, s := range steps {
		pass(s.Pause)
		oldest := time.Now().Add(-window)
		if retained.After(oldest) {
			oldest = retained
		}
		expired := func(l listed) bool { return l.at.Before(oldest) }
		loaded, live = slices.DeleteFunc(loaded, expired), slices.DeleteFunc(live, expired)
		has := func(l listed) bool { return l.digest == s.Digest }
		known := slices.ContainsFunc(loaded, has) || slices.ContainsFunc(live, has)
		switch s.Call {
		case "commit", "release":
			r := w.Reserve([]uint64{s.Digest})
			if got := r.Outcomes()[0] == dedupe.Duplicate; got != known {
				return fmt.Sprintf("step %d %+v: duplicate %v, want %v", n, s, got, known)
			}
			if s.Call == "release" {
				r.Release()
				break
			}
			r.Commit()
			if !known {
				live = append(live, listed{s.Digest, time.Now()})
			}
		case "load": // blocks are older than the start and come in order
			at := start.Add(-time.Duration(s.Age) * time.Millisecond)
			if at.Before(lastLoad) {
				at = lastLoad
			}
			lastLoad = at
			w.Load(at, []uint64{s.Digest})
			if !at.Before(oldest) {
				loaded = append(loaded, listed{s.Digest, at})
			}
		case "retain":
			at := time.Now().Add(-time.Duration(s.Age) * time.Millisecond)
			if at.After(retained) {
				retained = at
			}
			w.Retain(at)
		}
		for len(loaded)+len(live) > maxKeys {
			if len(loaded) > 0 {
				loaded = loaded[1:]
			} else {
				live = live[1:]
			}
		}
	}
	return ""
}
