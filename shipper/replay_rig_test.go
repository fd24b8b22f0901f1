package shipper_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"forebay/shipper"
	"forebay/shipper/shippertest"
	"forebay/wal"
	"forebay/wal/record"
)

// bench is a log with a live cursor "test" and replays beside it.
type bench struct {
	*shippertest.Rig
	tb      testing.TB
	fails   failer // whose test it is: tb, or rapid's
	live    *shippertest.Recorder
	target  *shippertest.Recorder
	cursors *shipper.Cursors
	replays *shipper.Replays
	stop    func()
}

// failer is what a test of either kind ends with.
type failer interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

func newBench(tb testing.TB, rig *shippertest.Rig) *bench {
	return &bench{Rig: rig, tb: tb, fails: tb, live: &shippertest.Recorder{}, target: &shippertest.Recorder{}, stop: func() {}}
}

// start runs all of it, as a node that begins.
func (b *bench) start() {
	b.fails.Helper()
	var err error
	if b.cursors, err = shipper.NewCursors(shipper.Options{Log: b.Log, State: b.State}); err != nil {
		b.fails.Fatal(err)
	}
	if _, err = b.cursors.Add("test", b.live, small); err != nil {
		b.fails.Fatal(err)
	}
	b.replays, err = shipper.NewReplays(b.cursors, shipper.ReplayOptions{
		Open: func(d shipper.Destination) (shipper.Sink, shipper.Flush, error) {
			if d.Into == "nowhere" {
				return nil, shipper.Flush{}, errors.New("nobody is there")
			}
			return b.target, small, nil
		},
		Live: func(d shipper.Destination) string {
			if d.Into == "same" {
				return "test"
			}
			return ""
		},
		TypeOf:   typeOf,
		Reserved: []string{"test"},
	})
	if err != nil {
		b.fails.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { b.cursors.Run(ctx) })
	running.Go(func() { b.replays.Run(ctx) })
	b.stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	b.tb.Cleanup(b.stop)
	b.until("a replay may be begun", func() bool {
		_, err := b.replays.Start(ann, shipper.ReplaySpec{Destination: shipper.Destination{Into: "nowhere"}, First: 1})
		return err == nil || !strings.Contains(err.Error(), "stopped")
	})
}

func (b *bench) restart() {
	b.fails.Helper()
	b.stop()
	b.start()
}

func (b *bench) until(what string, cond func() bool) {
	b.fails.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); !cond(); <-tick.C {
		if time.Now().After(end) {
			all, err := b.replays.All()
			b.fails.Fatalf("waited in vain until %s: %+v, %v; the live cursor has delivered %v and stands at %+v", what, all, err,
				seqs(b.live.Delivered()), b.cursors.Get("test").Status())
		}
	}
}

func (b *bench) begin(spec shipper.ReplaySpec) string {
	b.fails.Helper()
	if spec.Into == "" {
		spec.Into = "elsewhere"
	}
	r, err := b.replays.Start(ann, spec)
	if err != nil {
		b.fails.Fatal(err)
	}
	return r.Name
}

func (b *bench) get(name string) shipper.Replay {
	b.fails.Helper()
	r, err := b.replays.Get(name)
	if err != nil {
		b.fails.Fatal(err)
	}
	return r
}

func (b *bench) ended(name string) shipper.Replay {
	b.fails.Helper()
	b.until(name+" has ended", func() bool { r := b.get(name); return r.Over() })
	return b.get(name)
}

// add stores events, each "project session type", as one block a request.
func (b *bench) add(events ...string) {
	b.fails.Helper()
	for _, e := range events {
		f := strings.Fields(e)
		batch := record.Batch{Project: f[0], Events: []record.Event{{Session: f[1], Raw: []byte(f[2])}}}
		if _, err := b.Log.Append(context.Background(), wal.Entry{Data: record.Append(nil, &batch), Events: 1}); err != nil {
			b.fails.Fatal(err)
		}
	}
}

// typeOf: the events of these tests are their type.
func typeOf(raw []byte) string { return string(raw) }
