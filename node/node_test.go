package node_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"forebay/node"
	"forebay/node/admin"
	"forebay/node/config"
	"forebay/node/nodetest"
	"forebay/router/auth"
	"forebay/router/auth/postgres"
)

const limit = 30 * time.Second

var ctx = context.Background()

func TestStartsWithPostgresGone(t *testing.T) {
	server := nodetest.StartPostgres(t)
	store, err := postgres.OpenStore(ctx, server.DSN())
	if err != nil {
		t.Fatal(err)
	}
	text, digest := auth.Generate()
	if err := store.Create(ctx, auth.Key{ID: digest.ID(), Digest: digest, Project: "shop", Strict: true}); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(ctx); err != nil {
		t.Fatal(err)
	}
	c := nodetest.Config(t)
	c.Keys = config.Keys{Source: config.KeysPostgres, Postgres: config.Postgres{DSN: server.DSN()}, MaxStale: time.Hour}

	n := nodetest.Run(t, c)
	nodetest.Eventually(t, limit, func() bool { return n.Status().Keys.Count == 1 }, "the key is loaded")
	if status, body := n.Post(text, nodetest.Event("a", "")); status != http.StatusOK || !strings.Contains(body, `"accepted":1`) {
		t.Fatalf("with PostgreSQL there: %d %s", status, body)
	}
	n.Stop()
	server.Kill()
	n = nodetest.Run(t, c)
	if status, body := n.Post(text, nodetest.Event("a", "")); status != http.StatusOK || !strings.Contains(body, `"accepted":1`) {
		t.Fatalf("with PostgreSQL gone: %d %s", status, body)
	}
	nodetest.Eventually(t, limit, func() bool {
		for _, check := range n.Status().Checks {
			if check.Name == "keys" && !check.OK && strings.Contains(check.Reason, "1 cached keys serve") && strings.Contains(check.Reason, "has not answered since the start") {
				return true
			}
		}
		return false
	}, "status says that the keys are from the cache")
	if s := n.Status(); !s.Accepting {
		t.Errorf("a node with cached keys does not accept: %+v", s.Checks)
	}
}

// TestFullLogDropsNewEventsOnly fills the log's budget while nothing can be
// shipped, and then lets it go.
func TestFullLogDropsNewEventsOnly(t *testing.T) {
	c := nodetest.Config(t)
	key := nodetest.Key(t, c)
	c.Shippers.Archive.Enabled = false
	c.Shippers.ClickHouse = config.Default().Shippers.ClickHouse
	c.Shippers.ClickHouse.Addrs = []string{nodetest.FreeAddr(t)}
	c.WAL.DiskBudget, c.WAL.Compression = 1<<20, "none"
	n := nodetest.Run(t, c)

	event := nodetest.Event("a", `,"metadata":{"text":"`+strings.Repeat("x", 8000)+`"}`)
	accepted := 0
	nodetest.Eventually(t, limit, func() bool {
		status, body := n.Post(key, event)
		if strings.Contains(body, `"seq":`) {
			accepted++
			return false
		}
		return status == http.StatusServiceUnavailable || strings.Contains(body, `"dropped":"storage"`)
	}, "the log is full")
	nodetest.Eventually(t, limit, func() bool { return !n.Status().Accepting }, "status says that the node does not accept")
	s := n.Status()
	if s.Ledger.Events.Dropped["storage"] == 0 || s.Ledger.Events.Accepted != uint64(accepted) {
		t.Errorf("full: ledger %+v, %d were accepted", s.Ledger.Events, accepted)
	}
	if s.Log.FirstSeq != 1 {
		t.Errorf("accepted events were deleted: the log begins at %d", s.Log.FirstSeq)
	}
	if ready, _ := get(t, n, "/readyz"); ready != http.StatusServiceUnavailable {
		t.Errorf("/readyz answers %d while the log is full", ready)
	}

	skip(t, n, "clickhouse")
	nodetest.Eventually(t, limit, func() bool {
		_, body := n.Post(key, event)
		return strings.Contains(body, `"accepted":1`)
	}, "events are accepted again")
	if s := n.Status(); s.Log.FirstSeq == 1 {
		t.Errorf("history did not make room: %+v", s.Log)
	}
}

func TestCountsGoOnAfterRestart(t *testing.T) {
	c := nodetest.Config(t)
	key := nodetest.Key(t, c)
	n := nodetest.Run(t, c)
	n.Post(key, nodetest.Event("a", ""), `{"eventType":"nonsense"}`)
	n.Post("wrong", nodetest.Event("a", ""))
	before := n.Status().Ledger
	n.Stop()
	n = nodetest.Run(t, c)
	after := n.Status().Ledger
	if before.Events.Accepted != 1 || before.Events.Dropped["invalid"] != 1 || before.Requests.Dropped["unauthorized"] != 1 {
		t.Errorf("before the restart: %+v", before)
	}
	if after.Requests.Received != before.Requests.Received || after.Events.Accepted != 1 ||
		after.Events.Dropped["invalid"] != 1 || after.Requests.Dropped["unauthorized"] != 1 || !after.Balanced {
		t.Errorf("after the restart: %+v, before: %+v", after, before)
	}
}

func TestRepeatsAreKnownAfterRestart(t *testing.T) {
	c := nodetest.Config(t)
	key := nodetest.Key(t, c)
	event := nodetest.Event("a", `,"idempotencyKey":"k1"`)
	n := nodetest.Run(t, c)
	n.Post(key, event)
	n.Stop()
	n = nodetest.Run(t, c)
	nodetest.Eventually(t, limit, func() bool {
		rebuilding, shown := n.Metrics()["forebay_dedupe_rebuilding"]
		return shown && rebuilding == 0
	}, "the window is rebuilt")
	if _, body := n.Post(key, event); !strings.Contains(body, `"dropped":"duplicate"`) {
		t.Errorf("a repeat after a restart: %s", body)
	}
}

func TestForeignStateIsRefused(t *testing.T) {
	c := nodetest.Config(t)
	nodetest.Key(t, c)
	nodetest.Run(t, c).Stop()
	if err := os.RemoveAll(filepath.Join(c.Node.DataDir, "wal")); err != nil {
		t.Fatal(err)
	}
	_, err := node.Open(c, node.Options{})
	if err == nil || !strings.Contains(err.Error(), "wal reidentify") {
		t.Errorf("a state folder without its log: %v; want an error that says what to do", err)
	}
}

// TestClockFromBeforeTheBuildIsNotBelieved: the machine woke up in the past.
func TestClockFromBeforeTheBuildIsNotBelieved(t *testing.T) {
	c := nodetest.Config(t)
	key := nodetest.Key(t, c)
	n := nodetest.RunBuilt(t, c, time.Now().Add(100*24*time.Hour))
	event := strings.Replace(nodetest.Event("a", ""), time.Now().UTC().Format("2006"), "2100", 1)
	if _, body := n.Post(key, event); !strings.Contains(body, `"accepted":1`) {
		t.Errorf("a timestamp was judged by a clock that is not believed: %s", body)
	}
	if status, body := get(t, n, "/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "set the clock (timedatectl") {
		t.Errorf("/readyz: %d %s", status, body)
	}
}

func TestMetrics(t *testing.T) {
	c := nodetest.Config(t)
	key := nodetest.Key(t, c)
	n := nodetest.Run(t, c)
	n.Post(key, nodetest.Event("a", ""), nodetest.Event("a", `,"to":"john@example.com"`))
	all := n.Metrics()
	for name, want := range map[string]float64{
		"forebay_events_accepted_total": 1, `forebay_requests_dropped_total{reason="unauthorized"}`: 0,
		"forebay_reply_seconds_count": 1, `forebay_check_ok{check="accept"}`: 1, "forebay_ready": 1,
		`forebay_privacy_findings_total{action="drop",detector="email"}`: 1, `forebay_privacy_findings_total{action="report",detector="email"}`: 0,
		`forebay_project_events_accepted_total{project="shop"}`: 1, `forebay_project_events_dropped_total{project="shop",reason="privacy"}`: 1,
	} {
		if got, shown := all[name]; !shown || got != want {
			t.Errorf("%s is %v (shown: %v), want %v", name, got, shown, want)
		}
	}
	for _, name := range []string{`forebay_cursor_lag_events{cursor="archive"}`, "forebay_wal_sync_seconds_count"} {
		if _, shown := all[name]; !shown {
			t.Errorf("/metrics lacks %s", name)
		}
	}
	_, text := get(t, n, "/metrics")
	identity := `log_id="` + n.Status().LogID + `",node="test"`
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") && !strings.Contains(line, `node="test"`) || strings.HasPrefix(line, "forebay_ready") && !strings.Contains(line, identity) {
			t.Errorf("a metric does not say whose it is: %s", line)
		}
	}
}

// TestLogLinesSayWhoseTheyAre starts a node twice and reads what it logs.
func TestLogLinesSayWhoseTheyAre(t *testing.T) {
	c := nodetest.Config(t)
	nodetest.Key(t, c)
	for range 2 {
		var lines bytes.Buffer
		n, err := node.Open(c, node.Options{Logger: slog.New(slog.NewJSONHandler(&lines, &slog.HandlerOptions{Level: slog.LevelDebug}))})
		if err != nil {
			t.Fatal(err)
		}
		client := admin.NewClient(n.AdminAddr().String(), "")
		stopping, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- n.Run(stopping) }()
		status, err := client.Status(ctx)
		stop()
		if err := errors.Join(err, <-ended); err != nil {
			t.Fatal(err)
		}
		read, known := 0, false
		for decoder := json.NewDecoder(&lines); decoder.More(); read++ {
			var line struct {
				Msg   string
				Node  string
				LogID string `json:"log_id"`
			}
			if err := decoder.Decode(&line); err != nil {
				t.Fatal(err)
			}
			known = known || line.LogID != ""
			if line.Node != "test" || known && line.LogID != status.LogID {
				t.Errorf("a line does not say whose it is: %+v", line)
			}
		}
		if read < 2 || !known {
			t.Errorf("%d lines, identity known: %v", read, known)
		}
	}
}

func get(t *testing.T, n *nodetest.Node, path string) (int, string) {
	t.Helper()
	res, err := http.Get(n.AdminURL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}
