package clickhouse

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"forebay/shipper"
)

// refuseRows makes the table refuse some seqs, in the way that each engine has.
func refuseRows(t *testing.T, o Options, server oracle, condition string) {
	t.Helper()
	if o.CreateTable {
		server.MustQuery(t, "ALTER TABLE events ADD CONSTRAINT fine CHECK NOT ("+condition+")")
	} else {
		server.MustQuery(t, "ALTER TABLE events ADD COLUMN refuse UInt8 MATERIALIZED throwIf("+condition+")")
	}
}

func (r *rig) dead() []uint64 {
	r.tb.Helper()
	var seqs []uint64
	err := r.cursor.Dead(shipper.DeadFilter{}, func(d shipper.DeadLetter) error {
		seqs = append(seqs, d.Seq)
		return nil
	})
	if err != nil {
		r.tb.Fatal(err)
	}
	return seqs
}

func TestBadRowsGoToTheDeadLettersAlone(t *testing.T) {
	bothEngines(t, func(t *testing.T, o Options, server oracle, _ string) {
		r := newRig(t)
		r.append(10)
		r.start(o)
		r.shipped()
		refuseRows(t, o, server, "seq IN (15, 16, 200, 1010)")
		r.append(1000)
		r.shipped()
		if got, want := r.dead(), []uint64{15, 16, 200, 1010}; !slices.Equal(got, want) {
			t.Errorf("dead letters %v, want %v", got, want)
		}
		if got := server.MustQuery(t, "SELECT count(), uniqExact(seq) FROM events"); got != "1006\t1006" {
			t.Errorf("rows, distinct: %q", got)
		}
	})
}

// TestNodeDiesWhileSifting kills the node at every commit on the way through
// a batch with two rows that the server refuses.
func TestNodeDiesWhileSifting(t *testing.T) {
	bothEngines(t, func(t *testing.T, o Options, server oracle, final string) {
		r := newRig(t)
		r.flush.Age = 100_000_000
		r.append(20)
		r.start(o)
		r.shipped()
		r.stop()
		refuseRows(t, o, server, "seq > 20 AND seq % 20 IN (3, 12)")
		total := uint64(20)
		var want []uint64
		for n, done := int64(1), false; !done; n++ {
			r.append(20)
			want = append(want, total+3, total+12)
			total += 20
			var commits atomic.Int64
			died := make(chan struct{})
			r.state.BeforeCommit = func([]shipper.Write) error {
				if at := commits.Add(1); at == n+1 {
					close(died)
				} else if at <= n {
					return nil
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
			}, func() string { return fmt.Sprintf("neither dead nor done: %+v", r.cursor.Status()) })
			r.die()
			r.state.BeforeCommit = nil
			r.start(o)
			r.shipped()
			if got := r.dead(); !slices.Equal(got, want) {
				t.Fatalf("killed after commit %d: dead letters %v, want %v", n, got, want)
			}
			r.stop()
			rows := fmt.Sprintf("%d\t%d", total-uint64(len(want)), total-uint64(len(want)))
			if got := server.MustQuery(t, "SELECT count(), uniqExact(seq) FROM events "+final); got != rows {
				t.Fatalf("killed after commit %d: rows, distinct %q, want %q", n, got, rows)
			}
		}
	})
}

// TestRequeuedLetters: once the table takes them, requeued letters land, and
// leave the dead letters.
func TestRequeuedLetters(t *testing.T) {
	bothEngines(t, func(t *testing.T, o Options, server oracle, _ string) {
		r := newRig(t)
		r.append(10)
		r.start(o)
		r.shipped()
		refuseRows(t, o, server, "seq IN (12, 17)")
		r.append(10)
		r.shipped()
		if got := r.dead(); !slices.Equal(got, []uint64{12, 17}) {
			t.Fatalf("dead letters %v", got)
		}
		requeue := func() {
			if n, err := r.cursor.Requeue(shipper.Command{}, shipper.DeadFilter{}); n != 2 || err != nil {
				t.Fatalf("requeued %d: %v", n, err)
			}
		}
		requeue()
		eventually(t, func() bool {
			tried := 0
			err := r.cursor.Dead(shipper.DeadFilter{}, func(d shipper.DeadLetter) error {
				if !d.Requeued && d.Attempts > 1 {
					tried++
				}
				return nil
			})
			return err == nil && tried == 2
		}, func() string { return "requeued letters were not refused again" })
		if o.CreateTable {
			server.MustQuery(t, "ALTER TABLE events DROP CONSTRAINT fine")
		} else {
			server.MustQuery(t, "ALTER TABLE events DROP COLUMN refuse")
		}
		requeue()
		eventually(t, func() bool { return len(r.dead()) == 0 }, func() string { return fmt.Sprint("still dead: ", r.dead()) })
		wantEach(t, server, "", 20)
	})
}

// TestNodeDiesWhileFilling kills the node at every commit on the way through
// a round of requeued letters.
func TestNodeDiesWhileFilling(t *testing.T) {
	bothEngines(t, func(t *testing.T, o Options, server oracle, final string) {
		r := newRig(t)
		r.append(10)
		r.start(o)
		r.shipped()
		refuse, allow := "ADD COLUMN refuse UInt8 MATERIALIZED throwIf(seq % 10 IN (3, 7))", "DROP COLUMN refuse"
		if o.CreateTable {
			refuse, allow = "ADD CONSTRAINT fine CHECK seq % 10 NOT IN (3, 7) OR seq < 10", "DROP CONSTRAINT fine"
		}
		for n, done := int64(1), false; !done; n++ {
			server.MustQuery(t, "ALTER TABLE events "+refuse)
			r.append(10)
			r.start(o)
			r.shipped()
			if got := len(r.dead()); got != 2 {
				t.Fatalf("%d dead letters, want 2", got)
			}
			server.MustQuery(t, "ALTER TABLE events "+allow)
			var commits atomic.Int64
			died := make(chan struct{})
			r.state.BeforeCommit = func([]shipper.Write) error {
				if at := commits.Add(1); at == n+2 {
					close(died)
				} else if at <= n+1 { // the first is the requeue itself
					return nil
				}
				return errDead
			}
			if _, err := r.cursor.Requeue(shipper.Command{}, shipper.DeadFilter{}); err != nil {
				t.Fatal(err)
			}
			eventually(t, func() bool {
				select {
				case <-died:
					return true
				default:
					done = len(r.dead()) == 0
					return done
				}
			}, func() string { return fmt.Sprintf("neither dead nor done: %+v", r.cursor.Status()) })
			r.die()
			r.state.BeforeCommit = nil
			r.start(o)
			eventually(t, func() bool { return len(r.dead()) == 0 }, func() string { return fmt.Sprint("still dead: ", r.dead()) })
			r.stop()
			wantEach(t, server, final, r.log.DurableSeq())
		}
	})
}
