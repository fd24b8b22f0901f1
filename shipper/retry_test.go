package shipper_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"forebay/shipper"
	"forebay/shipper/shippertest"
)

// TestRetryEndsARest: a sink that fails rests for longer and longer; the status
// says when the next try is, and a retry is that try. An error that is over says
// when it ended.
func TestRetryEndsARest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig := shippertest.NewRig(t)
		tries := 0
		broken := true
		record := &shippertest.Recorder{}
		ship := rig.Start(shipFunc(func(ctx context.Context, feed *shipper.Feed) error {
			if tries++; broken {
				feed.Report(errors.New("the view is broken"))
				if err := feed.Rest(ctx, time.Hour); err != nil {
					return err
				}
			}
			return record.Ship(ctx, feed)
		}), small, shipper.Options{})
		rig.Append("p", "a", 4)
		synctest.Wait()
		s := ship.Status()
		if s.State != shipper.Failing || s.NextTry.Sub(s.ErrorSince) != time.Hour || !s.ErrorEnded.IsZero() ||
			!strings.Contains(s.Advice, s.NextTry.Format(time.RFC3339)) || !strings.Contains(s.Advice, "forebay cursor retry test") {
			t.Errorf("in the rest: %+v", s)
		}
		broken = false
		before := time.Now()
		if err := ship.Retry(ctx, ann); err != nil {
			t.Fatal(err)
		}
		ship.WaitDone()
		if s := ship.Status(); s.State != shipper.Running || s.ErrorEnded.Before(before) || time.Since(before) > time.Minute ||
			s.LastError == "" || !s.NextTry.IsZero() || s.Advice != "" {
			t.Errorf("after it: %+v", s)
		}
		was := tries
		if err := ship.Retry(ctx, ann); err != nil || tries != was {
			t.Errorf("a retry of what needs none: %d tries, then %d; %v", was, tries, err)
		}
		wantTrail(t, ship.Cursors, "retry")
	})
}

// TestPausesSayWhoEndsThem: a pause that the cursor took itself says whether it
// asks, and one remedy; a retry ends it. An operator's says whose it is.
func TestPausesSayWhoEndsThem(t *testing.T) {
	for name, probe := range map[string]func(context.Context) error{
		"asks": func(context.Context) error { return io.ErrUnexpectedEOF }, "waits": nil,
	} {
		t.Run(name, func(t *testing.T) {
			rig := shippertest.NewRig(t)
			entered := make(chan struct{}, 1)
			healed := false
			ship := rig.Start(shipFunc(func(ctx context.Context, _ *shipper.Feed) error {
				if healed {
					entered <- struct{}{}
					<-ctx.Done()
					return ctx.Err()
				}
				return &shipper.PauseError{Reason: "the token is wrong: mend it", Probe: probe}
			}), small, shipper.Options{})
			ship.WaitFor("it pauses itself", func() bool { return ship.Status().State == shipper.Paused })
			ship.WaitFor("the next question is told", func() bool { return ship.Status().NextTry.IsZero() == (probe == nil) })
			s := ship.Status()
			want := map[bool]string{true: "goes on by itself, at once with forebay cursor retry test", false: "then forebay cursor resume test"}[probe != nil]
			if s.Pause.Asks != (probe != nil) || !strings.Contains(s.Advice, want) {
				t.Errorf("%+v, %q", s.Pause, s.Advice)
			}
			healed = true
			if err := ship.Retry(ctx, ann); err != nil {
				t.Fatal(err)
			}
			<-entered
			pause(t, ship)
			if s := ship.Status(); s.Advice != "forebay cursor resume test lets it go on" || s.LastError != "" {
				t.Errorf("%+v", s)
			}
			if err := ship.Retry(ctx, ann); !errors.Is(err, shipper.ErrRefused) {
				t.Errorf("a retry of what ann has paused: %v", err)
			}
			healed = true
			resume(t, ship)
			<-entered
		})
	}
}
