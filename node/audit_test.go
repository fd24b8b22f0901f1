package node_test

import (
	"strings"
	"testing"
	"time"

	"forebay/node"
	"forebay/node/admin"
	"forebay/node/nodetest"
	"forebay/shipper"
)

// audited runs an audit to its end.
func audited(t *testing.T, c *admin.Client, req admin.AuditRequest) shipper.AuditReport {
	t.Helper()
	r, err := c.StartAudit(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	nodetest.Eventually(t, limit, func() bool {
		s, err := c.Audit(ctx)
		if err != nil {
			t.Fatal(err)
		}
		r = *s.Audit
		return r.State != shipper.AuditRunning
	}, "the audit ends")
	return r
}

// TestAudit proves what a node has delivered, to both destinations, while it
// runs and when it is stopped. Its watch sees rows go and come back, and the
// check and the metrics say so.
func TestAudit(t *testing.T) {
	c := nodetest.Config(t)
	c.Audit.Every = time.Second
	key := nodetest.Key(t, c)
	server, _ := destinations(t, &c)
	n := nodetest.Run(t, c)
	for range 10 {
		n.Post(key, nodetest.Event("a", ""), nodetest.Event("b", ""))
	}
	settled(t, n)
	is := func(what string, ok bool, proven, holes float64) {
		t.Helper()
		nodetest.Eventually(t, limit, func() bool {
			m := n.Metrics()
			return m[`forebay_audit_proven_seq{cursor="clickhouse"}`] == proven && m[`forebay_audit_holes{cursor="clickhouse"}`] == holes &&
				m[`forebay_audit_proven_seq{cursor="session"}`] == 20 && m[`forebay_audit_holes{cursor="session"}`] == 0 &&
				m[`forebay_audit_proven_timestamp_seconds{cursor="clickhouse"}`] > float64(time.Now().Add(-time.Minute).Unix()) &&
				(m[`forebay_check_ok{check="proven"}`] == 1) == ok && m["forebay_ready"] == 1
		}, "%s; the checks are %+v", what, n.Status().Checks)
	}
	is("all is proven", true, 20, 0)
	for _, cursor := range []string{"clickhouse", "session"} {
		if r := audited(t, n.Admin, admin.AuditRequest{Cursor: cursor}); r.State != shipper.AuditDone || r.Compared != 20 || r.Missing != 0 {
			t.Errorf("audit of %s: %+v", cursor, r)
		}
	}
	server.MustQuery(t, "ALTER TABLE events DELETE WHERE seq = 7")
	is("a row is missed", false, 6, 1)
	for _, check := range n.Status().Checks {
		if check.Name == "proven" && (!strings.Contains(check.Reason, "seq 7") || !strings.Contains(check.Remedy, "--fill") || check.Since.IsZero()) {
			t.Errorf("the check: %+v", check)
		}
	}
	if r := audited(t, n.Admin, admin.AuditRequest{Cursor: "clickhouse", Fill: true, From: 5, ToTime: time.Now().Add(time.Minute)}); r.Healed != 1 || r.Missing != 0 || r.Compared != 16 {
		t.Errorf("the row is filled in: %+v", r)
	}
	is("all is proven again", true, 20, 0)
	for _, req := range []admin.AuditRequest{{Cursor: "archive"}, {Cursor: "session", Fill: true}, {Resume: true}, {Resume: true, Fill: true}, {Cursor: "clickhouse", To: 99}} {
		if _, err := n.Admin.StartAudit(ctx, req); err == nil {
			t.Errorf("%+v was not refused", req)
		}
	}
	n.Stop()

	server.MustQuery(t, "ALTER TABLE events DELETE WHERE seq = 9")
	nodetest.Eventually(t, limit, func() bool { return server.MustQuery(t, "SELECT uniqExact(seq) FROM events") == "19" }, "the row is deleted")
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
	if r := audited(t, offline, admin.AuditRequest{Cursor: "clickhouse", Fill: true}); r.State != shipper.AuditDone || r.Compared != 20 || r.Healed != 1 {
		t.Errorf("audit of a stopped node: %+v", r)
	}
}

// TestStoppedAuditIsInTheTrail, for good; a stop that is refused is not.
func TestStoppedAuditIsInTheTrail(t *testing.T) {
	c := nodetest.Config(t)
	key := nodetest.Key(t, c)
	_, hold := sessions(t, &c)
	n := nodetest.Run(t, c)
	n.Post(key, nodetest.Event("a", ""), nodetest.Event("b", ""))
	settled(t, n)
	ann := admin.Command{By: "ann", Why: "the disk is busy"}
	if r, err := n.Admin.StopAudit(ctx, ann); err == nil {
		t.Errorf("stop of nothing: %+v", r)
	}
	release := hold()
	defer func() { release() }()
	if _, err := n.Admin.StartAudit(ctx, admin.AuditRequest{Cursor: "session"}); err != nil {
		t.Fatal(err)
	}
	if r, err := n.Admin.StopAudit(ctx, ann); err != nil || r.State != shipper.AuditStopped {
		t.Fatalf("stopped: %+v, %v", r, err)
	}
	release()
	release = func() {}
	for range 2 { // the second time after a restart
		var trail []shipper.TrailEntry
		if err := n.Admin.AuditLog(ctx, func(e shipper.TrailEntry) error { trail = append(trail, e); return nil }); err != nil {
			t.Fatal(err)
		}
		if len(trail) != 1 {
			t.Fatalf("the trail: %+v", trail)
		}
		if e := trail[0]; e.Verb != "stop audit" || e.Cursor != "session" || e.By != ann.By || e.Why != ann.Why || e.At.IsZero() || string(e.After) != `{"first":1,"last":2}` {
			t.Errorf("the entry: %+v, after %s", e, e.After)
		}
		n.Stop()
		n = nodetest.Run(t, c)
	}
}
