package shippertest

import (
	"context"

	"forebay/shipper"
)

// maxCommits bounds the sweeps over commits; no part of the suite needs more.
const maxCommits = 100

// sweep runs attempt once for each commit that can fail, from the first on,
// until no more is asked of the state.
func (t *trial) sweep(attempt func(n int) (reached bool)) {
	t.Helper()
	tried := 0
	for n := 1; n <= maxCommits; n += max(t.stride, 1) {
		if !attempt(n) {
			if tried == 0 {
				t.Fatal("nothing was committed")
			}
			t.Logf("%d commits failed, one at a time, of the first %d", tried, n-1)
			return
		}
		tried++
	}
	t.Fatalf("more than %d commits", maxCommits)
}

// failingCommit refuses one commit: the sink is called again, and goes on.
func failingCommit(t *trial) {
	t.sweep(func(n int) bool {
		l := t.begin()
		l.prepare()
		l.appendPoison()
		l.monitor.failAt(n, 1)
		l.start()
		l.settled()
		l.ship.Stop()
		l.wantDead(poisonAt...)
		l.want(span(1, 14, poisonAt...))
		return l.monitor.failed()
	})
}

// die lets the node run until the state has taken n-1 commits more, kills it
// there, and starts it again.
func (l *life) die(n int, over func() bool) (reached bool) {
	l.Helper()
	l.monitor.failAt(n, 0)
	l.start()
	l.ship.WaitFor("it has died, or all is done", func() bool { return l.monitor.failed() || over() })
	reached = l.monitor.failed()
	l.ship.Stop()
	if reached {
		l.monitor.heal()
		l.start()
	} else {
		reached = l.monitor.heal() // died while it was stopped
		l.start()
	}
	l.settled()
	return reached
}

func (l *life) over() bool {
	s := l.ship.Status()
	return s.NextSeq > l.rig.Log.DurableSeq() && s.Requeued == 0
}

func death(t *trial) {
	t.sweep(func(n int) bool {
		l := t.begin()
		l.prepare()
		l.appendPoison()
		reached := l.die(n, l.over)
		l.wantDead(poisonAt...)
		l.want(span(1, 14, poisonAt...))
		l.append(2)
		l.settled()
		l.want(span(1, 16, poisonAt...))
		return reached
	})
}

func deathInFill(t *trial) {
	t.sweep(func(n int) bool {
		l := t.begin()
		l.appendPoison()
		l.start()
		l.settled()
		l.ship.Stop()
		l.cure()
		l.requeue(len(poisonAt))
		reached := l.die(n, l.over)
		l.wantDead()
		if l.FillsRepeat {
			l.wantAtLeast(span(1, 14))
		} else {
			l.want(span(1, 14))
		}
		return reached
	})
}

// deathAfterRewind also has the destination keep what it has: what it counts
// twice then is its own affair.
func deathAfterRewind(t *trial) {
	t.sweep(func(n int) bool {
		l := t.begin()
		l.append(12)
		l.start()
		l.settled()
		l.ship.Stop()
		l.Empty()
		m, err := l.ship.Rewind(context.Background(), operator, 5)
		if err != nil {
			t.Fatal(err)
		}
		reached := l.die(n, l.over)
		l.want(span(5, 12))
		if s := l.ship.Status(); s.Epoch != m.Epoch || len(s.Skipped) > 0 || s.State == shipper.Paused {
			t.Errorf("after the restart: %+v", s)
		}
		return reached
	})
}
