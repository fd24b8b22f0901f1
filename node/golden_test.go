package node_test

import (
	"bytes"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"forebay/node"
	"forebay/node/admin"
	"forebay/node/config"
	"forebay/node/nodetest"
	"forebay/shipper"
	"forebay/shipper/session/receiver"
)

var writeGolden = flag.Bool("write-golden", false, "write testdata/layout-1 anew; a released one must never change")

// goldenConfig is a node with both cursors of the golden directory. Its events
// grow old, so nothing is deleted for its age.
func goldenConfig(t *testing.T) config.Config {
	t.Helper()
	r, err := receiver.New(receiver.Options{Hook: func(d receiver.Delivery) receiver.Fault {
		for _, e := range d.Events {
			if bytes.Contains(e, []byte(`"idempotencyKey":"poison"`)) {
				return receiver.Fault{Status: http.StatusUnprocessableEntity}
			}
		}
		return receiver.Fault{}
	}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	c := nodetest.Config(t)
	c.Shippers.Session.Enabled, c.Shippers.Session.URL = true, server.URL
	c.WAL.Retain.Age = 0
	return c
}

// makeGolden has a node of this program write the directory: six events in two
// sessions, one of them a dead letter; the archive's cursor rewound and paused.
func makeGolden(t *testing.T, kept string) {
	c := goldenConfig(t)
	key := nodetest.Key(t, c)
	n := nodetest.Run(t, c)
	for i := range 3 {
		n.Post(key, nodetest.Event("a", fmt.Sprintf(`,"idempotencyKey":"a-%d"`, i)))
	}
	n.Post(key, nodetest.Event("b", `,"idempotencyKey":"poison"`), nodetest.Event("b", ""), nodetest.Event("b", `,"to":"ann@example.com"`), nodetest.Event("b", ""))
	nodetest.Eventually(t, time.Minute, func() bool {
		all := n.Status().Cursors
		return !slices.ContainsFunc(all, func(s shipper.Status) bool { return s.NextSeq != 7 })
	}, "both cursors deliver all")
	if _, err := n.Admin.Pause(ctx, "archive", admin.PauseRequest{Command: admin.Command{By: "ann", Why: "golden"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Admin.Rewind(ctx, "archive", admin.RewindRequest{Command: admin.Command{By: "ann", Why: "golden"}, ToSeq: 4, Apply: true}); err != nil {
		t.Fatal(err)
	}
	n.Stop()
	if err := os.RemoveAll(kept); err != nil {
		t.Fatal(err)
	}
	copyData(t, c.Node.DataDir, kept)
}

// copyData copies a data directory without what any node makes for itself.
func copyData(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, from)
		switch base := filepath.Base(path); {
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o750)
		case base == "LOCK" || base == "reserve":
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), text, 0o640)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestGoldenDirectory opens the data directory of layout version 1 that is kept
// for ever, stopped and running, and goes on with it.
func TestGoldenDirectory(t *testing.T) {
	kept := filepath.Join("testdata", "layout-1")
	if *writeGolden {
		makeGolden(t, kept)
	}
	c := goldenConfig(t)
	key := nodetest.Key(t, c)
	copyData(t, kept, c.Node.DataDir)
	check := func(s admin.Status, when string) {
		t.Helper()
		if s.Log.FirstSeq != 1 || s.Log.DurableSeq != 6 || s.Ledger.Events.Accepted != 6 || s.Ledger.Events.Dropped["privacy"] != 1 {
			t.Errorf("%s: log %+v, events %+v", when, s.Log, s.Ledger.Events)
		}
		for _, cursor := range s.Cursors {
			switch cursor.Name {
			case "archive":
				if cursor.NextSeq != 4 || cursor.Epoch != 3 || cursor.Pause == nil || cursor.Pause.By != "ann" || cursor.Pause.Reason != "golden" {
					t.Errorf("%s: the archive's cursor is %+v", when, cursor)
				}
			case "session":
				if cursor.NextSeq != 7 || cursor.Dead != 1 {
					t.Errorf("%s: the session's cursor is %+v", when, cursor)
				}
			}
		}
	}
	stopped, err := node.OpenStopped(c, "test")
	if err != nil {
		t.Fatal(err)
	}
	check(stopped.Status(), "stopped")
	if err := stopped.Close(); err != nil {
		t.Fatal(err)
	}

	n := nodetest.Run(t, c)
	check(n.Status(), "running")
	var verbs []string
	if err := n.Admin.AuditLog(ctx, func(e shipper.TrailEntry) error { verbs = append(verbs, e.Verb); return nil }); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(verbs, []string{"pause", "rewind"}) {
		t.Errorf("the audit trail has %v", verbs)
	}
	if err := n.Admin.Dead(ctx, "session", nil, func(d shipper.DeadLetter) error {
		if !strings.Contains(string(d.Raw), `"idempotencyKey":"poison"`) {
			t.Errorf("the dead letter is %+v", d)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if status, body := n.Post(key, nodetest.Event("a", `,"idempotencyKey":"new"`)); status != http.StatusOK || !strings.Contains(body, `"first_seq":7`) {
		t.Errorf("a new event: %d %s", status, body)
	}
	if report, err := n.Admin.Verify(ctx); err != nil || !report.OK() || report.Events != 7 {
		t.Errorf("the log: %+v, %v", report, err)
	}
	if _, err := n.Admin.Resume(ctx, "archive", admin.Command{}); err != nil {
		t.Fatal(err)
	}
	nodetest.Eventually(t, time.Minute, func() bool {
		return !slices.ContainsFunc(n.Status().Cursors, func(s shipper.Status) bool { return s.NextSeq != 8 })
	}, "both cursors go on")
}
