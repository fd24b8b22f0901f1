package clickhouse

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"forebay/shipper"
)

// bothEngines runs a test against both engines side by side. Without tokens a
// row may be there twice until it merges away, so it is read with FINAL.
func bothEngines(t *testing.T, test func(t *testing.T, o Options, server oracle, final string)) {
	eachEngine(t, func(t *testing.T, o Options, server oracle, final string) {
		t.Parallel()
		test(t, o, server, final)
	})
}

// eachEngine is bothEngines one after the other.
func eachEngine(t *testing.T, test func(t *testing.T, o Options, server oracle, final string)) {
	t.Run("18.16 native", func(t *testing.T) {
		server, o := startOld(t)
		test(t, o, server, "FINAL")
	})
	t.Run("current http", func(t *testing.T) {
		engine, o := startEngine(t)
		test(t, o, engine, "")
	})
}

// TestNodeDiesAtEachCommit kills the node right before and right after every
// commit that it makes on the way through three batches.
func TestNodeDiesAtEachCommit(t *testing.T) {
	bothEngines(t, func(t *testing.T, o Options, server oracle, final string) {
		r := newRig(t)
		r.flush.Rows = 10
		r.start(o) // creates the cursor
		r.stop()
		total := uint64(0)
		for n, done := int64(1), false; !done; n++ {
			for _, applied := range []bool{false, true} {
				r.append(30)
				total += 30
				var commits atomic.Int64
				died := make(chan struct{})
				r.state.BeforeCommit = func(writes []shipper.Write) error {
					switch at := commits.Add(1); {
					case at < n || at == n && applied:
						return nil
					case at == n || at == n+1 && applied:
						close(died)
					}
					return errDead
				}
				r.start(o)
				eventually(t, func() bool {
					select {
					case <-died:
						return true
					default:
						done = r.cursor.Next() > total
						return done
					}
				}, func() string { return "neither dead nor done" })
				r.die()
				r.state.BeforeCommit = nil
				r.start(o)
				r.shipped()
				r.stop()
				wantEach(t, server, final, total)
			}
		}
	})
}

// denyAdvance kills the node as it is about to move the cursor.
func denyAdvance(reached *atomic.Bool) func([]shipper.Write) error {
	return func(writes []shipper.Write) error {
		for _, w := range writes {
			if strings.HasPrefix(w.Key, "cursor/") {
				reached.Store(true)
			}
		}
		if reached.Load() {
			return errDead
		}
		return nil
	}
}

// TestTokenWithoutRows has the server remember a token whose rows it lost, as
// after a kill between the two: it then acknowledges the repeat and stores
// nothing.
func TestTokenWithoutRows(t *testing.T) {
	engine, o := startEngine(t)
	r := newRig(t)
	r.flush = shipper.Flush{Rows: 500, Bytes: 32 << 20, Age: time.Minute}
	r.append(500)
	r.start(o)
	r.shipped()
	var reached atomic.Bool
	r.state.BeforeCommit = denyAdvance(&reached)
	r.append(500)
	eventually(t, reached.Load, func() string { return "not inserted" })
	r.die()
	r.state.BeforeCommit = nil
	wantEach(t, engine, "", 1000)
	engine.MustQuery(t, "ALTER TABLE events DELETE WHERE seq > 500 SETTINGS mutations_sync = 2")
	wantEach(t, engine, "", 500)

	r.start(o)
	r.shipped()
	wantEach(t, engine, "", 1000)
	if got := r.sink.Stats(); got.Repaired != 1000 {
		t.Errorf("repaired %d rows, want 500 swallowed by the old token and 500 under a new one", got.Repaired)
	}
}
