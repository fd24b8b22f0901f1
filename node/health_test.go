package node

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"forebay/node/admin"
	"forebay/node/config"
	"forebay/router/auth"
	"forebay/router/auth/file"
	"forebay/shipper"
	"forebay/shipper/session"
)

// checkNamed is the node's check of that name as it stands.
func checkNamed(t *testing.T, all []admin.Check, name string) admin.Check {
	t.Helper()
	for _, c := range all {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no check is named %s: %+v", name, all)
	return admin.Check{}
}

// holds fails the test unless the check is not in order, with every text in
// its reason, a remedy, and readiness as told.
func holds(t *testing.T, c admin.Check, ready bool, texts ...string) {
	t.Helper()
	if c.OK || c.Remedy == "" || c.Ready != ready {
		t.Errorf("check %+v: want not in order, with a remedy, ready %v", c, ready)
	}
	for _, text := range texts {
		if !strings.Contains(c.Reason, text) {
			t.Errorf("check %s says %q, want %q in it", c.Name, c.Reason, text)
		}
	}
}

func TestStuckCursorIsToldFromAnIdleOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStuckWatch(func(cursor string) time.Duration { return map[string]time.Duration{"archive": time.Hour}[cursor] })
		begun := time.Now()
		for _, name := range []string{"moves", "idle", "failing", "paused", "parked", "stands", "archive"} {
			w.since(shipper.Status{Name: name, NextSeq: 7, LagEvents: 3, State: shipper.Running}, begun)
		}
		time.Sleep(stuckAfter)
		for name, s := range map[string]shipper.Status{
			"moves":   {NextSeq: 8, LagEvents: 3, State: shipper.Running},
			"idle":    {NextSeq: 7, State: shipper.Running},
			"failing": {NextSeq: 7, LagEvents: 3, State: shipper.Failing},
			"paused":  {NextSeq: 7, LagEvents: 3, State: shipper.Paused},
			"parked":  {NextSeq: 7, LagEvents: 3, State: shipper.Running, Parked: &shipper.Parked{Sessions: 1, Events: 3}}, // they alone wait
			"archive": {NextSeq: 7, LagEvents: 3, State: shipper.Running},                                                  // its file may fill for an hour
		} {
			s.Name = name
			if since := w.since(s, time.Now()); !since.IsZero() {
				t.Errorf("%s is taken as stuck since %s", name, since)
			}
		}
		stands := shipper.Status{Name: "stands", NextSeq: 7, LagEvents: 3, State: shipper.Running}
		if since := w.since(stands, time.Now()); !since.Equal(begun) {
			t.Errorf("the cursor that stands is stuck since %s, want %s", since, begun)
		}
		time.Sleep(time.Hour)
		if since := w.since(shipper.Status{Name: "archive", NextSeq: 7, LagEvents: 3, State: shipper.Running}, time.Now()); since.IsZero() {
			t.Error("a file that does not fill within its age and more is not taken as stuck")
		}
		stands.Epoch++ // a rewind to the same place is a new beginning
		if since := w.since(stands, time.Now()); !since.IsZero() {
			t.Error("a cursor that was just moved is taken as stuck")
		}
	})
}

func TestStuckCursorNamesItsCause(t *testing.T) {
	now := time.Now()
	for want, s := range map[string]shipper.Status{
		"seq 5 to 9, attempt 2":     {Plan: &shipper.Plan{First: 5, Last: 9, Attempts: 2, At: now}},
		"nothing is in flight":      {},
		"as down":                   {Sink: session.Stats{Down: true, DownSince: now}},
		"3 requests":                {Sink: session.Stats{InFlight: 3}},
		"session a of project shop": {Sink: session.Stats{ParkedCount: 1, Parked: []session.Parked{{Project: "shop", Session: "a", Cause: "500"}}}},
	} {
		if got := whyStuck(s); !strings.Contains(got, want) {
			t.Errorf("%+v: %q, want %q in it", s, got, want)
		}
	}
}

func TestSlowDiskIsHeldAgainstItsOwnPast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s syncTimes
		minutes := func(n int, took time.Duration) string { // a sync each second
			for range n * 60 {
				time.Sleep(time.Second)
				s.add(time.Now(), took)
			}
			return s.slow(time.Now())
		}
		if why := minutes(10, 300*time.Millisecond); why != "" {
			t.Errorf("without a past, a slow disk is not known from a slow kind of disk: %s", why)
		}
		s = syncTimes{}
		if why := minutes(60, 5*time.Millisecond); why != "" {
			t.Errorf("a steady disk: %s", why)
		}
		if why := minutes(6, 60*time.Millisecond); why != "" {
			t.Errorf("twelve times slower, yet fast enough for anyone: %s", why)
		}
		if why := minutes(6, 400*time.Millisecond); !strings.Contains(why, "400") && !strings.Contains(why, "before") {
			t.Errorf("eighty times slower than its past: %q", why)
		}
		if why := minutes(24*60, 400*time.Millisecond); why == "" {
			t.Error("a day of slowness has become the rule")
		}
		if why := minutes(6, 5*time.Millisecond); why != "" {
			t.Errorf("fast again: %s", why)
		}
		time.Sleep(time.Hour)
		if why := s.slow(time.Now()); why != "" {
			t.Errorf("idle for an hour: %s", why)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		var s syncTimes
		for range syncFewest {
			time.Sleep(time.Second)
			s.add(time.Now(), 3*time.Second)
		}
		if why := s.slow(time.Now()); !strings.Contains(why, "1s") {
			t.Errorf("syncs of 3 s from the start on: %q", why)
		}
	})
}

func TestHungDiskIsSeenWithoutAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s stall
		s.hungSince(5, 0, time.Now())
		time.Sleep(time.Hour)
		begun := time.Now()
		if since := s.hungSince(5, 0, time.Now()); !since.IsZero() {
			t.Error("an idle log is taken as hung")
		}
		time.Sleep(stallAfter - time.Second)
		if since := s.hungSince(5, 100, time.Now()); !since.IsZero() {
			t.Error("hung too early")
		}
		time.Sleep(time.Second)
		if since := s.hungSince(5, 100, time.Now()); !since.Equal(begun) {
			t.Errorf("hung since %s, want %s", since, begun)
		}
		if since := s.hungSince(6, 100, time.Now()); !since.IsZero() {
			t.Error("a commit came, and the log is still taken as hung")
		}
	})
}

// TestKeysTellTheirStates: never read, none, cached, lost, doubted and old are different states, with a reason and a
// remedy each; only what has been tried is in order.
func TestKeysTellTheirStates(t *testing.T) {
	week := 7 * 24 * time.Hour
	broken := auth.SourceStats{Source: "postgres", LastError: "connection refused"}
	fine := auth.SourceStats{Source: "postgres", Connected: true}
	full := keyState{source: fine, maxStale: week, count: 3, known: true, answered: true, inForce: true, started: time.Hour}
	with := func(change func(*keyState)) keyState { k := full; change(&k); return k }

	if accept, keys := full.accept("accept"), full.check(); !accept.OK || !keys.OK {
		t.Errorf("fresh keys: %+v, %+v", accept, keys)
	}
	never := keyState{source: broken, maxStale: week, started: time.Hour}
	holds(t, never.accept("accept"), false, "never been read", "every request is dropped")
	holds(t, never.check(), false, "never been read", "postgres", "connection refused")
	mute := keyState{source: auth.SourceStats{Source: "postgres"}, started: time.Hour}
	holds(t, mute.check(), false, "never been read", "does not answer")
	for _, start := range []keyState{{source: auth.SourceStats{Source: "postgres"}, started: time.Second},
		{source: auth.SourceStats{Source: "postgres"}, started: time.Second, known: true, count: 3, inForce: true, age: 20 * time.Minute}} {
		holds(t, start.check(), start.known, "postgres")
		if !start.check().Pending || !start.known && !start.accept("accept").Pending {
			t.Errorf("a source that is being asked is judged: %+v", start.check())
		}
	}
	none := with(func(k *keyState) { k.count, k.inForce = 0, false })
	holds(t, none.accept("accept"), true, "answers and has no keys")
	if c := none.check(); !c.OK {
		t.Errorf("a source that answers: %+v", c)
	}
	over := with(func(k *keyState) { k.inForce = false })
	holds(t, over.accept("accept"), true, "all 3 keys are revoked or expired")
	cached := with(func(k *keyState) { k.answered, k.source, k.age = false, broken, time.Hour })
	holds(t, cached.check(), true, "3 cached keys serve", "1h0m0s old", "168h", "not answered since the start", "connection refused")
	lost := with(func(k *keyState) { k.source, k.age = broken, time.Hour })
	holds(t, lost.check(), true, "1h0m0s old", "postgres", "connection refused")
	old := with(func(k *keyState) { k.source, k.age, k.stale = broken, week+time.Hour, true })
	holds(t, old.check(), false, "168h0m0s", "no key is believed", "connection refused")
	holds(t, old.accept("accept"), false, "no key is believed")
	holds(t, with(func(k *keyState) { k.age = time.Hour }).check(), true, "has not answered since")
	doubt := with(func(k *keyState) { k.doubt = &auth.Doubt{Had: 9, Lost: 8} })
	holds(t, doubt.check(), true, "lost 8 of 9 keys")
	partly := with(func(k *keyState) { k.source.LastError = "1 of 4 rows are not used" })
	holds(t, partly.check(), true, "answers, but", "1 of 4 rows")
}

// TestDoctorSaysWhereItDiffersFromTheNode about keys.
func TestDoctorSaysWhereItDiffersFromTheNode(t *testing.T) {
	for name, c := range map[string]struct {
		failed bool
		keys   admin.KeyStatus
		state  string
		want   string
	}{
		"agree":       {false, admin.KeyStatus{Answered: true}, "", ""},
		"agree badly": {true, admin.KeyStatus{LastError: "refused"}, "", ""},
		"bad row":     {false, admin.KeyStatus{Answered: true, LastError: "1 of 4 rows", AgeSeconds: 3}, "", ""},
		"node old":    {true, admin.KeyStatus{Answered: true, Count: 4}, FindingWarn, "the running node has 4 keys"},
		"node blind":  {false, admin.KeyStatus{LastError: "28P01"}, FindingFail, "not by the running node: 28P01"},
		"node lost":   {false, admin.KeyStatus{Answered: true, LastError: "refused", AgeSeconds: 600}, FindingFail, "not by the running node: refused"},
	} {
		got := keysDiffer(c.failed, c.keys)
		if len(got) == 0 && c.state == "" {
			continue
		}
		if len(got) != 1 || got[0].State != c.state || !strings.Contains(got[0].Text, c.want) || got[0].Remedy == "" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// open opens a node that ships to a Session Manager that accepts connections
// and never answers.
func open(t *testing.T) *Node { return openWith(t, Options{}) }

func openWith(t *testing.T, o Options) *Node {
	t.Helper()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	dir := t.TempDir()
	c := config.Dev(dir)
	c.Ingest.Listen, c.Admin.Listen = "127.0.0.1:0", "127.0.0.1:0"
	c.Shippers.Session.URL = "http://" + silent.Addr().String()
	c.Shippers.Archive.Dir = filepath.Join(dir, "archive")
	_, digest := auth.Generate()
	if err := file.NewStore(c.Keys.File.Path).Create(context.Background(), auth.Key{ID: digest.ID(), Digest: digest, Project: "shop"}); err != nil {
		t.Fatal(err)
	}
	n, err := Open(c, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func TestClockJumps(t *testing.T) {
	var skew atomic.Int64
	n := openWith(t, Options{Now: func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }})
	clock := func(ahead time.Duration) admin.Check {
		skew.Store(int64(ahead))
		n.health.look(time.Now())
		return checkNamed(t, n.Checks(), "clock")
	}
	if c := clock(0); !c.OK {
		t.Fatalf("no jump: %+v", c)
	}
	if c := clock(30 * time.Second); !c.OK {
		t.Errorf("what a time server corrects: %+v", c)
	}
	holds(t, clock(20*time.Minute), true, "set by 19m30s")
	if n.believedNow().IsZero() {
		t.Error("a jump of minutes suspends the rules on time")
	}
	holds(t, clock(-48*time.Hour), false, "jumped by -48h20m", "not checked", "until it has stayed there (until ")
	if !n.believedNow().IsZero() {
		t.Error("timestamps are judged by a clock that has just jumped back by days")
	}
	before := checkNamed(t, n.Checks(), "clock").Since
	if after := clock(-48 * time.Hour); !after.Since.Equal(before) {
		t.Errorf("not in order since %s, then since %s", before, after.Since)
	}
	holds(t, clock(20*time.Minute), true, "set by 19m30s")
	holds(t, clock(5*time.Hour), true, "set by 4h40m0s")
	if now := n.believedNow(); time.Until(now) < 4*time.Hour {
		t.Errorf("a clock that was set ahead is followed at once: it is %s", now)
	}
}

// TestEveryCheckSaysWhatToDo turns each check of a real node that something
// on its machine can turn.
func TestEveryCheckSaysWhatToDo(t *testing.T) {
	n := open(t)
	look := func(name string) admin.Check {
		t.Helper()
		n.health.look(time.Now())
		return checkNamed(t, n.Checks(), name)
	}
	for _, c := range n.Checks() {
		if !c.OK || c.Since.IsZero() {
			t.Errorf("at the start: %+v", c)
		}
	}

	n.disk.publish(diskState{used: 92, budget: 100, share: 0.92})
	holds(t, look("accept"), false, "92 B of 100 B", "will soon drop", "no cursor holds it")
	n.disk.publish(diskState{used: 96, budget: 100, share: 0.96})
	holds(t, look("accept"), false, "drops new events")
	n.disk.publish(diskState{used: 1, budget: 100, share: 0.01, err: errors.New("look at the file system: EIO")})
	holds(t, look("durable"), true, "EIO")
	n.disk.publish(diskState{})

	for range 100 {
		n.metrics.sync.Observe(2)
		n.syncs.add(time.Now(), 2*time.Second)
	}
	holds(t, look("disk"), true, "over 1s")

	if err := n.cursors.Get("archive").Pause(t.Context(), shipper.Command{By: "ann", Why: "deploy"}, 0); err != nil {
		t.Fatal(err)
	}
	holds(t, look("ship"), true, "cursor archive is paused by ann: deploy")

	if err := n.keys.Replace(nil); err != nil {
		t.Fatal(err)
	}
	holds(t, look("accept"), true, "has no keys")
	if !n.Alive() {
		t.Error("a node whose checks were just made is not alive")
	}
}

// TestOneRemedyForEachState: the checks name the cursor and one way out, and tell
// sessions that fail for themselves from a cursor that fails.
func TestOneRemedyForEachState(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		status       shipper.Status
		ship, parked string // remedies; "": in order
	}{
		"runs":    {status: shipper.Status{State: shipper.Running}},
		"fails":   {status: shipper.Status{State: shipper.Failing, LastError: "no route"}, ship: "forebay cursor retry session"},
		"ann":     {status: shipper.Status{State: shipper.Paused, Pause: &shipper.Pause{By: "ann", Reason: "deploy"}}, ship: "forebay cursor resume session"},
		"itself":  {status: shipper.Status{State: shipper.Paused, Pause: &shipper.Pause{By: "forebay", Asks: true}}, ship: "goes on by itself"},
		"for now": {status: shipper.Status{State: shipper.Running, Parked: &shipper.Parked{Sessions: 1, Events: 3, Since: now}}},
		"parked": {
			status: shipper.Status{State: shipper.Running, Parked: &shipper.Parked{Sessions: 1, Events: 3, Since: now.Add(-time.Hour), Cause: "500"}},
			parked: "forebay cursor retry session",
		},
	} {
		c.status.Name = "session"
		h := &health{}
		all := []shipper.Status{c.status}
		if got := h.ship(all); got.OK != (c.ship == "") || !strings.Contains(got.Remedy, c.ship) || strings.Contains(got.Remedy, "NAME") {
			t.Errorf("%s: ship is %+v, want %q", name, got, c.ship)
		}
		if got := h.parked(all, now); got.OK != (c.parked == "") || !got.Ready || !strings.Contains(got.Remedy, c.parked) {
			t.Errorf("%s: parked is %+v, want %q", name, got, c.parked)
		}
	}
}
