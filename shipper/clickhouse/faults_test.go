package clickhouse

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"forebay/shipper"
	"forebay/shipper/shippertest/proxy"
)

// steps is how many places of a plan's traffic a sweep breaks.
func steps(few int64) int64 {
	if os.Getenv("FOREBAY_TORTURE") != "" {
		return 20 * few
	}
	return few
}

// throughProxy starts a rig whose cursor reaches the server through a proxy,
// and ships a first plan over it.
func throughProxy(t *testing.T, o Options) (*rig, *proxy.Proxy, Options) {
	t.Helper()
	p := proxy.Start(t, o.Addrs[0])
	o.Addrs = []string{p.Addr()}
	r := newRig(t)
	r.flush = shipper.Flush{Rows: 20, Bytes: 32 << 20, Age: time.Minute}
	r.append(20)
	r.start(o)
	r.shipped()
	return r, p, o
}

// traffic ships one more plan and returns its bytes both ways.
func traffic(r *rig, p *proxy.Proxy) (sent, received int64) {
	r.tb.Helper()
	sent, received = p.Sent(), p.Received()
	r.append(20)
	r.shipped()
	return p.Sent() - sent, p.Received() - received
}

// TestConnectionCutAnywhere cuts the connection at places all over a plan's
// traffic, in both directions: before it, in the middle of the block, after
// the server committed and before its answer.
func TestConnectionCutAnywhere(t *testing.T) {
	bothEngines(t, func(t *testing.T, o Options, server oracle, final string) {
		r, p, _ := throughProxy(t, o)
		sent, received := traffic(r, p)
		places := steps(8)
		for i := range places + 1 {
			for _, cut := range []<-chan struct{}{p.CutAfterSent(sent * i / places), p.CutAfterReceived(received * i / places)} {
				r.append(20)
				r.shipped()
				select {
				case <-cut:
				default: // fewer bytes this time: the cut is for the next plan
				}
				wantEach(t, server, final, r.log.DurableSeq())
			}
		}
		if stats := r.sink.Stats(); stats.Settled == 0 || stats.Failed == 0 {
			t.Errorf("nothing was cut: %+v", stats)
		}
	})
}

// TestServerKilledAnywhere kills the server at places all over a plan's
// traffic, and starts it again.
func TestServerKilledAnywhere(t *testing.T) {
	bothEngines(t, func(t *testing.T, o Options, server oracle, final string) {
		r, p, _ := throughProxy(t, o)
		sent, received := traffic(r, p)
		places := steps(2)
		for i := range places + 1 {
			for _, arm := range []func() <-chan struct{}{
				func() <-chan struct{} { return p.CutAfterSent(sent * i / places) },
				func() <-chan struct{} { return p.CutAfterReceived(received * i / places) },
			} {
				cut := arm()
				r.append(20)
				eventually(t, func() bool {
					select {
					case <-cut:
						return true
					default:
						return r.cursor.Next() > r.log.DurableSeq()
					}
				}, func() string { return "neither cut nor shipped" })
				if err := server.Kill(); err != nil {
					t.Fatal(err)
				}
				if err := server.Restart(); err != nil {
					t.Fatal(err)
				}
				r.shipped()
				wantEach(t, server, final, r.log.DurableSeq())
			}
		}
	})
}

// TestSilentServer: a server that says nothing counts as failed after the
// read timeout. What it is working on is waited for before it is read.
func TestSilentServer(t *testing.T) {
	bothEngines(t, func(t *testing.T, o Options, server oracle, final string) {
		o.ReadTimeout = 300 * time.Millisecond
		r, p, _ := throughProxy(t, o)
		p.Pause()
		r.append(20)
		eventually(t, func() bool { return r.cursor.Status().State == shipper.Failing }, func() string { return "not failing" })
		p.Resume()
		r.shipped()
		wantEach(t, server, final, 40)
	})
}

// TestStopWhileTheServerIsSilent: the end of the context ends a request in
// flight at once, in whatever phase it is.
func TestStopWhileTheServerIsSilent(t *testing.T) {
	bothEngines(t, func(t *testing.T, o Options, server oracle, final string) {
		o.ReadTimeout, o.DialTimeout = time.Minute, time.Minute
		r, p, own := throughProxy(t, o)
		for _, before := range []string{"an insert", "a handshake"} {
			if before == "an insert" { // of which the plan is saved first
				r.state.BeforeCommit = func([]shipper.Write) error {
					p.Pause()
					return nil
				}
			}
			sent := p.Connections()
			r.append(20)
			eventually(t, func() bool { return r.cursor.Status().Plan != nil || p.Connections() > sent }, func() string { return "nothing under way" })
			began := time.Now()
			r.stop()
			if took := time.Since(began); took > 10*time.Second {
				t.Fatalf("stopping took %s", took)
			}
			r.state.BeforeCommit = nil
			r.start(own)
		}
		p.Resume()
		r.shipped()
		wantEach(t, server, final, r.log.DurableSeq())
	})
}

// TestTokensEvicted: between an insert and its unsaved acknowledgement others
// push its token out of the table's window.
func TestTokensEvicted(t *testing.T) {
	engine, o := startEngine(t)
	r := newRig(t)
	r.append(20)
	r.start(o)
	r.shipped()
	engine.MustQuery(t, "ALTER TABLE events MODIFY SETTING non_replicated_deduplication_window = 2")
	for range 3 {
		var reached atomic.Bool
		r.state.BeforeCommit = denyAdvance(&reached)
		r.append(20)
		eventually(t, reached.Load, func() string { return "not inserted" })
		r.die()
		r.state.BeforeCommit = nil
		for i := range 5 {
			engine.MustQuery(t, fmt.Sprintf("INSERT INTO events SETTINGS insert_deduplication_token = 'other%d' SELECT * REPLACE ('other%d' AS log_id) FROM events WHERE log_id NOT LIKE 'other%%'", i, i))
		}
		engine.MustQuery(t, "ALTER TABLE events DELETE WHERE log_id LIKE 'other%' SETTINGS mutations_sync = 2")
		r.start(o)
		r.shipped()
		wantEach(t, engine, "", r.log.DurableSeq())
	}
}

// TestTwoNodesOfOneName: logs tell nodes apart, names need not.
func TestTwoNodesOfOneName(t *testing.T) {
	bothEngines(t, func(t *testing.T, o Options, server oracle, final string) {
		a, b := newRig(t), newRig(t)
		for _, r := range []*rig{a, b} {
			r.append(100)
			r.start(o)
		}
		a.shipped()
		b.shipped()
		got := server.MustQuery(t, "SELECT count(), uniqExact(log_id, seq), uniqExact(node_id) FROM events "+final)
		if got != "200\t200\t1" {
			t.Errorf("rows, distinct, nodes: %q", got)
		}
	})
}
