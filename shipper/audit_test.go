package shipper_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"forebay/shipper"
	"forebay/shipper/shippertest"
)

// shelf is a destination that can be looked into: what is on it is what was
// delivered, until a test takes something away.
type shelf struct {
	mu   sync.Mutex
	has  map[uint64]int
	most int                                // events in a question
	keep func(shipper.Event) (string, bool) // refuses, as shippertest.Recorder.Refuse
	down error
	ask  func(ctx context.Context, asked []uint64)

	keeps time.Duration // of an event; 0: for ever
}

func newShelf() *shelf { return &shelf{has: map[uint64]int{}, most: 4} }

func (s *shelf) Ship(ctx context.Context, feed *shipper.Feed) error {
	return (&shippertest.Recorder{Refuse: s.keep, Before: func(_ *shipper.Feed, b *shipper.Batch) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, e := range b.Events {
			if s.keep == nil {
				s.has[e.Seq]++
			} else if _, refused := s.keep(e); !refused {
				s.has[e.Seq]++
			}
		}
		return nil
	}}).Ship(ctx, feed)
}

func (s *shelf) Reach(context.Context) (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keeps > 0 {
		return time.Now().Add(-s.keeps), s.down
	}
	return time.Time{}, s.down
}

func (s *shelf) Begin() shipper.Question { return &shelfQuestion{shelf: s} }

func (s *shelf) set(count int, seqs ...uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seq := range seqs {
		s.has[seq] = count
	}
}

func (s *shelf) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = err
}

type shelfQuestion struct {
	shelf *shelf
	seqs  []uint64
}

func (q *shelfQuestion) Take(e shipper.Event) bool {
	if len(q.seqs) == q.shelf.most {
		return false
	}
	q.seqs = append(q.seqs, e.Seq)
	return true
}

func (q *shelfQuestion) Ask(ctx context.Context) (f shipper.Findings, err error) {
	s := q.shelf
	s.mu.Lock()
	ask := s.ask
	s.mu.Unlock()
	if ask != nil {
		ask(ctx, q.seqs)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seq := range q.seqs {
		r := shipper.Range{First: seq, Last: seq}
		switch n := s.has[seq]; {
		case n == 0:
			f.Missing = append(f.Missing, r)
		case n > 1:
			f.Doubles = append(f.Doubles, r)
		}
	}
	return f, errors.Join(s.down, ctx.Err())
}

// audits are those of a rig's cursor, with a destination that is the shelf.
func (s *shelf) audits(t *testing.T, ship *shippertest.Ship, every time.Duration) *shipper.Audits {
	t.Helper()
	a, err := shipper.NewAudits(shipper.AuditOptions{Cursors: ship.Cursors, Watch: every, Open: func(string) (shipper.AuditTarget, error) {
		return shipper.AuditTarget{Prover: s, Healer: s, Flush: small}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// audited waits for the end of an audit.
func audited(t *testing.T, ship *shippertest.Ship, a *shipper.Audits, r shipper.AuditRequest) (report shipper.AuditReport) {
	t.Helper()
	if _, err := a.Start(ann, r); err != nil {
		t.Fatal(err)
	}
	ship.WaitFor("the audit ends", func() bool {
		report, _ = a.Report()
		return report.State != shipper.AuditRunning
	})
	return report
}

var testAudit = shipper.AuditRequest{Cursor: "test"}

// TestAuditAsksForWhatIsShipped and for nothing that the cursor accounts for as
// something else.
func TestAuditAsksForWhatIsShipped(t *testing.T) {
	rig, s := shippertest.NewRig(t), newShelf()
	var bad atomic.Bool
	bad.Store(true)
	sink := &shippertest.Recorder{Refuse: refusing(&bad, 2, 5), Before: func(_ *shipper.Feed, b *shipper.Batch) error {
		for _, e := range b.Events {
			s.set(1, e.Seq)
		}
		return nil
	}}
	rig.Append("p", "a", 10)
	ship := rig.Start(sink, small, shipper.Options{})
	ship.WaitDone()
	pause(t, ship)
	if n, err := ship.Discard(ann, shipper.DeadFilter{Seqs: []uint64{5}}); err != nil || n != 1 {
		t.Fatalf("discard: %d, %v", n, err)
	}
	rig.Append("p", "a", 10)
	if _, err := ship.SkipTo(ctx, ann, 16); err != nil {
		t.Fatal(err)
	}
	a := s.audits(t, ship, 0)
	defer a.Close()
	s.set(0, 2, 5, 7) // of these only 7 should be there
	s.set(2, 9)
	got := audited(t, ship, a, testAudit)
	if got.State != shipper.AuditDone || got.From != 1 || got.To != 15 || got.Compared != 8 ||
		got.Excepted != (shipper.Excepted{Dead: 1, Discarded: 1, Skipped: 5}) ||
		!reflect.DeepEqual(got.Holes, []shipper.Range{{First: 7, Last: 7}}) || !reflect.DeepEqual(got.Double, []shipper.Range{{First: 9, Last: 9}}) {
		t.Errorf("report: %+v", got)
	}
	for _, r := range []shipper.AuditRequest{{Cursor: "test", To: 16}, {Cursor: "test", From: 12, To: 10}, {Cursor: "nosuch"}} {
		if _, err := a.Start(ann, r); !errors.Is(err, shipper.ErrRefused) {
			t.Errorf("%+v: %v, want it refused", r, err)
		}
	}

	// Healed: there again once, with a trace in the audit trail and none in the account.
	before := ship.Status().Account
	got = audited(t, ship, a, shipper.AuditRequest{Cursor: "test", Fill: true})
	if got.Missing != 0 || got.Healed != 1 || !reflect.DeepEqual(got.Filled, []shipper.Range{{First: 7, Last: 7}}) {
		t.Errorf("filled: %+v", got)
	}
	if after := ship.Status().Account; after != before {
		t.Errorf("the account has changed: %+v, before %+v", after, before)
	}
	if s.has[7] != 1 {
		t.Errorf("seq 7 is there %d times", s.has[7])
	}
	s.set(0, 3, 4)
	s.keep = func(e shipper.Event) (string, bool) { return "no such column", e.Seq == 4 }
	got = audited(t, ship, a, shipper.AuditRequest{Cursor: "test", Fill: true})
	if got.Healed != 1 || !reflect.DeepEqual(got.Holes, []shipper.Range{{First: 4, Last: 4}}) || !reflect.DeepEqual(got.Refused, []shipper.Refusal{{Seq: 4, Reason: "no such column"}}) {
		t.Errorf("one is refused: %+v", got)
	}
	if after := ship.Status(); after.Account != before || after.Dead != 1 {
		t.Errorf("a refused event has changed the cursor: %+v", after)
	}
	var verbs []string
	if err := ship.Cursors.Trail(func(e shipper.TrailEntry) error { verbs = append(verbs, e.Verb); return nil }); err != nil || !slices.Contains(verbs, "fill") {
		t.Errorf("the trail: %v, %v", verbs, err)
	}
}

// TestAuditSkipsWhatIsSetAsideMeanwhile: an event that becomes a dead letter
// while the destination is asked is not missed.
func TestAuditSkipsWhatIsSetAsideMeanwhile(t *testing.T) {
	rig, s := shippertest.NewRig(t), newShelf()
	var bad atomic.Bool
	sink := &shippertest.Recorder{Refuse: refusing(&bad, 2)}
	rig.Append("p", "a", 3)
	ship := rig.Start(sink, small, shipper.Options{})
	ship.WaitDone()
	a := s.audits(t, ship, 0)
	defer a.Close()
	s.set(1, 1) // and neither 2 nor 3
	s.ask = func(context.Context, []uint64) {
		bad.Store(true)
		if _, err := ship.Rewind(ctx, ann, 1); err != nil {
			t.Error(err)
		}
		ship.WaitDone()
	}
	got := audited(t, ship, a, testAudit)
	if got.State != shipper.AuditDone || !reflect.DeepEqual(got.Holes, []shipper.Range{{First: 3, Last: 3}}) {
		t.Fatalf("missing: %+v", got)
	}
}

// TestAuditGoesOnAfterRestart behind what it has compared, and one runs at a
// time.
func TestAuditGoesOnAfterRestart(t *testing.T) {
	rig, s := shippertest.NewRig(t), newShelf()
	rig.Append("p", "a", 20)
	ship := rig.Start(s, small, shipper.Options{})
	ship.WaitDone()
	reached, goOn := make(chan []uint64), make(chan struct{})
	s.ask = func(ctx context.Context, asked []uint64) {
		select {
		case reached <- asked:
		case <-ctx.Done():
		}
		select {
		case <-goOn:
		case <-ctx.Done():
		}
	}
	s.set(0, 6)
	a := s.audits(t, ship, 0)
	if _, err := a.Start(ann, testAudit); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		<-reached
		goOn <- struct{}{}
	}
	<-reached // the third question is under way
	if _, err := a.Start(ann, testAudit); !errors.Is(err, shipper.ErrBusy) {
		t.Errorf("a second audit: %v, want busy", err)
	}
	a.Close()

	var asked []uint64
	s.ask = func(_ context.Context, seqs []uint64) { asked = append(asked, seqs...) }
	ship.Stop()
	ship = rig.Start(s, small, shipper.Options{})
	a = s.audits(t, ship, 0)
	running, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { a.Run(running); close(ended) }()
	var got shipper.AuditReport
	ship.WaitFor("the audit has ended", func() bool { got, _ = a.Report(); return got.State == shipper.AuditDone })
	stop()
	<-ended
	if !slices.Equal(asked, ascending(9, 12)) {
		t.Errorf("after the restart it asked for %v", asked)
	}
	if got.Compared != 20 || !reflect.DeepEqual(got.Holes, []shipper.Range{{First: 6, Last: 6}}) {
		t.Errorf("report: %+v", got)
	}
}

// TestAuditStopsForAnOperator who can have it go on.
func TestAuditStopsForAnOperator(t *testing.T) {
	rig, s := shippertest.NewRig(t), newShelf()
	rig.Append("p", "a", 20)
	ship := rig.Start(s, small, shipper.Options{})
	ship.WaitDone()
	a := s.audits(t, ship, 0)
	defer a.Close()
	if _, err := a.Stop(ann); !errors.Is(err, shipper.ErrRefused) {
		t.Errorf("stop of nothing: %v", err)
	}
	s.fail(errors.New("connection refused")) // it would be tried for minutes
	if _, err := a.Start(ann, testAudit); err != nil {
		t.Fatal(err)
	}
	got, err := a.Stop(ann)
	if err != nil || got.State != shipper.AuditStopped || got.Error != "" {
		t.Errorf("stopped: %+v, %v", got, err)
	}
	s.fail(nil)
	if got, err = a.Resume(); err != nil || got.State != shipper.AuditRunning {
		t.Errorf("resumed: %+v, %v", got, err)
	}
	ship.WaitFor("the audit ends", func() bool { got, _ = a.Report(); return got.State != shipper.AuditRunning })
	if got.State != shipper.AuditDone || got.Compared != 20 {
		t.Errorf("in the end: %+v", got)
	}
	if _, err := a.Resume(); !errors.Is(err, shipper.ErrRefused) {
		t.Errorf("resume of what is done: %v", err)
	}
}

// TestAuditTriesAgain what fails, gives up in the end, and can be resumed; what
// an operator has to mend it does not repeat.
func TestAuditTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig, s := shippertest.NewRig(t), newShelf()
		rig.Append("p", "a", 6)
		ship := rig.Start(s, small, shipper.Options{})
		ship.WaitDone()
		a := s.audits(t, ship, 0)
		defer a.Close()
		s.fail(errors.New("connection refused"))
		if _, err := a.Start(ann, testAudit); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got, _ := a.Report(); got.State != shipper.AuditRunning || !strings.Contains(got.Error, "connection refused") {
			t.Errorf("after a minute of failures: %+v", got)
		}
		time.Sleep(10 * time.Minute)
		if got, _ := a.Report(); got.State != shipper.AuditFailed || !strings.Contains(got.Error, "connection refused") {
			t.Errorf("after ten minutes of failures: %+v", got)
		}
		s.fail(nil)
		if _, err := a.Resume(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got, _ := a.Report(); got.State != shipper.AuditDone || got.Compared != 6 {
			t.Errorf("resumed: %+v", got)
		}
		s.fail(&shipper.PauseError{Reason: "mend the password"})
		if got := audited(t, ship, a, testAudit); got.State != shipper.AuditFailed || got.Error != "mend the password" {
			t.Errorf("for an operator: %+v", got)
		}
		s.fail(fmt.Errorf("no marks: %w", shipper.ErrCannotProve))
		if got := audited(t, ship, a, testAudit); got.State != shipper.AuditNotOffered {
			t.Errorf("not offered: %+v", got)
		}
	})
}
