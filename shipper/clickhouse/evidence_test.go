package clickhouse

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestStartIsTold has plans around the start of a server that tells its age in
// whole seconds: whether it was started after a plan decides if its tokens can
// be relied on, also in its first second.
func TestStartIsTold(t *testing.T) {
	for _, c := range []struct {
		name       string
		plan, look time.Duration // after the start
		again      time.Duration // when it is started again; 0: never
		before     bool          // it was started before the plan
	}{
		{"in the first second", 300 * time.Millisecond, 700 * time.Millisecond, 0, true},
		{"right at a change of its age", 300 * time.Millisecond, time.Second, 0, true},
		{"in the first second, seen later", 300 * time.Millisecond, 90*time.Second + 900*time.Millisecond, 0, true},
		{"long before", time.Hour, time.Hour + time.Second/2, 0, true},
		{"after the plan", -300 * time.Millisecond, 700 * time.Millisecond, 0, false},
		{"right after the plan", 0, 700 * time.Millisecond, 0, false},
		{"again, while asked", 300 * time.Millisecond, 700 * time.Millisecond, 900 * time.Millisecond, false},
		{"again, at last", time.Second, 10 * time.Second, 9 * time.Second, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now().Add(time.Hour)
				time.Sleep(time.Until(start.Add(c.look)))
				asked := 0
				ask := func(context.Context) (time.Time, error) {
					asked++
					now, from := time.Now(), start
					if c.again > 0 && !now.Before(start.Add(c.again)) {
						from = start.Add(c.again)
					}
					return now.Add(-now.Sub(from).Truncate(time.Second)), nil
				}
				plan := start.Add(c.plan)
				first, _ := ask(t.Context())
				started, err := closer(t.Context(), first, plan, ask)
				if err != nil || started.Before(plan) != c.before {
					t.Errorf("started by %v of the plan, %v; want before: %v", started.Sub(plan), err, c.before)
				}
				if asked > 110 {
					t.Errorf("asked %d times", asked)
				}
			})
		})
	}
}
