package router

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Wakes of many goroutines, which are all late while the processor stalls, teach
// the alarm what they are late in the mean, and end at the right time in the mean.
func TestAlarmIsRightInTheMean(t *testing.T) {
	for name, goroutines := range map[string]int{"one waits": 1, "many wait": 32} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const every, stall = 20 * time.Millisecond, 1500 * time.Microsecond
				begun := time.Now()
				a := &alarm{fine: func(left time.Duration) bool {
					<-time.After(left + 50*time.Microsecond)
					if into := time.Since(begun) % every; into < stall {
						<-time.After(stall - into)
					}
					return true
				}}
				const wakes = 16 * lateWakes
				var mu sync.Mutex
				var off time.Duration
				n := 0
				var all sync.WaitGroup
				for i := range goroutines {
					all.Go(func() {
						random := rand.New(rand.NewPCG(uint64(i), 2))
						for w := range wakes / goroutines {
							until := time.Now().Add(3*time.Millisecond + time.Duration(random.ExpFloat64()*float64(4*time.Millisecond)))
							a.wait(t.Context(), until)
							if w > wakes/goroutines/2 { // it has learnt by then
								mu.Lock()
								off, n = off+time.Since(until), n+1
								mu.Unlock()
							}
						}
					})
				}
				all.Wait()
				if mean := off / time.Duration(n); mean.Abs() > 25*time.Microsecond {
					t.Errorf("wakes are %s late in the mean, and it expects %s", mean, time.Duration(a.late.Load()))
				}
			})
		})
	}
}

// However late wakes are expected to be, a wait is not shortened by more than the
// bounds, and one wake does not change much.
func TestAlarmIsNotFarTooEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lateBy := time.Duration(0)
		a := &alarm{fine: func(left time.Duration) bool {
			<-time.After(left + lateBy)
			return true
		}}
		for wait, want := range map[time.Duration]time.Duration{
			time.Millisecond: 750 * time.Microsecond, 20 * time.Millisecond: 19 * time.Millisecond, 0: 0, -time.Second: 0,
		} {
			a.late.Store(int64(maxLate))
			begun := time.Now()
			a.wait(t.Context(), begun.Add(wait))
			if took := time.Since(begun); took != want {
				t.Errorf("a wait of %s took %s, want %s", wait, took, want)
			}
		}
		lateBy = time.Second
		for wait, counts := range map[time.Duration]time.Duration{time.Millisecond: 500 * time.Microsecond, time.Minute: 2 * time.Millisecond} {
			a.late.Store(0)
			a.wait(t.Context(), time.Now().Add(wait))
			if late := time.Duration(a.late.Load()); late != counts/lateWakes {
				t.Errorf("after one wake that was a second late behind %s, %s are expected", wait, late)
			}
		}
	})
}
