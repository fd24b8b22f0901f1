package clickhouse

import (
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"forebay/shipper"
)

// audits proves what the rig's cursor has inserted with servers by o.
func (r *rig) audits(o Options) *shipper.Audits {
	r.tb.Helper()
	a, err := shipper.NewAudits(shipper.AuditOptions{Cursors: r.cursors, Open: func(string) (shipper.AuditTarget, error) {
		prover, err := NewProver(o)
		if err != nil {
			return shipper.AuditTarget{}, err
		}
		healer, err := New(o)
		return shipper.AuditTarget{Prover: prover, Healer: healer, Flush: r.flush, Close: prover.Close}, err
	}})
	if err != nil {
		r.tb.Fatal(err)
	}
	r.tb.Cleanup(a.Close)
	return a
}

// audited runs an audit to its end.
func audited(tb testing.TB, a *shipper.Audits, r shipper.AuditRequest) shipper.AuditReport {
	tb.Helper()
	report, err := a.Start(shipper.Command{By: "ann"}, r)
	if err != nil {
		tb.Fatal(err)
	}
	eventually(tb, func() bool {
		report, _ = a.Report()
		return report.State != shipper.AuditRunning
	}, func() string { return fmt.Sprintf("the audit runs on: %+v", report) })
	return report
}

func one(first, last uint64) shipper.Range { return shipper.Range{First: first, Last: last} }

// TestAuditNamesAndHeals deletes rows, doubles rows and drops the partition by
// hand: the audit names exactly those, and brings the missing ones back, each
// once, while the cursor goes on.
func TestAuditNamesAndHeals(t *testing.T) {
	bothEngines(t, func(t *testing.T, o Options, server oracle, _ string) {
		r := newRig(t)
		r.start(o)
		r.append(300)
		r.shipped()
		r.append(100)
		r.shipped()
		a := r.audits(o)
		all := shipper.AuditRequest{Cursor: r.cursor.Name()}
		if got := audited(t, a, all); got.State != shipper.AuditDone || got.Compared != 400 || got.Missing+got.Doubles > 0 || got.Next != 401 {
			t.Fatalf("all is there: %+v", got)
		}

		server.MustQuery(t, "ALTER TABLE events DELETE WHERE seq = 17 OR seq >= 290 AND seq <= 310")
		eventually(t, func() bool { return server.MustQuery(t, "SELECT count() FROM events") == "378" }, func() string { return "not deleted" })
		server.MustQuery(t, "SYSTEM STOP MERGES events")
		server.MustQuery(t, "INSERT INTO events SELECT * FROM events WHERE seq = 5 OR seq >= 30 AND seq <= 33")
		const key = "project_id, event_type, timestamp, received_at, log_id, seq"
		server.MustQuery(t, "INSERT INTO events (session_id, "+key+") SELECT 'other', "+key+" FROM events WHERE seq = 40")
		wrong := audited(t, a, all)
		if want := []shipper.Range{one(17, 17), one(290, 310)}; wrong.Missing != 22 || !reflect.DeepEqual(wrong.Holes, want) {
			t.Errorf("missing: %d, %v, want %v", wrong.Missing, wrong.Holes, want)
		}
		if want := []shipper.Range{one(5, 5), one(30, 33), one(40, 40)}; wrong.Doubles != 6 || !reflect.DeepEqual(wrong.Double, want) {
			t.Errorf("double: %d, %v, want %v", wrong.Doubles, wrong.Double, want)
		}
		if want := []shipper.Range{one(40, 40)}; wrong.Lasting != 1 || !reflect.DeepEqual(wrong.Lasts, want) {
			t.Errorf("double for good: %d, %v, want %v", wrong.Lasting, wrong.Lasts, want)
		}
		if got := audited(t, a, shipper.AuditRequest{Cursor: all.Cursor, From: 18, To: 300}); got.Missing != 11 || got.Compared != 283 {
			t.Errorf("seqs 18 to 300: %+v", got)
		}

		before := r.cursor.Status()
		fill := shipper.AuditRequest{Cursor: all.Cursor, Fill: true}
		got := audited(t, a, fill)
		if got.State != shipper.AuditDone || got.Missing != 0 || got.Healed != 22 || !reflect.DeepEqual(got.Filled, wrong.Holes) {
			t.Errorf("filled in: %+v", got)
		}
		if n := server.MustQuery(t, "SELECT count(), uniqExact(seq) FROM events WHERE seq = 17 OR seq >= 290 AND seq <= 310"); n != "22\t22" {
			t.Errorf("rows and seqs of the holes: %q, want 22 of each", n)
		}
		after := r.cursor.Status()
		if after.NextSeq != before.NextSeq || after.Epoch != before.Epoch || after.Account != before.Account || after.Dead != 0 {
			t.Errorf("the cursor was touched: %+v, before %+v", after, before)
		}

		server.MustQuery(t, "SYSTEM START MERGES events")
		for _, day := range strings.Fields(server.MustQuery(t, "SELECT DISTINCT partition FROM system.parts WHERE active AND table = 'events'")) {
			server.MustQuery(t, "ALTER TABLE events DROP PARTITION '"+day+"'")
		}
		if got := audited(t, a, all); got.Missing != 400 || !reflect.DeepEqual(got.Holes, []shipper.Range{one(1, 400)}) {
			t.Errorf("without the partition: %+v", got)
		}
		if _, err := a.Start(shipper.Command{}, fill); err != nil {
			t.Fatal(err)
		}
		r.append(200) // and the cursor delivers meanwhile
		r.shipped()
		eventually(t, func() bool { got, _ = a.Report(); return got.State != shipper.AuditRunning }, func() string { return "the audit runs on" })
		if got.State != shipper.AuditDone || got.Missing != 0 || got.Healed != 400 {
			t.Errorf("the partition is filled in: %+v", got)
		}
		wantEach(t, server, "", 600)
		if s := r.cursor.Status(); s.Account.Shipped != 600 || s.Account.Imbalance != 0 || s.ErrorCount > 0 {
			t.Errorf("the cursor: %+v", s)
		}
	})
}

// TestAuditOfOwnTables needs three columns and no others, and says so.
func TestAuditOfOwnTables(t *testing.T) {
	server, o := startOld(t)
	o.Table = "few"
	columns := "project_id String, session_id String, event_type String, timestamp DateTime, received_at DateTime, log_id String, seq Int64"
	server.MustQuery(t, "CREATE TABLE few ("+columns+") ENGINE = MergeTree() PARTITION BY toDate(received_at) ORDER BY seq")
	server.MustQuery(t, "CREATE TABLE none (project_id String, received_at DateTime) ENGINE = Log")
	r := newRig(t)
	r.append(50)
	r.start(o)
	r.shipped()
	server.MustQuery(t, "INSERT INTO few SELECT * FROM few WHERE seq = 7")
	all := shipper.AuditRequest{Cursor: r.cursor.Name()}
	if got := audited(t, r.audits(o), all); got.Compared != 50 || got.Missing != 0 || !reflect.DeepEqual(got.Lasts, []shipper.Range{one(7, 7)}) {
		t.Errorf("a table with a few columns: %+v", got)
	}
	o.Table = "none"
	if got := audited(t, r.audits(o), all); got.State != shipper.AuditFailed || !strings.Contains(got.Error, "has no column log_id, seq") {
		t.Errorf("a table without seq: %+v", got)
	}
	o.Table = "absent"
	if got := audited(t, r.audits(o), all); got.State != shipper.AuditFailed || !strings.Contains(got.Error, "does not exist") {
		t.Errorf("no table: %+v", got)
	}
}

// TestAuditWaitsForTheOneBefore: while the server still works on what an audit
// has sent, nothing counts as missing.
func TestAuditWaitsForTheOneBefore(t *testing.T) {
	server, o := startOld(t)
	p, err := NewProver(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Reach(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ended := make(chan error, 1)
	go func() {
		address := "http://" + server.HTTPAddr() + "/?query_id=" + url.QueryEscape("0f1e:clickhouse"+shipper.HealMark+"1:1:5-9:0")
		res, err := http.Post(address, "", strings.NewReader("SELECT sleep(3)"))
		if err == nil {
			err = res.Body.Close()
		}
		ended <- err
	}()
	eventually(t, func() bool { return p.server.unhealed(t.Context(), "0f1e") != nil }, func() string { return "the insert is not seen" })
	if err := p.server.unhealed(t.Context(), "0f1f"); err != nil {
		t.Errorf("an insert of another log: %v", err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return p.server.unhealed(t.Context(), "0f1e") == nil }, func() string { return "the insert has ended" })
}

// TestAuditAsksEveryAddress before it believes that a row is missing: without
// replication rows stay where they were sent, and a replica may lag.
func TestAuditAsksEveryAddress(t *testing.T) {
	first, o := startOld(t)
	second, other := startOld(t)
	r := newRig(t)
	r.append(20)
	r.start(o)
	r.shipped()
	r.stop()
	r.append(10)
	r.start(other)
	r.shipped()
	second.MustQuery(t, "ALTER TABLE events DELETE WHERE seq = 25")
	eventually(t, func() bool { return second.MustQuery(t, "SELECT count() FROM events") == "9" }, func() string { return "not deleted" })
	o.Addrs = []string{first.Addr(), second.Addr()}
	got := audited(t, r.audits(o), shipper.AuditRequest{Cursor: r.cursor.Name()})
	if got.Compared != 30 || !reflect.DeepEqual(got.Holes, []shipper.Range{one(25, 25)}) {
		t.Errorf("of two addresses: %+v", got)
	}
}

// TestAuditStopsAtTTL: rows that the table may have forgotten are not missed.
func TestAuditStopsAtTTL(t *testing.T) {
	engine, o := startEngine(t)
	o.TTL = 4 * time.Second
	r := newRig(t)
	r.append(10)
	r.start(o)
	r.shipped()
	a := r.audits(o)
	engine.MustQuery(t, "ALTER TABLE events DELETE WHERE 1 SETTINGS mutations_sync = 2")
	var got shipper.AuditReport
	eventually(t, func() bool {
		got = audited(t, a, shipper.AuditRequest{Cursor: r.cursor.Name()})
		return got.TooOld == 10
	}, func() string { return fmt.Sprintf("still missed: %+v", got) })
	if got.Missing != 0 || got.Compared != 0 {
		t.Errorf("rows older than half the TTL: %+v", got)
	}
}

// TestQuestions cuts questions where an answer would cost too much, and counts
// each seq in one bucket.
func TestQuestions(t *testing.T) {
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	q := (&Prover{}).Begin().(*question)
	for seq := uint64(49_990); seq < 50_010; seq++ {
		if !q.Take(shipper.Event{Seq: seq, ReceivedAt: at}) {
			t.Fatalf("seq %d is not taken", seq)
		}
	}
	if q.Take(shipper.Event{Seq: 50_010, ReceivedAt: at.Add(24 * time.Hour)}) {
		t.Error("an event of the next day is taken")
	}
	for n := uint64(1); n < questionRanges; n++ {
		if !q.Take(shipper.Event{Seq: 60_000 + 2*n, ReceivedAt: at}) {
			t.Fatalf("range %d is not taken", n)
		}
	}
	if q.Take(shipper.Event{Seq: 70_000, ReceivedAt: at}) {
		t.Error("a range too many is taken")
	}
	var sizes []uint64
	for _, b := range q.span.buckets() {
		sizes = append(sizes, b.size())
	}
	if want := []uint64{10, 10 + questionRanges - 1}; !reflect.DeepEqual(sizes, want) {
		t.Errorf("buckets of %v seqs, want %v", sizes, want)
	}
}
