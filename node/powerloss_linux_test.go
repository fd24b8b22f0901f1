package node_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"forebay/node/admin"
	"forebay/node/config"
	"forebay/node/nodetest"
	"forebay/shipper/session/receiver"
	"forebay/wal/seedtest"
	"forebay/wal/waltest"
)

// promises are what a node has promised up to one moment.
type promises struct {
	accepted map[uint64]string // seq -> session, by receipts
	taken    map[uint64]bool   // seqs that the Session Manager has
	epoch    uint64            // of the last move of the cursor that was answered
	paused   string            // "paused" or "running", by the last command that was answered; "": one is under way
}

// outage is a moment at which power may be lost: what is on the disk then, and what was promised by then.
type outage struct {
	dir      string
	change   int
	promised promises
}

// loser is a node on a disk that may lose power, and those who use it.
type loser struct {
	t    *testing.T
	node *nodetest.Node
	key  string

	mu  sync.Mutex
	now promises
}

// TestPowerLossAtAnyMoment lets a node start, append, roll, retain, pause, rewind and start again on a disk that notes each operation, and
// takes what would be left if power were lost behind it: what was synced, and of the rest a part that the seed draws.
// Each such directory is opened by a node, log and state together. It holds every accepted event that was not deleted
// by retention, its cursor has passed nothing that was not delivered and knows every command that was answered, and new
// events get new seqs.
func TestPowerLossAtAnyMoment(t *testing.T) {
	t.Parallel()
	rounds, share, seed := 6, 0.06, seedtest.Of(t)
	if os.Getenv("FOREBAY_TORTURE") != "" {
		rounds, share = 40, 1
	}
	disk := waltest.Mount(t)
	l := &loser{t: t, now: promises{accepted: map[uint64]string{}, taken: map[uint64]bool{}, paused: "running"}}
	sessions, err := receiver.New(receiver.Options{Taken: func(d receiver.Delivery) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, seq := range d.Seqs {
			l.now.taken[seq] = true
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sessions)
	defer server.Close()
	c := l.config(server.URL)
	c.Node.DataDir = filepath.Join(disk.Dir(), "data")
	l.key = nodetest.Key(t, c)

	var outages []outage
	changes := 0
	disk.OnChange(t, func(n int, crash func(*rand.Rand) string) {
		changes = n
		random := rand.New(rand.NewPCG(seed, uint64(n)))
		if random.Float64() >= share {
			return
		}
		if random.IntN(4) == 0 {
			random = nil // nothing but what was synced
		}
		outages = append(outages, outage{dir: crash(random), change: n, promised: l.promised()})
	})
	for life := range uint64(2) {
		l.node = nodetest.Run(t, c)
		l.work(rand.New(rand.NewPCG(seed, life)), rounds/2)
		l.node.Stop()
	}
	disk.OnChange(t, nil)

	if len(outages) == 0 {
		t.Error("power was never lost")
	}
	t.Logf("%d events accepted, %d operations on the disk, power lost behind %d of them", len(l.now.accepted), changes, len(outages))
	for _, o := range outages {
		if ok := t.Run(fmt.Sprintf("operation %d", o.change), func(t *testing.T) { o.check(t, c, l.key) }); !ok {
			t.Fatal("the seed that is logged above repeats it")
		}
		if err := os.RemoveAll(o.dir); err != nil {
			t.Fatal(err)
		}
	}
}

// config is a node with small segments that keeps little of what was shipped.
func (l *loser) config(url string) config.Config {
	c := nodetest.Config(l.t)
	c.WAL.SegmentBytes = 16 << 10
	c.WAL.Compression = "none"
	c.WAL.Retain.Bytes = 48 << 10
	c.Shippers.Archive.Enabled = false
	c.Shippers.Session.Enabled = true
	c.Shippers.Session.URL = url
	return c
}

// promised is a copy of what holds now.
func (l *loser) promised() promises {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.now
	p.accepted, p.taken = maps.Clone(p.accepted), maps.Clone(p.taken)
	return p
}

// work posts events and moves the cursor in rounds. Retention runs by itself, once a second.
func (l *loser) work(random *rand.Rand, rounds int) {
	for round := range rounds {
		var clients sync.WaitGroup
		for i := range 3 {
			clients.Go(func() { l.post(fmt.Sprintf("s-%d-%d", round, i), 5) })
		}
		clients.Wait()
		switch random.IntN(3) {
		case 0:
			l.command("paused", func(ctx context.Context) (uint64, error) {
				s, err := l.node.Admin.Pause(ctx, "session", admin.PauseRequest{})
				return s.Epoch, err
			})
			l.post("while paused", 3)
		case 1:
			// It goes to something kept that the cursor has passed, if there is any.
			s := l.node.Status()
			share, passed := random.Float64(), s.Cursors[0].NextSeq-1
			if passed < s.Log.FirstSeq {
				continue
			}
			to := s.Log.FirstSeq + uint64(share*float64(passed-s.Log.FirstSeq))
			l.command("", func(ctx context.Context) (uint64, error) {
				r, err := l.node.Admin.Rewind(ctx, "session", admin.RewindRequest{ToSeq: to, Apply: true})
				if err != nil && l.node.Status().Log.FirstSeq > to {
					return 0, nil // retention was faster
				}
				return r.Epoch, err
			})
		}
		l.command("running", func(ctx context.Context) (uint64, error) {
			s, err := l.node.Admin.Resume(ctx, "session", admin.Command{})
			return s.Epoch, err
		})
		nodetest.Eventually(l.t, time.Minute, func() bool {
			s := l.node.Status()
			return s.Cursors[0].NextSeq > s.Log.DurableSeq
		}, "the cursor has come to the end")
	}
	nodetest.Eventually(l.t, time.Minute, func() bool { return l.node.Status().Log.FirstSeq > 1 }, "retention deletes a segment")
}

// post sends events of one session, some of which fill a page, and notes their receipts.
func (l *loser) post(session string, events int) {
	var bodies []string
	for range events {
		bodies = append(bodies, nodetest.Event(session, fmt.Sprintf(`,"metadata":{"padding":%q}`, strings.Repeat("x", 1500))))
	}
	status, body := l.node.Post(l.key, bodies...)
	var receipt struct{ Events []struct{ Seq uint64 } }
	if err := json.Unmarshal([]byte(body), &receipt); err != nil || status != 200 || len(receipt.Events) != events {
		l.t.Errorf("post: %d %s", status, body)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range receipt.Events {
		l.now.accepted[e.Seq] = session
	}
}

// command runs a command and notes what it promised when it was answered. paused "" leaves that as it is.
func (l *loser) command(paused string, run func(context.Context) (epoch uint64, err error)) {
	l.mu.Lock()
	was := l.now.paused
	if paused != "" && paused != was {
		l.now.paused = ""
	}
	l.mu.Unlock()
	epoch, err := run(context.Background())
	if err != nil {
		l.t.Error(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now.epoch = max(l.now.epoch, epoch)
	l.now.paused = was
	if paused != "" {
		l.now.paused = paused
	}
}

// check opens what is left.
func (o outage) check(t *testing.T, c config.Config, key string) {
	c.Node.DataDir = filepath.Join(o.dir, "data")
	c.Shippers.Session.URL = "http://127.0.0.1:1" // nobody: the cursor stays where it is
	n := nodetest.Run(t, c)
	s := n.Status()
	found := map[uint64]string{}
	if err := n.Admin.Events(t.Context(), 0, 100_000, func(e admin.Event) error { found[e.Seq] = e.Session; return nil }); err != nil {
		t.Fatal(err)
	}
	for seq, session := range o.promised.accepted {
		if seq >= s.Log.FirstSeq && found[seq] != session {
			t.Errorf("seq %d was accepted for session %q, the log (%d to %d) has %q", seq, session, s.Log.FirstSeq, s.Log.DurableSeq, found[seq])
		}
		if seq < s.Log.FirstSeq && !o.promised.taken[seq] {
			t.Errorf("seq %d is deleted and was not delivered", seq)
		}
	}
	cursor := s.Cursors[0]
	for seq := uint64(1); seq < cursor.NextSeq; seq++ {
		if !o.promised.taken[seq] {
			t.Errorf("the cursor stands at %d, and seq %d was never delivered", cursor.NextSeq, seq)
		}
	}
	if cursor.NextSeq > s.Log.DurableSeq+1 || len(cursor.Lost) > 0 {
		t.Errorf("the cursor stands at %d, the log ends at %d, lost are %v", cursor.NextSeq, s.Log.DurableSeq, cursor.Lost)
	}
	if cursor.Epoch < o.promised.epoch {
		t.Errorf("the cursor's epoch is %d, a command was answered with %d", cursor.Epoch, o.promised.epoch)
	}
	if want := o.promised.paused; want != "" && (cursor.State == "paused") != (want == "paused") {
		t.Errorf("the cursor is %s, the last command left it %s", cursor.State, want)
	}
	status, body := n.Post(key, nodetest.Event("after", ""))
	var receipt struct {
		First uint64 `json:"first_seq"`
	}
	if err := json.Unmarshal([]byte(body), &receipt); err != nil || status != 200 {
		t.Fatalf("post: %d %s", status, body)
	}
	if session, used := o.promised.accepted[receipt.First]; used || receipt.First == 0 {
		t.Errorf("seq %d was given out again, it was that of an event of %q", receipt.First, session)
	}
}
