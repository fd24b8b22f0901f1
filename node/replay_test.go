package node_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"forebay/node/admin"
	"forebay/node/config"
	"forebay/node/nodetest"
	"forebay/shipper"
	"forebay/shipper/session/receiver"
)

// replayNode is a node with a live Session Manager, and another one that no
// cursor feeds.
type replayNode struct {
	*nodetest.Node
	cfg         config.Config
	key         string
	live, other *receiver.Receiver
	otherURL    string
	tokens      *tokens
}

// tokens are the Authorization headers that reached the other one.
type tokens struct {
	mu   sync.Mutex
	seen []string
}

func (s *tokens) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.seen
	s.seen = nil
	return seen
}

func newReplayNode(t *testing.T) *replayNode {
	t.Helper()
	serve := func(wrap func(http.Handler) http.Handler) (*receiver.Receiver, string) {
		r, err := receiver.New(receiver.Options{})
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewServer(wrap(r))
		t.Cleanup(s.Close)
		return r, s.URL
	}
	n := &replayNode{cfg: nodetest.Config(t), tokens: &tokens{}}
	var liveURL string
	n.live, liveURL = serve(func(h http.Handler) http.Handler { return h })
	n.other, n.otherURL = serve(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n.tokens.mu.Lock()
			n.tokens.seen = append(n.tokens.seen, r.Header.Get("Authorization"))
			n.tokens.mu.Unlock()
			h.ServeHTTP(w, r)
		})
	})
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.cfg.Shippers.Session = config.Default().Shippers.Session
	n.cfg.Shippers.Session.URL, n.cfg.Shippers.Session.TokenFile = liveURL, token
	n.key = nodetest.Key(t, n.cfg)
	n.Node = nodetest.Run(t, n.cfg)
	return n
}

// post stores events of a session, and waits until they are delivered live.
func (n *replayNode) post(session string, events int) {
	n.TB.Helper()
	all := []string{}
	for range events {
		all = append(all, nodetest.Event(session, ""))
	}
	if status, body := n.Node.Post(n.key, all...); status != http.StatusOK {
		n.TB.Fatalf("post: %d %s", status, body)
	}
	nodetest.Eventually(n.TB, time.Minute, func() bool {
		s := n.Status()
		return !slices.ContainsFunc(s.Cursors, func(c shipper.Status) bool { return c.NextSeq <= s.Log.DurableSeq })
	}, "the live cursors are done")
}

func (n *replayNode) begin(req admin.ReplayRequest) shipper.Replay {
	n.TB.Helper()
	req.Apply, req.Command = true, admin.Command{By: "ann", Why: "a test"}
	r, err := n.Admin.StartReplay(ctx, req)
	if err != nil {
		n.TB.Fatal(err)
	}
	return *r.Replay
}

func (n *replayNode) await(name, what string, cond func(shipper.Replay) bool) shipper.Replay {
	n.TB.Helper()
	var now shipper.Replay
	nodetest.Eventually(n.TB, time.Minute, func() bool {
		var err error
		if now, err = n.Admin.Replay(ctx, name); err != nil {
			n.TB.Fatal(err)
		}
		return cond(now)
	}, "%s: %s", name, what)
	return now
}

// TestReplayIntoAnotherSessionManager goes on over a restart at its own pace,
// while the live cursor does not notice; the other one gets no token.
func TestReplayIntoAnotherSessionManager(t *testing.T) {
	n := newReplayNode(t)
	n.post("a", 30)
	n.post("b", 30)
	spec := shipper.ReplaySpec{Destination: shipper.Destination{Into: "session", URL: n.otherURL}, Filter: shipper.Filter{Sessions: []string{"b"}}, Rate: 10}
	preview, err := n.Admin.StartReplay(ctx, admin.ReplayRequest{ReplaySpec: spec})
	if p := preview.Preview; err != nil || p == nil || p.Events != 30 || p.Sessions != 1 || p.Duplicates != 0 || p.Seconds != 3 || p.SameAs != "" {
		t.Fatalf("preview: %+v, %v", p, err)
	}
	before := n.live.Report()
	begun := n.begin(admin.ReplayRequest{ReplaySpec: spec})
	n.await(begun.Name, "is under way", func(r shipper.Replay) bool { return r.Delivered >= 10 })
	if s := n.Status(); len(s.Replays) != 1 || len(s.Cursors) != 2 || s.Replays[0].Progress >= 1 {
		t.Errorf("status: replays %+v, %d cursors", s.Replays, len(s.Cursors))
	}
	n.Stop()
	n.Node = nodetest.Run(t, n.cfg)
	r := n.await(begun.Name, "is done", func(r shipper.Replay) bool { return r.State == shipper.Done })
	if r.Delivered != 30 || r.Epoch != begun.Epoch || r.By != "ann" {
		t.Errorf("in the end: %+v", r)
	}
	if report := n.other.Report(); !report.InOrder() || report.Events != 30 || report.Replayed != 30 || report.Sessions != 1 {
		t.Errorf("the other Session Manager: %+v", report)
	}
	if report := n.live.Report(); report.Events != before.Events || report.Repeats != before.Repeats {
		t.Errorf("the live one: %+v, before %+v", report, before)
	}
	n.post("b", 5)
	if report := n.live.Report(); !report.InOrder() || report.Events != 65 || report.Replayed != 0 {
		t.Errorf("the live one in the end: %+v", report)
	}
	if seen := n.tokens.take(); len(seen) == 0 || slices.ContainsFunc(seen, func(h string) bool { return h != "" }) {
		t.Errorf("the other Session Manager was sent %q as tokens", seen)
	}

	// The configuration may say that it is to be trusted.
	n.Stop()
	n.cfg.Shippers.Session.ReplayURLs = []string{n.otherURL + "/"}
	n.Node = nodetest.Run(t, n.cfg)
	again := n.begin(admin.ReplayRequest{ReplaySpec: shipper.ReplaySpec{Destination: spec.Destination}})
	n.await(again.Name, "is done", func(r shipper.Replay) bool { return r.State == shipper.Done })
	if seen := n.tokens.take(); len(seen) == 0 || slices.ContainsFunc(seen, func(h string) bool { return h != "Bearer secret" }) {
		t.Errorf("the other Session Manager, trusted, was sent %q as tokens", seen)
	}
}

// TestReplayIntoTheLiveSessionManager does not end the live delivery.
func TestReplayIntoTheLiveSessionManager(t *testing.T) {
	n := newReplayNode(t)
	n.post("a", 20)
	req := admin.ReplayRequest{ReplaySpec: shipper.ReplaySpec{Destination: shipper.Destination{Into: "session"}, First: 11}}
	preview, err := n.Admin.StartReplay(ctx, req)
	if p := preview.Preview; err != nil || p.Events != 10 || p.Duplicates != 10 || p.SameAs != "session" {
		t.Fatalf("preview: %+v, %v", p, err)
	}
	begun := n.begin(req)
	n.await(begun.Name, "is done", func(r shipper.Replay) bool { return r.State == shipper.Done })
	n.post("a", 5)
	if report := n.live.Report(); !report.InOrder() || report.Events != 35 || report.Replayed != 10 {
		t.Errorf("the Session Manager: %+v", report)
	}
	for _, m := range n.live.Marks("shop", "a") {
		if m.LogID == n.Status().LogID && m.Seq != 25 || m.LogID != n.Status().LogID && m.Seq != 20 {
			t.Errorf("mark %+v", m)
		}
	}
}

// TestReplayByTimeAndItsRefusals asks in ways that make no sense, too.
func TestReplayByTimeAndItsRefusals(t *testing.T) {
	n := newReplayNode(t)
	n.post("a", 10)
	// Received times are whole milliseconds: what comes is received later.
	between := time.Now().Truncate(time.Millisecond).Add(2 * time.Millisecond)
	nodetest.Eventually(t, time.Minute, func() bool { return time.Now().After(between) }, "time passes")
	n.post("a", 10)
	into := shipper.ReplaySpec{Destination: shipper.Destination{Into: "session", URL: n.otherURL}}
	for name, c := range map[string]struct {
		req   admin.ReplayRequest
		first uint64
		last  uint64
	}{
		"from": {admin.ReplayRequest{ReplaySpec: into, FromTime: between}, 11, 20},
		"to":   {admin.ReplayRequest{ReplaySpec: into, ToTime: between}, 1, 10},
		"all":  {admin.ReplayRequest{ReplaySpec: into}, 1, 20},
	} {
		r, err := n.Admin.StartReplay(ctx, c.req)
		if err != nil || r.Preview.Spec.First != c.first || r.Preview.Spec.Last != c.last || r.Preview.Events != c.last-c.first+1 {
			t.Errorf("%s: %+v, %v", name, r.Preview, err)
		}
	}
	with := func(change func(*admin.ReplayRequest)) admin.ReplayRequest {
		req := admin.ReplayRequest{ReplaySpec: into, Apply: true}
		change(&req)
		return req
	}
	for want, req := range map[string]admin.ReplayRequest{
		"say clickhouse or session":     with(func(r *admin.ReplayRequest) { r.Into = "archive" }),
		"belong to ClickHouse":          with(func(r *admin.ReplayRequest) { r.Table = "x" }),
		"a url belongs to a Session":    with(func(r *admin.ReplayRequest) { r.Into = "clickhouse" }),
		"want http://host":              with(func(r *admin.ReplayRequest) { r.URL = "ftp://x" }),
		"is not host:port":              with(func(r *admin.ReplayRequest) { r.Into, r.URL, r.Addrs = "clickhouse", "", []string{"x"} }),
		"letters, digits":               with(func(r *admin.ReplayRequest) { r.Into, r.URL, r.Table = "clickhouse", "", "a;b" }),
		"keeps nothing received before": with(func(r *admin.ReplayRequest) { r.ToTime = time.Unix(1, 0) }),
		"say in one way":                with(func(r *admin.ReplayRequest) { r.ToTime, r.Last = between, 5 }),
		"cannot be a replay's name":     with(func(r *admin.ReplayRequest) { r.Name = "archive" }),
	} {
		if _, err := n.Admin.StartReplay(ctx, req); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error about %q", err, want)
		}
	}
	if _, err := n.Admin.CancelReplay(ctx, "nosuch", admin.Command{}); err == nil || !strings.Contains(err.Error(), "no such replay") {
		t.Errorf("cancel of nothing: %v", err)
	}
	if all, err := n.Admin.Replays(ctx); err != nil || len(all) != 0 {
		t.Errorf("replays after refusals: %+v, %v", all, err)
	}
}
