package shipper

import (
	"context"
	"errors"
	"testing"
	"time"

	"forebay/wal"
	"forebay/wal/record"
)

func TestPauseThatIsLoaded(t *testing.T) {
	now := time.Now()
	p := &Pause{Since: now.Add(-time.Hour), Until: now.Add(time.Hour)}
	for name, c := range map[string]struct {
		at      time.Time
		doubted bool
		want    time.Duration
	}{
		"goes on":              {now, false, time.Hour},
		"has ended":            {now.Add(2 * time.Hour), false, -time.Hour},
		"a clock of 1970":      {time.Unix(0, 0), false, 2 * time.Hour},
		"a doubted clock":      {now.Add(400 * time.Hour), true, 2 * time.Hour},
		"a clock a bit behind": {now.Add(-30 * time.Minute), false, 90 * time.Minute},
	} {
		if left := p.loaded(c.at, c.doubted).Until.Sub(c.at); left != c.want {
			t.Errorf("%s: %s left, want %s", name, left, c.want)
		}
	}
	if (*Pause)(nil).loaded(now, true) != nil || !(&Pause{}).loaded(now, true).Until.IsZero() {
		t.Error("a pause without an end has got one")
	}
}

// forgetful is a destination that has nothing, and may have forgotten what came before since.
type forgetful struct{ asked int }

func (f *forgetful) Reach(context.Context) (time.Time, error)      { return time.Time{}, nil }
func (f *forgetful) Begin() Question                               { return f }
func (f *forgetful) Take(Event) bool                               { f.asked++; return true }
func (f *forgetful) Ask(context.Context) (found Findings, e error) { return found, nil }

// TestAuditAsksForWhatTheNodeStampedWrongly: an event whose time is long ago because the
// clock was behind is not too old; one that came long ago is.
func TestAuditAsksForWhatTheNodeStampedWrongly(t *testing.T) {
	skew := -40 * 24 * time.Hour
	log, err := wal.Open(wal.Options{
		Dir: t.TempDir(), ReserveBytes: -1, Now: func() time.Time { return time.Now().Add(skew) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	data := record.Append(nil, &record.Batch{Project: "shop", Events: []record.Event{{Session: "s", Raw: []byte(`{}`)}}})
	if _, err := log.Append(t.Context(), wal.Entry{Data: data, Events: 1}); err != nil {
		t.Fatal(err)
	}
	compare := func() (stretch, int) {
		t.Helper()
		prover := &forgetful{}
		s, err := AuditTarget{Prover: prover}.compare(t.Context(), &Cursor{log: log}, time.Now().Add(-24*time.Hour), Range{1, 1})
		if err != nil {
			t.Fatal(err)
		}
		return s, prover.asked
	}
	if s, asked := compare(); s.tooOld != 1 || asked != 0 {
		t.Errorf("40 days old: %d are too old, %d asked for", s.tooOld, asked)
	}
	skew = 0
	if _, err := log.Clock(); err != nil {
		t.Fatal(err)
	}
	if s, asked := compare(); s.tooOld != 0 || asked != 1 {
		t.Errorf("stamped by a clock 40 days behind: %d are too old, %d asked for", s.tooOld, asked)
	}
}

// TestWhatHasNoTimeIsHeldBack: what a doubted clock has stamped goes to no sink that
// delivers times, until the clock is set.
func TestWhatHasNoTimeIsHeldBack(t *testing.T) {
	skew := -time.Hour
	log, err := wal.Open(wal.Options{
		Dir: t.TempDir(), ReserveBytes: -1, Built: time.Now(), Now: func() time.Time { return time.Now().Add(skew) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	data := record.Append(nil, &record.Batch{Project: "shop", Events: []record.Event{{Session: "s", Raw: []byte(`{}`)}}})
	if _, err := log.Append(t.Context(), wal.Entry{Data: data, Events: 1}); err != nil {
		t.Fatal(err)
	}
	next := func(sink Sink) (*Batch, error) {
		c := &Cursor{log: log, sink: sink, flush: Flush{Rows: 1, Bytes: 1}}
		feed := newFeed(c, position{Next: 1}, -1)
		defer feed.close()
		return feed.Next(t.Context())
	}
	if _, err := next(plainSink{}); err != nil {
		t.Errorf("a sink that delivers no times: %v", err)
	}
	_, err = next(datedSink{})
	var pause *PauseError
	if !errors.As(err, &pause) || pause.Probe(t.Context()) == nil {
		t.Fatalf("a sink that delivers times got it: %v", err)
	}
	skew = time.Hour + time.Second
	if _, err := log.Clock(); err != nil {
		t.Fatal(err)
	}
	if err := pause.Probe(t.Context()); err != nil {
		t.Errorf("the clock was set: %v", err)
	}
	b, err := next(datedSink{})
	if err != nil || time.Until(b.Events[0].ReceivedAt).Abs() > 2*time.Hour {
		t.Errorf("the clock was set: %+v, %v", b, err)
	}
}

type plainSink struct{}

func (plainSink) Ship(context.Context, *Feed) error { return nil }

type datedSink struct{ plainSink }

func (datedSink) Dated() {}
