package shipper_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"forebay/shipper"
	"forebay/shipper/shippertest"
	"forebay/wal"
)

// modelTime bounds how long random commands are tried.
const modelTime = 12 * time.Second

// gate is a recorder that delivers a batch when a test lets it.
type gate struct {
	shippertest.Recorder
	grant chan struct{}

	mu    sync.Mutex
	held  *held
	calls int // of Ship
}

func (g *gate) Ship(ctx context.Context, feed *shipper.Feed) error {
	g.mu.Lock()
	g.calls++
	g.mu.Unlock()
	g.Before = func(_ *shipper.Feed, b *shipper.Batch) error {
		g.set(&held{b.First, b.Last, feed.Fill()})
		select {
		case <-g.grant:
			g.set(nil)
			return nil
		case <-ctx.Done():
			g.set(nil)
			return ctx.Err()
		}
	}
	return g.Recorder.Ship(ctx, feed)
}

func (g *gate) set(h *held) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = h
}

func (g *gate) has(want *held) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held == nil || want == nil {
		return g.held == want
	}
	return *g.held == *want
}

func (g *gate) called() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.calls
}

// open lets the batch go that the sink has.
func (g *gate) open(t *rapid.T) {
	select {
	case g.grant <- struct{}{}:
	case <-time.After(30 * time.Second):
		t.Fatal("the sink does not wait")
	}
}

// operator commands a cursor at random, beside a model of it.
type operator struct {
	*rapid.T
	model *model
	rig   *shippertest.Rig
	sink  *gate
	ship  *shippertest.Ship

	mu      sync.Mutex
	commits int // that the state still takes; negative: all
}

// verbs are the commands that change a cursor at once.
var verbs = []string{"pause", "resume", "rewind", "skip", "undo", "requeue", "discard"}

var errKilled = errors.New("the process is dead")

// TestRandomCommands gives a cursor random commands, stops it, kills it
// between any two commits, and compares it with the model after each: where it
// stands, in which epoch, what has been delivered in which order, what is
// skipped, dead and discarded, and what the audit trail says. In the end
// nothing may be lost.
func TestRandomCommands(t *testing.T) {
	end := time.Now().Add(modelTime)
	rapid.Check(t, func(rt *rapid.T) {
		if os.Getenv("FOREBAY_TORTURE") == "" && time.Now().After(end) {
			return
		}
		var failed any
		ran := t.Run("life", func(t *testing.T) {
			defer func() {
				if failed = recover(); failed != nil {
					t.Logf("failed: %v", failed)
				}
			}()
			newOperator(t, rt).live()
		})
		if failed != nil {
			panic(failed) // rapid fails by panicking, and wants it here
		}
		if !ran {
			rt.Fatal("the cursor hangs")
		}
	})
}

func newOperator(t *testing.T, rt *rapid.T) *operator {
	log, err := wal.Open(wal.Options{Dir: t.TempDir(), ReserveBytes: -1, SyncInterval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	o := &operator{
		T: rt, model: newModel(), commits: -1, sink: &gate{grant: make(chan struct{})},
		rig: &shippertest.Rig{TB: t, Log: log, State: shippertest.NewState()},
	}
	o.sink.Refuse = func(e shipper.Event) (string, bool) { return "bad row", o.refuses(e.Seq) }
	o.rig.State.BeforeCommit = func([]shipper.Write) error {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.commits == 0 {
			return errKilled
		}
		o.commits--
		return nil
	}
	return o
}

func (o *operator) refuses(seq uint64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.model.refuses(seq)
}

func (o *operator) allow(commits int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.commits = commits
}

func (o *operator) cure(sick bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.model.sick = sick
}

func (o *operator) live() {
	o.start()
	actions := map[string]func(){
		"append": o.append, "deliver": o.deliver, "deliver more": o.deliver, "step": o.step, "impatient step": o.impatientStep,
		"restart": o.restart, "kill": o.kill, "stopped node": o.offline, "sick": func() { o.cure(!o.model.sick) },
	}
	for _, verb := range verbs {
		actions[verb] = func() { o.run(verb) }
	}
	names := slices.Sorted(maps.Keys(actions))
	for range rapid.IntRange(1, 40).Draw(o.T, "length") {
		actions[rapid.SampledFrom(names).Draw(o.T, "action")]()
		o.check()
	}
	o.finish()
}

// finish lets everything be delivered.
func (o *operator) finish() {
	o.cure(false)
	o.expect("resume", o.command("resume"))
	o.expect("requeue", func() (error, bool) { return o.change("requeue", shipper.DeadFilter{}) })
	for o.model.held != nil {
		o.deliver()
		o.check()
	}
	if len(o.model.dead) > 0 || o.model.next != o.model.durable+1 {
		o.Fatalf("in the end %d letters are left, and the position is %d of %d", len(o.model.dead), o.model.next, o.model.durable)
	}
	o.ship.Stop()
}

func (o *operator) start() {
	calls := o.sink.called()
	o.ship = o.rig.Start(o.sink, shipper.Flush{Rows: modelRows, Bytes: 1 << 20}, shipper.Options{})
	o.model.runs = true
	o.model.interrupt()
	if !o.model.paused {
		o.ship.WaitFor("the sink is called", func() bool { return o.sink.called() > calls })
	}
}

func (o *operator) stop() {
	o.ship.Stop()
	o.model.runs = false
	o.model.interrupt()
}

func (o *operator) restart() {
	o.stop()
	o.start()
}

func (o *operator) append() {
	n := rapid.IntRange(1, 5).Draw(o.T, "events")
	o.rig.Append("shop", "s", n)
	o.model.durable += uint64(n)
	if o.model.held == nil {
		o.model.take()
	}
}

// deliver lets the sink deliver the batch that it has.
func (o *operator) deliver() {
	if o.model.held == nil {
		return
	}
	o.awaitHeld()
	o.sink.open(o.T)
	o.model.deliver(3)
}

// command is one verb with its parameters. It returns what the cursor said,
// and whether the model refuses.
type command func() (err error, refused bool)

// command draws what the verb needs.
func (o *operator) command(name string) command {
	m := o.model
	switch name {
	case "pause":
		return func() (error, bool) {
			err := o.ship.Pause(ctx, ann, 0)
			return err, o.unlessKilled(err, func() bool { m.setPaused(true); m.interrupt(); return false })
		}
	case "resume":
		return func() (error, bool) {
			err := o.ship.Resume(ctx, ann)
			return err, o.unlessKilled(err, func() bool {
				if m.paused {
					m.setPaused(false)
					m.interrupt()
				}
				return false
			})
		}
	case "rewind", "skip":
		to := rapid.Uint64Range(0, m.durable+2).Draw(o.T, "to")
		return func() (error, bool) { return o.move(name, to) }
	case "undo":
		return func() (error, bool) {
			_, err := o.ship.Undo(ctx, ann)
			return err, o.unlessKilled(err, func() bool { defer m.interrupt(); return m.back() })
		}
	default:
		f := shipper.DeadFilter{}
		if rapid.Bool().Draw(o.T, "some") {
			f.Seqs = rapid.SliceOfN(rapid.Uint64Range(1, m.durable+1), 1, 4).Draw(o.T, "seqs")
		}
		return func() (error, bool) { return o.change(name, f) }
	}
}

// unlessKilled has the model follow, unless the state took nothing.
func (o *operator) unlessKilled(err error, follow func() (refused bool)) (refused bool) {
	if errors.Is(err, errKilled) {
		return false
	}
	return follow()
}

func (o *operator) move(name string, to uint64) (error, bool) {
	m, verb := o.model, o.ship.Rewind
	if name == "skip" {
		verb = o.ship.SkipTo
	}
	moved, err := verb(ctx, ann, to)
	return err, o.unlessKilled(err, func() bool {
		from := m.next
		refused := m.move(to, name == "skip")
		if !refused && (moved.From != from || moved.To != m.next || moved.Epoch != m.epoch) {
			o.Fatalf("moved %+v, want %d to %d in epoch %d", moved, from, m.next, m.epoch)
		}
		m.interrupt()
		return refused
	})
}

func (o *operator) change(name string, f shipper.DeadFilter) (error, bool) {
	verb := o.ship.Requeue
	if name == "discard" {
		verb = o.ship.Discard
	}
	m, calls := o.model, o.sink.called()
	n, err := verb(ann, f)
	return err, o.unlessKilled(err, func() bool {
		if want := m.change(name == "discard", f); n != want {
			o.Fatalf("%s changed %d letters, want %d", name, n, want)
		}
		if n > 0 && m.runs && (!m.paused || m.stepping) { // it does not wait for the sink to begin anew
			o.ship.WaitFor("the sink is called again", func() bool { return o.sink.called() > calls })
		}
		return false
	})
}

// run gives a command, and now and then the same once more, which must change
// nothing.
func (o *operator) run(name string) {
	give := o.command(name)
	o.expect(name, give)
	if rapid.IntRange(0, 3).Draw(o.T, "again") == 0 {
		entries, epoch := len(o.model.trail), o.model.epoch
		o.expect(name, give)
		if len(o.model.trail) != entries || o.model.epoch != epoch {
			o.Fatalf("the same %s again changes something: %v", name, o.model.trail)
		}
	}
}

func (o *operator) expect(name string, give command) {
	err, refused := give()
	if errors.Is(err, shipper.ErrRefused) != refused || err != nil && !refused {
		o.Fatalf("%s: %v; refused by the model: %v", name, err, refused)
	}
}

// step lets a paused cursor deliver a batch.
func (o *operator) step() {
	type result struct {
		moved shipper.Moved
		err   error
	}
	if !o.mayStep() {
		return
	}
	results := make(chan result, 1)
	go func() {
		m, err := o.ship.Step(ctx, ann)
		results <- result{m, err}
	}()
	o.model.stepping = true
	o.model.take()
	o.awaitHeld()
	from := o.model.next
	o.sink.open(o.T)
	o.model.deliver(3)
	if r := <-results; r.err != nil || r.moved.From != from || r.moved.To != o.model.next || r.moved.Epoch != o.model.epoch {
		o.Fatalf("step: %+v, %v; want %d to %d in epoch %d", r.moved, r.err, from, o.model.next, o.model.epoch)
	}
}

// impatientStep leaves the batch with the sink.
func (o *operator) impatientStep() {
	if !o.mayStep() {
		return
	}
	impatient, hangUp := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		_, err := o.ship.Step(impatient, ann)
		ended <- err
	}()
	o.model.stepping = true
	o.model.take()
	o.awaitHeld()
	hangUp()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		o.Fatalf("the step returned %v", err)
	}
}

// mayStep expects a refusal where a step makes no sense.
func (o *operator) mayStep() bool {
	m := o.model
	if m.runs && m.paused && !m.stepping && m.next <= m.durable {
		return true
	}
	if _, err := o.ship.Step(ctx, ann); !errors.Is(err, shipper.ErrRefused) {
		o.Fatalf("step: %v, want a refusal", err)
	}
	return false
}

// kill lets the state take a few more commits while something happens, and
// makes the cursor anew from what it took.
func (o *operator) kill() {
	commits := rapid.IntRange(0, 3).Draw(o.T, "commits")
	if o.model.held != nil && rapid.Bool().Draw(o.T, "while it delivers") {
		o.allow(commits)
		o.sink.open(o.T)
		if o.model.deliver(commits) {
			o.awaitHeld()
		} else {
			o.ship.WaitFor("the sink fails", func() bool { return o.ship.Status().ErrorCount > 0 })
		}
	} else {
		o.allow(commits)
		name := rapid.SampledFrom(verbs).Draw(o.T, "command")
		err, refused := o.command(name)()
		switch {
		case errors.Is(err, errKilled) && commits == 0: // and nothing has changed
		case errors.Is(err, shipper.ErrRefused) != refused || err != nil && !refused:
			o.Fatalf("%s with %d commits: %v; refused by the model: %v", name, commits, err, refused)
		}
	}
	o.stop()
	o.allow(-1)
	o.start()
}

// offline gives a command to a node that is stopped.
func (o *operator) offline() {
	o.stop()
	o.mayStep()
	o.run(rapid.SampledFrom(verbs).Draw(o.T, "command"))
	o.check()
	o.start()
}
