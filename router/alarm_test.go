package router

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// Wakes that are mostly a little late, and now and then by much, come at the
// right time in the mean, and none comes much too early.
func TestAlarmIsRightInTheMean(t *testing.T) {
	for name, wait := range map[string]time.Duration{"short": 1500 * time.Microsecond, "long": 20 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(1, 2))
				a := &alarm{fine: func(left time.Duration) bool {
					if left += 100 * time.Microsecond; random.IntN(10) == 0 {
						left += 2 * time.Millisecond
					}
					<-time.After(left)
					return true
				}}
				const wakes = 20_000
				var off time.Duration
				for i := range wakes {
					until := time.Now().Add(wait)
					a.wait(t.Context(), until)
					late := time.Since(until)
					if late < -wait/lateShare {
						t.Fatalf("a wait of %s was %s too short", wait, -late)
					}
					if i >= wakes/2 { // it has learnt by then
						off += late
					}
				}
				if mean := off / (wakes / 2); mean.Abs() > 20*time.Microsecond {
					t.Errorf("wakes are %s late in the mean", mean)
				}
			})
		})
	}
}
