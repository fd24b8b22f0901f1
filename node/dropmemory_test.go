package node_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"forebay/node"
	"forebay/node/admin"
	"forebay/node/nodetest"
)

// lockedText collects what is logged.
type lockedText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestDropsAreRemembered over a restart, by project, reason and rule, whatever
// else floods the node; and what comes from SDKs that the node does not know is
// told by drops top, the metrics, the log and doctor.
func TestDropsAreRemembered(t *testing.T) {
	c := nodetest.Config(t)
	c.Admin.Listen = nodetest.FreeAddr(t)
	key := nodetest.Key(t, c)
	logged := new(lockedText)
	options := node.Options{Version: "test", Logger: slog.New(slog.NewJSONHandler(logged, nil))}
	n := nodetest.RunWith(t, c, options)
	n.Post(key, nodetest.Event("s", `,"metadata":{"email":"x"}`))
	for range 1100 {
		n.Post("fbk_0123456789abcdef", nodetest.Event("s", ""))
	}
	sdk := func(path, body string) {
		t.Helper()
		req, err := http.NewRequest(http.MethodPost, n.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth(key, "")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	sdk("/v1/track", "{}")
	sdk("/v1/batch", `{"batch":[{"type":"track","messageId":"m"}],"writeKey":"W"}`)

	groups := func() map[string]uint64 {
		t.Helper()
		g, err := n.Admin.TopDrops(ctx, admin.DropFilter{Since: time.Now().Add(-24 * time.Hour)}, nil, 20)
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]uint64{}
		for _, o := range g.Groups {
			all[strings.Join([]string{o.By["project"], o.By["reason"], o.By["rule"], o.By["looks_like"]}, " ")] = o.Drops
		}
		return all
	}
	check := func(when string) {
		t.Helper()
		got := groups()
		for want, n := range map[string]uint64{
			"shop privacy denied_key ": 1, " unauthorized key_unknown ": 1100, "shop unknown_path  segment": 1, "shop malformed missing segment": 1,
		} {
			if got[want] != n {
				t.Errorf("%s: %q is %d, want %d; all: %v", when, want, got[want], n, got)
			}
		}
	}
	check("at once")
	described, err := n.Admin.TopDrops(ctx, admin.DropFilter{Project: "shop", Reason: "privacy"}, []string{"field"}, 20)
	if err != nil || described.Drops != 1 || described.Groups[0].By["field"] != "metadata.email" {
		t.Errorf("the one of the project is described as %+v, %v", described, err)
	}
	m := n.Metrics()
	if m[`forebay_drops_total{reason="unauthorized",rule="key_unknown"}`] != 1100 || m[`forebay_foreign_requests_total{looks_like="segment"}`] != 2 {
		t.Errorf("metrics: %v", m)
	}
	var doctor []string
	for _, f := range node.Examine(context.Background(), c, node.Options{}) {
		if f.Check == "senders" {
			doctor = append(doctor, f.State+" "+f.Text)
		}
	}
	if all := strings.Join(doctor, "\n"); len(doctor) != 2 || strings.Count(all, "warn 1 ") != 2 || !strings.Contains(all, `of a Segment SDK, with a key of project "shop"`) {
		t.Errorf("doctor says %q", doctor)
	}
	nodetest.Eventually(t, time.Minute, func() bool { return strings.Contains(logged.String(), "2 of a Segment SDK") }, "the log tells")
	n.Stop()

	n = nodetest.RunWith(t, c, options)
	check("after a restart")
	n.Post(key, nodetest.Event("s", `,"metadata":{"email":"x"}`))
	if got := groups()["shop privacy denied_key "]; got != 2 {
		t.Errorf("it goes on at %d, want 2", got)
	}
}
