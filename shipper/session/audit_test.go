package session_test

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"forebay/shipper"
	"forebay/shipper/session"
	"forebay/shipper/session/header"
	"forebay/shipper/session/receiver"
	"forebay/shipper/shippertest"
)

// TestAuditNamesSessionsBehind compares what was delivered with the marks of a
// receiver that has lost some, does not offer them, or refuses the token.
func TestAuditNamesSessionsBehind(t *testing.T) {
	rig := shippertest.NewRig(t)
	var refuse atomic.Bool
	refuse.Store(true)
	r, err := receiver.New(receiver.Options{Hook: func(d receiver.Delivery) receiver.Fault {
		if refuse.Load() && d.Session == "refused" {
			return receiver.Fault{Status: http.StatusUnprocessableEntity}
		}
		return receiver.Fault{}
	}})
	if err != nil {
		t.Fatal(err)
	}
	var marks atomic.Value // how marks are answered; false: as they are
	marks.Store(func(http.ResponseWriter, *http.Request) bool { return false })
	server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !strings.HasSuffix(req.URL.Path, "/marks") || !marks.Load().(func(http.ResponseWriter, *http.Request) bool)(w, req) {
			r.ServeHTTP(w, req)
		}
	}))
	rig.Append("shop", "a", 3)       // 1 to 3
	rig.Append("shop", "refused", 1) // 4: a dead letter
	rig.Append("shop", "b", 2)       // 5 and 6
	rig.Append("shop", "a", 2)       // 7 and 8
	rig.Append("shop", "c", 1)       // 9
	ship := rig.Start(newSink(t, session.Options{URL: server.URL}), flush, shipper.Options{})
	ship.WaitDone()
	audits, err := shipper.NewAudits(shipper.AuditOptions{Cursors: ship.Cursors, Open: func(string) (shipper.AuditTarget, error) {
		p, err := session.NewProver(session.Options{URL: server.URL})
		return shipper.AuditTarget{Prover: p, Once: true, Close: p.Close}, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(audits.Close)
	audit := func() (got shipper.AuditReport) {
		t.Helper()
		if _, err := audits.Start(shipper.Command{}, shipper.AuditRequest{Cursor: "test"}); err != nil {
			t.Fatal(err)
		}
		ship.WaitFor("the audit has ended", func() bool { got, _ = audits.Report(); return got.State != shipper.AuditRunning })
		return got
	}
	if got := audit(); got.State != shipper.AuditDone || got.Compared != 8 || got.Missing != 0 || got.Excepted.Dead != 1 {
		t.Errorf("all is there: %+v", got)
	}

	marks.Store(func(w http.ResponseWriter, req *http.Request) bool {
		answer := []session.ReceiverMark{}
		for _, m := range r.Marks("shop", req.URL.Query().Get("session_id")) {
			switch m.Session {
			case "a":
				m.Seq, m.Gaps = 7, header.Ranges{{First: 2, Last: 2}}
			case "c":
				continue // it does not know the session
			}
			answer = append(answer, session.ReceiverMark{LogID: m.LogID, Epoch: m.Epoch, Seq: m.Seq, Gaps: m.Gaps})
		}
		if err := json.NewEncoder(w).Encode(map[string]any{"marks": answer}); err != nil {
			t.Error(err)
		}
		return true
	})
	got := audit()
	if want := []shipper.Range{{First: 2, Last: 2}, {First: 8, Last: 9}}; got.Missing != 3 || !reflect.DeepEqual(got.Holes, want) {
		t.Errorf("missing: %+v, want %v", got, want)
	}
	want := []shipper.Behind{
		{Project: "shop", Session: "a", Want: 8, Have: 7, Missing: 2},
		{Project: "shop", Session: "c", Want: 9, Have: 0, Missing: 1},
	}
	if !reflect.DeepEqual(got.Behind, want) {
		t.Errorf("behind: %+v, want %+v", got.Behind, want)
	}

	answer := func(status int) {
		marks.Store(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(status); return true })
	}
	answer(http.StatusNotFound)
	if got := audit(); got.State != shipper.AuditNotOffered || !strings.Contains(got.Error, "does not offer") {
		t.Errorf("no marks offered: %+v", got)
	}
	answer(http.StatusUnauthorized)
	if got := audit(); got.State != shipper.AuditFailed || !strings.Contains(got.Error, "token_file") {
		t.Errorf("the token refused: %+v", got)
	}
	if _, err := audits.Start(shipper.Command{}, shipper.AuditRequest{Cursor: "test", Fill: true}); err == nil || !strings.Contains(err.Error(), "rewind") {
		t.Errorf("a fill of sessions: %v", err)
	}
}
