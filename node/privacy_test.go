package node_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"forebay/node"
	"forebay/node/admin"
	"forebay/node/nodetest"
)

// TestPrivacyReport tries a detector on history that takes more than one answer,
// on a node that runs and one that is stopped.
func TestPrivacyReport(t *testing.T) {
	c := nodetest.Config(t)
	c.Privacy.Rules = []string{"email=report", "shop/phone=report"}
	key := nodetest.Key(t, c)
	n := nodetest.Run(t, c)
	const batches, each = 101, 100 // over the 10,000 of one answer
	for range batches {
		events := make([]string, each)
		for i := range events {
			events[i] = nodetest.Event("s", "")
		}
		events[0] = nodetest.Event("s", `,"metadata":{"to":"john@example.com","cc":["john%40example.com"]}`)
		events[1] = nodetest.Event("s", `,"metadata":{"to":"john@example.com","call":"+1 415 555 2671"}`)
		events[2] = nodetest.Event("s", `,"metadata":{"n":"4111111111111111"}`) // dropped
		if status, body := n.Post(key, events...); status != http.StatusOK || !strings.Contains(body, `"accepted":99,`) {
			t.Fatalf("%d %s", status, body)
		}
	}
	const kept = batches * (each - 1)

	check := func(from *admin.Client, q admin.PrivacyQuery, emails, phones, found uint64) {
		t.Helper()
		told := 0
		r, err := from.PrivacyReport(ctx, q, func(r admin.PrivacyReport) {
			if told++; r.NextSeq > r.LastSeq+1 || r.Events == 0 {
				t.Errorf("on the way: %+v", r)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if r.FirstSeq != 1 || r.LastSeq != kept || r.NextSeq != kept+1 || r.Events != kept || r.Lost+r.Invalid != 0 || len(r.Projects) != 1 {
			t.Fatalf("report: %+v", r)
		}
		if told != (kept+9_999)/10_000 {
			t.Errorf("progress was told %d times", told)
		}
		p := r.Projects[0]
		got := map[string]uint64{}
		for _, d := range p.Detectors {
			got[d.Detector] = d.Events
			if d.Action != "report" {
				t.Errorf("%s is shown as %s", d.Detector, d.Action)
			}
			if d.Detector == "email" && (d.Fields["metadata.to"] != emails || d.Fields["metadata.cc"] != emails/2) {
				t.Errorf("fields: %v", d.Fields)
			}
		}
		if p.Project != "shop" || p.Events != kept || p.Found != found || got["email"] != emails || got["phone"] != phones || got["card"] != 0 {
			t.Errorf("project: %+v", p)
		}
	}
	hour := time.Now().Add(-time.Hour)
	check(n.Admin, admin.PrivacyQuery{Since: hour}, 2*batches, batches, 2*batches)
	check(n.Admin, admin.PrivacyQuery{Since: hour, Detector: "phone", Project: "shop"}, 0, batches, batches)

	nothing := func(admin.PrivacyReport) {}
	if r, err := n.Admin.PrivacyReport(ctx, admin.PrivacyQuery{Project: "lab"}, nothing); err != nil || r.Events != 0 || len(r.Projects) != 0 {
		t.Errorf("of another project: %+v, %v", r, err)
	}
	if r, err := n.Admin.PrivacyReport(ctx, admin.PrivacyQuery{Since: time.Now().Add(time.Hour)}, nothing); err != nil || r.Events != 0 || r.NextSeq <= r.LastSeq {
		t.Errorf("of a time to come: %+v, %v", r, err)
	}
	if _, err := n.Admin.PrivacyReport(ctx, admin.PrivacyQuery{Detector: "zodiac"}, nothing); err == nil || !strings.Contains(err.Error(), "private_key") {
		t.Errorf("an unknown detector: %v", err)
	}
	ended, end := context.WithCancel(ctx)
	end()
	if _, err := n.Admin.PrivacyReport(ended, admin.PrivacyQuery{}, nothing); !errors.Is(err, context.Canceled) {
		t.Errorf("of an operator who left: %v", err)
	}

	// Every detector is counted, by what was done.
	m := n.Metrics()
	for detector, want := range map[string]float64{"email/report": 2 * batches, "phone/report": batches, "card/drop": batches, "ssn/drop": 0} {
		name, action, _ := strings.Cut(detector, "/")
		got, ok := m[fmt.Sprintf(`forebay_privacy_findings_total{action=%q,detector=%q}`, action, name)]
		if !ok || got != want {
			t.Errorf("metric of %s: %v, want %v", detector, got, want)
		}
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
	check(admin.InProcess(stopped.Handler()), admin.PrivacyQuery{Since: hour}, 2*batches, batches, 2*batches)
}
