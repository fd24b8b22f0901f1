package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"forebay/node/admin"
	"forebay/node/config"
	"forebay/node/state"
	"forebay/router"
	"forebay/router/auth"
	"forebay/router/auth/file"
	"forebay/shipper/session/receiver"
)

// books is a running node whose ledger is looked at.
type books struct {
	*Node
	cfg  config.Config
	keys map[string]string // text by what the key is for
}

// openBooks opens a node with keys of every kind and a Session Manager.
func openBooks(t *testing.T, sessions string) *books {
	t.Helper()
	dir := t.TempDir()
	c := config.Dev(dir)
	c.Ingest.Listen, c.Admin.Listen = "127.0.0.1:0", "127.0.0.1:0"
	c.Shippers.Session.Enabled, c.Shippers.Session.URL = sessions != "", sessions
	c.Shippers.Archive.Flush.Age = 5 * time.Millisecond
	c.WAL.SegmentBytes = 64 << 10
	b := &books{cfg: c, keys: map[string]string{}}
	for name, key := range map[string]auth.Key{
		"strict":  {Project: "shop", Strict: true},
		"plain":   {Project: "blog"},
		"slow":    {Project: "slow", RequestsPerSecond: 1, Burst: 1},
		"revoked": {Project: "shop", RevokedAt: time.Now().Add(-time.Hour)},
		"page":    {Project: "page", Origins: []string{"https://page.example"}},
	} {
		text, digest := auth.Generate()
		key.ID, key.Digest = digest.ID(), digest
		if key.Burst == 0 {
			key.RequestsPerSecond, key.Burst = 1e6, 1e6
		}
		if err := file.NewStore(c.Keys.File.Path).Create(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		b.keys[name] = text
	}
	b.open(t)
	return b
}

func (b *books) open(t *testing.T) {
	t.Helper()
	n, err := Open(b.cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	b.Node = n
}

// run runs the node until the test ends, or what it returns is called.
func (b *books) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Node.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("stop the node: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// post sends one body; what becomes of it is the ledger's to say.
func (b *books) post(key, path, body string, header ...string) error {
	req, err := http.NewRequest(http.MethodPost, "http://"+b.IngestAddr().String()+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	if key != "" {
		req.Header.Set("X-API-Key", key)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return errors.Join(err, res.Body.Close())
}

// torn sends the beginning of a request and goes away.
func (b *books) torn(key string, bytes int) (net.Conn, error) {
	conn, err := net.Dial("tcp", b.IngestAddr().String())
	if err != nil {
		return nil, err
	}
	header := ""
	if key != "" {
		header = "X-API-Key: " + key + "\r\n"
	}
	_, err = fmt.Fprintf(conn, "POST /v1/events HTTP/1.1\r\nHost: x\r\n%sContent-Length: 450000\r\n\r\n%s", header, strings.Repeat(" ", bytes))
	return conn, err
}

func eventOf(session, extra string) string {
	return fmt.Sprintf(`{"eventType":"click","timestamp":%q,"sessionId":%q,"route":"/","target":{"type":"page"}%s}`,
		time.Now().UTC().Format(time.RFC3339Nano), session, extra)
}

func batchOf(events ...string) string { return `{"events":[` + strings.Join(events, ",") + `]}` }

// adds checks the equations by hand, from what an operator is given.
func adds(s admin.Status) error {
	sum := func(dropped map[string]uint64) (n uint64) {
		for _, d := range dropped {
			n += d
		}
		return n
	}
	l := s.Ledger
	if r := l.Requests; r.Received != r.InFlight+r.Decoded+sum(r.Dropped) {
		return fmt.Errorf("requests: %+v", r)
	}
	var decoded, accepted, dropped uint64
	for name, p := range l.Projects {
		e := p.Events
		if e.Decoded != e.InFlight+e.Accepted+sum(e.Dropped) {
			return fmt.Errorf("project %s: %+v", name, e)
		}
		decoded, accepted, dropped = decoded+e.Decoded, accepted+e.Accepted, dropped+sum(e.Dropped)
	}
	e := l.Events
	if e.Decoded != e.InFlight+e.Accepted+sum(e.Dropped) || e.Decoded != decoded || e.Accepted != accepted || sum(e.Dropped) != dropped {
		return fmt.Errorf("events: %+v, projects %+v", e, l.Projects)
	}
	for _, c := range s.Cursors {
		a := c.Account
		if a.Accepted != a.Shipped+a.Pending+a.Dead+a.Discarded+a.Expired+a.Lost+a.Skipped || a.Imbalance != 0 {
			return fmt.Errorf("cursor %s: %+v", c.Name, a)
		}
	}
	if !l.Balanced {
		return errors.New("status says that the ledger does not balance")
	}
	return nil
}

// TestLedgerBalancesAtEveryLook sends everything that can come, while the disk
// fills and the Session Manager fails, and operators move cursors and letters;
// and looks at the ledger all the while.
func TestLedgerBalancesAtEveryLook(t *testing.T) {
	var failing atomic.Bool
	r, err := receiver.New(receiver.Options{Hook: func(d receiver.Delivery) receiver.Fault {
		for _, e := range d.Events {
			if strings.Contains(string(e), `"poison"`) {
				return receiver.Fault{Status: http.StatusUnprocessableEntity}
			}
		}
		if failing.Load() {
			return receiver.Fault{Status: http.StatusInternalServerError}
		}
		return receiver.Fault{}
	}})
	if err != nil {
		t.Fatal(err)
	}
	sessions := httptest.NewServer(r)
	defer sessions.Close()
	b := openBooks(t, sessions.URL)
	stop := b.run(t)
	client := admin.NewClient(b.AdminAddr().String(), "")

	const rounds = 25
	var working, looking sync.WaitGroup
	send := func(f func(i int) error) {
		working.Go(func() {
			for i := range rounds {
				if err := f(i); err != nil {
					t.Errorf("round %d: %v", i, err)
					return
				}
			}
		})
	}
	for _, key := range []string{"strict", "plain"} {
		send(func(i int) error {
			session := fmt.Sprint(key, i%3)
			return b.post(b.keys[key], "/v1/events", batchOf(
				eventOf(session, fmt.Sprintf(`,"idempotencyKey":"%s-%d"`, key, i)),
				eventOf(session, fmt.Sprintf(`,"idempotencyKey":"%s-%d"`, key, i-i%2)), // every other one is a repeat
				eventOf(session, `,"metadata":{"email":"a"}`),
				`{"eventType":"nonsense"}`,
			))
		})
	}
	send(func(i int) error { // letters
		return b.post(b.keys["plain"], "/v1/event", eventOf(fmt.Sprint("poisoned", i), fmt.Sprintf(`,"idempotencyKey":"poison-%d","environment":"poison"`, i)))
	})
	bodies := map[string]func(i int) error{
		"malformed":    func(int) error { return b.post(b.keys["strict"], "/v1/events", `{"events":[`) },
		"encoding":     func(int) error { return b.post(b.keys["plain"], "/v1/events", "x", "Content-Encoding", "gzip") },
		"media type":   func(int) error { return b.post(b.keys["plain"], "/v1/events", "x", "Content-Type", "image/png") },
		"unauthorized": func(int) error { return b.post("nosuch", "/v1/events", batchOf(eventOf("a", ""))) },
		"no key":       func(int) error { return b.post("", "/v1/events", batchOf(eventOf("a", ""))) },
		"revoked":      func(int) error { return b.post(b.keys["revoked"], "/v1/events", batchOf(eventOf("a", ""))) },
		"origin": func(int) error {
			return b.post(b.keys["page"], "/v1/events", batchOf(eventOf("a", "")), "Origin", "https://else.example")
		},
		"rate limited": func(int) error { return b.post(b.keys["slow"], "/v1/events", batchOf(eventOf("a", ""))) },
		"too large":    func(int) error { return b.post(b.keys["strict"], "/v1/events", strings.Repeat(" ", 600<<10)) },
		"torn": func(i int) error {
			conn, err := b.torn(b.keys["plain"], 100*i)
			if err != nil {
				return err
			}
			return conn.Close()
		},
	}
	for _, f := range bodies {
		send(f)
	}
	send(func(i int) error { // the disk fills; its keeper, which looks each second, sees room again
		b.gate.set(i%2 == 0)
		return b.post(b.keys["strict"], "/v1/events", batchOf(eventOf("full", ""), eventOf("full", `,"idempotencyKey":"full"`)))
	})
	send(func(i int) error { // operators
		failing.Store(i%2 == 0)
		_, err := client.Rewind(t.Context(), "archive", admin.RewindRequest{ToStart: i%3 != 0, SkipEnd: i%3 == 0, Apply: true})
		if err != nil && !strings.Contains(err.Error(), "refused") && !strings.Contains(err.Error(), "another") {
			return err
		}
		verb := client.Requeue
		if i%2 == 0 {
			verb = client.Discard
		}
		_, err = verb(t.Context(), "session", admin.DeadRequest{})
		return err
	})
	working.Go(func() { // senders without a key in the header take all the room that there is for such
		var held []net.Conn
		for _, room := range []struct{ requests, kib int }{{40, 400}, {8, 200}, {8, 50}, {8, 10}, {8, 1}} {
			for range room.requests {
				conn, err := b.torn("", room.kib<<10)
				if err != nil {
					t.Errorf("hold a request: %v", err)
					return
				}
				held = append(held, conn)
			}
		}
		for end := time.Now().Add(time.Minute); b.router.Tally().Requests.Dropped["overloaded"] == 0 && time.Now().Before(end); {
			if err := b.post("", "/v1/events", batchOf(eventOf("a", ""))); err != nil {
				t.Errorf("overload: %v", err)
				break
			}
		}
		for _, conn := range held {
			_ = conn.Close()
		}
	})

	done := make(chan struct{})
	looks := 0
	looking.Go(func() {
		for {
			s, err := client.Status(context.Background())
			if err == nil {
				err = adds(s)
			}
			if err != nil {
				t.Errorf("look %d: %v", looks, err)
				return
			}
			looks++
			select {
			case <-done:
				return
			default:
			}
		}
	})
	working.Wait()
	close(done)
	looking.Wait()

	failing.Store(false)
	eventually(t, func() bool {
		tally := b.router.Tally()
		return tally.Requests.InFlight == 0 && tally.Events.InFlight == 0
	}, "nothing is in flight")
	s := b.Status()
	if err := adds(s); err != nil {
		t.Error(err)
	}
	for _, reason := range []string{"malformed", "unauthorized", "rate_limited", "too_large", "overloaded"} {
		if s.Ledger.Requests.Dropped[reason] == 0 {
			t.Errorf("no request was dropped as %s: %+v", reason, s.Ledger.Requests)
		}
	}
	for _, reason := range []string{"invalid", "privacy", "duplicate", "storage"} {
		if s.Ledger.Events.Dropped[reason] == 0 {
			t.Errorf("no event was dropped as %s: %+v", reason, s.Ledger.Events)
		}
	}
	if s.Ledger.Events.Accepted != s.Log.DurableSeq {
		t.Errorf("%d accepted, the log has %d", s.Ledger.Events.Accepted, s.Log.DurableSeq)
	}
	t.Logf("%d looks; %+v; %+v; %+v", looks, s.Ledger.Requests, s.Ledger.Events, s.Cursors)
	before := s.Ledger
	stop()

	b.open(t)
	defer b.run(t)()
	if after := b.Status(); adds(after) != nil || after.Ledger.Requests.Received != before.Requests.Received || after.Ledger.Uncertain != 0 {
		t.Errorf("after the restart: %v, %+v; before: %+v", adds(after), after.Ledger, before)
	}
}

// TestMiscountedLedgerRaisesTheAlarm breaks counters of the front door, of a
// project and of a cursor.
func TestMiscountedLedgerRaisesTheAlarm(t *testing.T) {
	b := openBooks(t, "")
	alarmed := func(want string) {
		t.Helper()
		b.health.look(time.Now())
		holds(t, checkNamed(t, b.Checks(), "ledger"), true, "does not balance", want)
		s := b.Status()
		if s.Ledger.Balanced || adds(s) == nil {
			t.Errorf("status takes the ledger as balanced: %+v", s.Ledger)
		}
	}
	if err := adds(b.Status()); err != nil {
		t.Fatal(err)
	}
	b.router.Restore(router.Tally{Requests: router.Requests{Received: 1}})
	alarmed("requests +1")
	b.router.Restore(router.Tally{Requests: router.Requests{Dropped: map[string]uint64{"malformed": 1}},
		Projects: map[string]router.ProjectTally{"shop": {Requests: router.Requests{Dropped: map[string]uint64{"malformed": 1}}}}})
	if err := adds(b.Status()); err != nil {
		t.Fatalf("both sides are there: %v", err)
	}
	b.router.Restore(router.Tally{Projects: map[string]router.ProjectTally{"shop": {Events: router.Events{Accepted: 2}}}})
	alarmed(`project "shop" -2`)
	b.shut(t)

	// A cursor that counts a delivery too much; the counts above were not saved.
	store, err := state.Open(filepath.Join(b.cfg.Node.DataDir, "state"), state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const cursor = "cursor/archive"
	position := map[string]any{}
	if found, err := store.LoadJSON(cursor, &position); err != nil || !found {
		t.Fatalf("the cursor's position: %v, %v", found, err)
	}
	position["shipped"] = 1
	if err := errors.Join(store.SaveJSON(cursor, position), store.Close()); err != nil {
		t.Fatal(err)
	}
	b.open(t)
	defer b.shut(t)
	alarmed("cursor archive accounts for 1 of 0 seqs")
}

func (b *books) shut(t *testing.T) {
	t.Helper()
	if err := b.Node.Close(); err != nil {
		t.Error(err)
	}
}

// eventually polls until the condition holds.
func eventually(t *testing.T, condition func() bool, what string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); !condition(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}
