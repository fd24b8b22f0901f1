package router

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"forebay/wal/seedtest"
)

// However late wakes are, as many held replies take longer than stored ones as take
// less long: on a processor that is at rest, that wakes all a little late, and that
// stalls, which makes a few wakes late by much and all others by nothing.
func TestHeldRepliesAreEvenlyEarlyAndLate(t *testing.T) {
	// Seventy-two areas had a mean of 0.505 and a standard deviation of 0.007, so chance alone leaves the promise of
	// WIRE.md less than once in a million.
	const every, stall = 20 * time.Millisecond, 4 * time.Millisecond
	processors := map[string]func(begun time.Time){
		"at rest": func(time.Time) {},
		"slow":    func(time.Time) { <-time.After(400 * time.Microsecond) },
		"stalling": func(begun time.Time) {
			if into := time.Since(begun) % every; into < stall {
				<-time.After(stall - into)
			}
		},
	}
	for name, late := range processors {
		for _, senders := range []int{1, 32} {
			t.Run(fmt.Sprintf("%s, %d senders", name, senders), func(t *testing.T) {
				draw := seedtest.New(t)
				synctest.Test(t, func(t *testing.T) {
					const replies = 24_000
					begun := time.Now()
					h := newHolding(defaultMaxHold)
					h.alarm.fine = func(left time.Duration) bool {
						<-time.After(left)
						late(begun)
						return true
					}
					var mu sync.Mutex
					var stored, refused []time.Duration
					store := func() { // most take little, a few take long
						took := 500*time.Microsecond + time.Duration(draw.ExpFloat64()*float64(2*time.Millisecond))
						h.stored(span{read: time.Now().Add(-took)})
						mu.Lock()
						defer mu.Unlock()
						stored = append(stored, took)
					}
					for range 1000 {
						store()
					}
					var all sync.WaitGroup
					for range senders {
						all.Go(func() {
							for i := range replies / senders {
								store()
								read := time.Now()
								h.refused(t.Context(), span{read: read})
								if i > replies/senders/4 { // it has learnt by then
									mu.Lock()
									refused = append(refused, time.Since(read))
									mu.Unlock()
								}
								<-time.After(time.Duration(draw.IntN(300)) * time.Microsecond) // out of step with the stalls
							}
						})
					}
					all.Wait()
					if got := areaUnderCurve(stored, refused); got < leastArea || got > mostArea {
						t.Errorf("a threshold separates them with an area of %.3f; they are set earlier by %s", got, time.Duration(h.early.Load()))
					}
				})
			})
		}
	}
}

// However late wakes are, a hold is shortened by a millisecond and a quarter at
// most; one reply changes little; and nothing is learnt from one that was not held,
// whose sender has left, or that is compared with a time that it could not meet.
func TestHoldsAreNotMuchTooEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const long, short = 20 * time.Millisecond, 2 * time.Millisecond
		late := time.Duration(0)
		h := newHolding(defaultMaxHold)
		h.alarm.fine = func(left time.Duration) bool {
			<-time.After(left + late)
			return true
		}
		store := func(class int, took time.Duration) {
			for range fewTimes {
				h.stored(span{read: time.Now().Add(-took), class: class})
			}
		}
		store(0, short)
		store(5, long)
		answer := func(ctx context.Context, class int, own time.Duration) time.Duration {
			begun := time.Now()
			h.refused(ctx, span{read: begun.Add(-own), class: class})
			return time.Since(begun)
		}
		learnt := func(what string, atLeast, atMost time.Duration) {
			if got := time.Duration(h.early.Load()); got < atLeast || got > atMost {
				t.Errorf("after %s long holds are set earlier by %s", what, got)
			}
		}

		late = time.Minute
		answer(t.Context(), 5, 0)
		learnt("one late wake", 1, long/100)
		for range 1000 {
			answer(t.Context(), 5, 0)
		}
		learnt("many", maxEarly, maxEarly+long/100)
		late = 0
		if took := answer(t.Context(), 5, 0); took < long-maxEarly-long/100 || took > long-maxEarly {
			t.Errorf("a hold of %s took %s", long, took)
		}
		if took := answer(t.Context(), 0, 0); took < short-short/4-short/100 || took > short-short/4+short/100 {
			t.Errorf("a hold of %s took %s", short, took)
		}

		h.early.Store(0)
		late = time.Minute
		if took := answer(t.Context(), 5, long); took != 0 {
			t.Errorf("a reply whose time had passed took %s", took)
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		answer(gone, 5, 0)
		learnt("replies that were not held to their end", 0, 0)
		for i := range 2 * keptTimes { // half of them are below the request's own time
			h.stored(span{read: time.Now().Add(-time.Duration(1+i%2*999) * time.Millisecond), class: 3})
		}
		late = 0
		for range 1000 {
			answer(t.Context(), 3, 2*time.Millisecond)
		}
		learnt("replies on time to requests that took long themselves", 0, 0)

		h.early.Store(int64(-maxEarly))
		store(7, time.Minute)
		if took := answer(t.Context(), 7, 0); took != defaultMaxHold {
			t.Errorf("a hold that is to be lengthened took %s, over the limit of %s", took, defaultMaxHold)
		}
	})
}
