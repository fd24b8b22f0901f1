package node_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"forebay/node"
	"forebay/node/admin"
	"forebay/node/config"
	"forebay/node/nodetest"
	"forebay/shipper"
	"forebay/shipper/clickhouse/clickhousetest"
	"forebay/shipper/session/receiver"
)

// destinations turns all shippers on, with a real server behind each.
func destinations(t *testing.T, c *config.Config) (*clickhousetest.Server, *receiver.Receiver) {
	t.Helper()
	server := nodetest.StartClickHouse(t)
	server.MustQuery(t, clickhousetest.PlainTable("events"))
	r, err := receiver.New(receiver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	sessions := httptest.NewServer(r)
	t.Cleanup(sessions.Close)
	all := config.Default().Shippers
	c.Shippers.ClickHouse, c.Shippers.Session = all.ClickHouse, all.Session
	c.Shippers.ClickHouse.Addrs, c.Shippers.ClickHouse.CreateTable = []string{server.Addr()}, false
	c.Shippers.ClickHouse.Flush.Age = 10 * time.Millisecond
	c.Shippers.Session.URL = sessions.URL
	return server, r
}

// settled waits until every cursor has delivered everything.
func settled(t *testing.T, n *nodetest.Node) {
	t.Helper()
	nodetest.Eventually(t, limit, func() bool {
		s := n.Status()
		for _, c := range s.Cursors {
			if c.NextSeq <= s.Log.DurableSeq {
				return false
			}
		}
		return true
	}, "everything is delivered: %+v", n.Status().Cursors)
}

// TestTrace follows an event by its key and by its seq, through a node that
// runs and one that is stopped, and events that were dropped.
func TestTrace(t *testing.T) {
	c := nodetest.Config(t)
	key := nodetest.Key(t, c)
	destinations(t, &c)
	n := nodetest.Run(t, c)
	n.Post(key, nodetest.Event("other", `,"idempotencyKey":"k0"`), nodetest.Event("other", ""))
	n.Post(key, nodetest.Event("cart-7", `,"idempotencyKey":"k1"`), nodetest.Event("cart-7", `,"idempotencyKey":"k2"`))
	n.Post(key, nodetest.Event("cart-7", `,"idempotencyKey":"k2"`)) // a repeat
	n.Post(key, nodetest.Event("cart-7", `,"idempotencyKey":"k3","metadata":{"email":"x"}`))
	settled(t, n)

	follow := func(from *admin.Client, q admin.TraceQuery) admin.Trace {
		t.Helper()
		tr, err := from.Trace(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		return tr
	}
	check := func(tr admin.Trace) {
		t.Helper()
		if !tr.Found || len(tr.Events) != 1 {
			t.Fatalf("trace: %+v", tr)
		}
		e := tr.Events[0]
		if e.Seq != 4 || e.Session != "cart-7" || e.Project != "shop" || e.EventType != "click" || e.IdempotencyKey != "k2" ||
			e.Request.FirstSeq != 3 || e.Request.Events != 2 || e.Block == nil || !strings.HasPrefix(e.Block.File, "0") {
			t.Errorf("the event: %+v, request %+v, block %+v", e, e.Request, e.Block)
		}
		if len(e.Cursors) != 3 {
			t.Fatalf("its cursors: %+v", e.Cursors)
		}
		for _, f := range e.Cursors {
			if f.State != shipper.Shipped {
				t.Errorf("at cursor %s it is %s", f.Cursor, f.State)
			}
		}
		if r := e.ClickHouse; r == nil || r.Count != 1 || len(r.Parts) != 1 || r.Error != "" {
			t.Errorf("its row: %+v", r)
		}
		if m := e.Receiver; m == nil || !m.Offered || len(m.Marks) != 1 || m.Marks[0].Seq != 4 || m.Marks[0].LogID != e.LogID {
			t.Errorf("its session at the receiver: %+v", m)
		}
	}
	bySeq, byKey := admin.TraceQuery{Seq: 4}, admin.TraceQuery{Key: "k2"}
	check(follow(n.Admin, bySeq))
	tr := follow(n.Admin, byKey)
	check(tr)
	if len(tr.Drops) != 1 || tr.Drops[0].Reason != "duplicate" {
		t.Errorf("the repeat: %+v", tr.Drops)
	}
	if tr := follow(n.Admin, admin.TraceQuery{Key: "k3"}); tr.Found || len(tr.Drops) != 1 || tr.Drops[0].Reason != "privacy" || !strings.Contains(tr.Answer, "privacy") {
		t.Errorf("an event that was dropped: %+v", tr)
	}
	for _, q := range []admin.TraceQuery{{Key: "nosuch"}, {Key: "k2", Project: "other"}, {Seq: 99}} {
		if tr := follow(n.Admin, q); tr.Found || len(tr.Drops) != 0 || tr.Answer == "" {
			t.Errorf("%+v: %+v", q, tr)
		}
	}
	if _, err := n.Admin.Trace(ctx, admin.TraceQuery{}); err == nil {
		t.Error("a trace of nothing was answered")
	}
	n.Stop()

	stopped, err := node.OpenStopped(c, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := stopped.Close(); err != nil {
			t.Error(err)
		}
	}()
	offline := admin.InProcess(stopped.Handler())
	check(follow(offline, bySeq))
	check(follow(offline, byKey))
}
