package clickhouse

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"forebay/shipper"
	"forebay/shipper/clickhouse/clickhousetest"
	"forebay/shipper/columns"
)

// runReplays runs replays beside the rig's live cursor, into the table that
// the destination names, in batches of at most 20 rows.
func (r *rig) runReplays(o Options) (*shipper.Replays, func()) {
	r.tb.Helper()
	replays, err := shipper.NewReplays(r.cursors, shipper.ReplayOptions{
		Open: func(d shipper.Destination) (shipper.Sink, shipper.Flush, error) {
			o := o
			o.NodeID, o.Table = "edge-1", d.Table
			sink, err := New(o)
			return sink, shipper.Flush{Rows: 20, Bytes: 1 << 20}, err
		},
		Live:   func(shipper.Destination) string { return "clickhouse" },
		TypeOf: columns.EventType,
	})
	if err != nil {
		r.tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { replays.Run(ctx) })
	stop := sync.OnceFunc(func() { cancel(); running.Wait() })
	r.tb.Cleanup(stop)
	return replays, stop
}

// replay begins one as soon as they run.
func (r *rig) replay(replays *shipper.Replays, spec shipper.ReplaySpec) (begun shipper.Replay) {
	r.tb.Helper()
	var err error
	eventually(r.tb, func() bool {
		begun, err = replays.Start(shipper.Command{By: "ann"}, spec)
		return err == nil
	}, func() string { return fmt.Sprint("not begun: ", err) })
	return begun
}

// replayed waits until it has come to its end.
func (r *rig) replayed(replays *shipper.Replays, name string) (now shipper.Replay) {
	r.tb.Helper()
	var err error
	eventually(r.tb, func() bool {
		now, err = replays.Get(name)
		return err == nil && now.State == shipper.Done
	}, func() string { return fmt.Sprintf("not done: %+v, %v", now, err) })
	return now
}

// TestReplayLeavesEachEventOnce goes into the live table, in which what comes
// again merges away, and into another one, which then has what was selected,
// each once; the live cursor keeps its place and its epoch.
func TestReplayLeavesEachEventOnce(t *testing.T) {
	bothEngines(t, func(t *testing.T, o Options, server oracle, final string) {
		if !o.CreateTable {
			server.MustQuery(t, clickhousetest.PlainTable("other"))
		}
		r := newRig(t)
		r.append(350)
		r.start(o)
		r.shipped()
		before := r.cursor.Status()
		replays, _ := r.runReplays(o)
		same := r.replay(replays, shipper.ReplaySpec{Destination: shipper.Destination{Into: "clickhouse", Table: "events"}, First: 101})
		other := r.replay(replays, shipper.ReplaySpec{
			Destination: shipper.Destination{Into: "clickhouse", Table: "other"},
			Filter:      shipper.Filter{Sessions: []string{"s1", "s2"}, Types: []string{"click"}},
		})
		r.append(10) // lives on beside
		if now := r.replayed(replays, same.Name); now.Delivered != 250 {
			t.Errorf("into the live table: %+v", now)
		}
		if now := r.replayed(replays, other.Name); now.Delivered != 100 {
			t.Errorf("into another table: %+v", now)
		}
		r.shipped()
		wantEach(t, server, "FINAL", 360)
		rows := server.MustQuery(t, "SELECT count(), uniqExact(seq), min(seq % 7), max(seq % 7), max(seq) FROM other "+final)
		if rows != "100\t100\t1\t2\t345" {
			t.Errorf("the other table has %q", rows)
		}
		if s := r.cursor.Status(); s.Epoch != before.Epoch || s.ReplayTo != 0 || s.Account.Imbalance != 0 || s.LastError != "" {
			t.Errorf("the live cursor has noticed: %+v", s)
		}
	})
}

// TestReplayDiesAtEachCommit kills the node at every commit of a replay: each
// event that is selected is there once, without FINAL where there are tokens,
// and no other.
func TestReplayDiesAtEachCommit(t *testing.T) {
	bothEngines(t, func(t *testing.T, o Options, server oracle, final string) {
		r := newRig(t)
		r.append(200)
		r.start(o)
		r.shipped()
		var mu sync.Mutex
		left, died := -1, false // commits until one fails; negative: none does
		arm := func(commits int) {
			mu.Lock()
			defer mu.Unlock()
			left, died = commits, false
		}
		dead := func() bool { mu.Lock(); defer mu.Unlock(); return died }
		r.stop()
		r.state.BeforeCommit = func([]shipper.Write) error {
			mu.Lock()
			defer mu.Unlock()
			if left > 0 {
				left--
			}
			if died = died || left == 0; died {
				return errDead
			}
			return nil
		}
		for n, reached := 1, true; reached; n++ {
			table := fmt.Sprint("replayed_", n)
			if !o.CreateTable {
				server.MustQuery(t, clickhousetest.PlainTable(table))
			}
			r.start(o)
			replays, stop := r.runReplays(o)
			begun := r.replay(replays, shipper.ReplaySpec{
				Destination: shipper.Destination{Into: "clickhouse", Table: table},
				Filter:      shipper.Filter{Sessions: []string{"s1", "s3"}}, Last: 150, Rate: 1000,
			})
			arm(n)
			eventually(t, func() bool {
				now, err := replays.Get(begun.Name)
				return dead() || err == nil && now.Over()
			}, func() string { return "it neither died nor ended" })
			stop()
			r.stop()
			reached = dead()
			arm(-1)
			r.start(o)
			replays, stop = r.runReplays(o)
			if now := r.replayed(replays, begun.Name); now.Delivered != 44 {
				t.Fatalf("commit %d: %+v", n, now)
			}
			stop()
			r.stop()
			rows := server.MustQuery(t, "SELECT count(), uniqExact(seq), sum(seq % 7 = 1 OR seq % 7 = 3), max(seq) FROM "+table+" "+final)
			if rows != "44\t44\t44\t150" {
				t.Fatalf("commit %d: the table has %q", n, rows)
			}
		}
	})
}
