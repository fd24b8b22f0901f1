package router

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// However late wakes are, as many held replies take longer than stored ones as take
// less long: on a processor that is at rest, that wakes all a little late, and that
// stalls, which makes a few wakes late by much and all others by nothing.
func TestHeldRepliesAreEvenlyEarlyAndLate(t *testing.T) {
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
						took := 500*time.Microsecond + time.Duration(rand.ExpFloat64()*float64(2*time.Millisecond))
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
								<-time.After(time.Duration(rand.N(300)) * time.Microsecond) // out of step with the stalls
							}
						})
					}
					all.Wait()
					if got := areaUnderCurve(stored, refused); got < 0.475 || got > 0.525 {
						t.Errorf("a threshold separates them with an area of %.3f; they are set earlier by %s", got, time.Duration(h.early[0][0].Load()))
					}
				})
			})
		}
	}
}

// A hold is shortened by a quarter at most, whatever has been learnt; one reply
// changes little, and nothing is learnt from one whose sender has left.
func TestHoldsAreNotMuchTooEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const hold = 20 * time.Millisecond
		late := time.Duration(0)
		h := newHolding(defaultMaxHold)
		h.alarm.fine = func(left time.Duration) bool {
			<-time.After(left + late)
			return true
		}
		for range fewTimes {
			h.stored(span{read: time.Now().Add(-hold)})
		}
		early := &h.early[0][0]
		answer := func(read time.Time) time.Duration {
			begun := time.Now()
			h.refused(t.Context(), span{read: read})
			return time.Since(begun)
		}

		early.Store(int64(time.Second))
		if took := answer(time.Now()); took != hold-hold/4 {
			t.Errorf("a hold of %s took %s", hold, took)
		}
		early.Store(0)
		if took := answer(time.Now().Add(-hold)); took != 0 || early.Load() != 0 {
			t.Errorf("a reply whose time had passed took %s, and taught %s", took, time.Duration(early.Load()))
		}
		late = time.Minute
		answer(time.Now())
		if got := time.Duration(early.Load()); got <= 0 || got > hold/100 {
			t.Errorf("one wake a minute late sets the next replies earlier by %s", got)
		}
		for range 1000 {
			answer(time.Now())
		}
		if got := time.Duration(early.Load()); got > maxEarly {
			t.Errorf("after many of them it is %s", got)
		}
		if other := h.early[5][0].Load(); other != 0 {
			t.Errorf("another size has learnt %d", other)
		}
	})
}
