package shipper_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"forebay/shipper"
	"forebay/shipper/shippertest"
	"forebay/wal"
)

// made is n letters of another node, each with size bytes of event.
func made(n, size int) []shipper.DeadLetter {
	out := make([]shipper.DeadLetter, n)
	for i := range out {
		e := shipper.Event{Seq: uint64(i + 1), LogID: wal.ID{9}, Project: "p", Session: fmt.Sprint("s", i%3), Raw: []byte(strings.Repeat("x", size))}
		out[i] = shipper.NewDeadLetter(e, "from another node", 1)
		out[i].BuriedAt = time.Unix(1_700_000_000, 0)
	}
	return out
}

// TestManyLettersAreChangedInBoundedCommits, each with one entry in the trail;
// a command that fails half-way is finished by the same command.
func TestManyLettersAreChangedInBoundedCommits(t *testing.T) {
	const n = 2300
	rig := shippertest.NewRig(t)
	var largest, commits atomic.Int64
	var failAt atomic.Int64
	rig.State.BeforeCommit = func(writes []shipper.Write) error {
		largest.Store(max(largest.Load(), int64(len(writes))))
		if commits.Add(1) == failAt.Load() {
			return errors.New("disk full")
		}
		return nil
	}
	sink := &shippertest.Recorder{}
	ship := rig.Start(sink, large, shipper.Options{})
	pause(t, ship)
	if added, err := ship.Import(ann, made(n, 10)); added != n || err != nil {
		t.Fatalf("import: %d, %v", added, err)
	}
	failAt.Store(commits.Load() + 3)
	first, err := ship.Requeue(ann, shipper.DeadFilter{})
	if err == nil || first == 0 || first == n {
		t.Fatalf("requeue with a commit that fails: %d, %v", first, err)
	}
	if s := ship.Status(); s.Requeued != first || s.Dead != n {
		t.Errorf("after it: %d requeued of %d, want %d of %d", s.Requeued, s.Dead, first, n)
	}
	rest, err := ship.Requeue(ann, shipper.DeadFilter{})
	if err != nil || first+rest != n {
		t.Errorf("the same again: %d, %v; want the rest of %d", rest, err, n-first)
	}
	if discarded, err := ship.Discard(ann, shipper.DeadFilter{Session: "s1"}); err != nil || discarded != (n+1)/3 {
		t.Errorf("discard: %d, %v", discarded, err)
	}
	if s := ship.Status(); s.Discarded != (n+1)/3 || s.Dead != n-(n+1)/3 || s.Requeued != s.Dead {
		t.Errorf("after the discard: %+v", s)
	}
	if largest.Load() > 600 {
		t.Errorf("a commit of %d writes", largest.Load())
	}
	wantTrail(t, ship.Cursors, "pause", "import", "requeue", "requeue", "discard")
	resume(t, ship)
	ship.WaitFor("all are delivered", func() bool { return ship.Status().Dead == 0 })
	seqs := seqs(sink.Delivered())
	for i := 1; i < len(seqs); i++ {
		if seqs[i] <= seqs[i-1] {
			t.Fatalf("%d was delivered after %d", seqs[i], seqs[i-1])
		}
	}
	if len(seqs) != n-(n+1)/3 {
		t.Errorf("%d were delivered, want %d", len(seqs), n-(n+1)/3)
	}
}

// TestFullLettersCanBeRequeued: at the bound on bytes, too.
func TestFullLettersCanBeRequeued(t *testing.T) {
	rig := shippertest.NewRig(t)
	ship := rig.Start(&shippertest.Recorder{}, small, shipper.Options{MaxDeadBytes: 1000})
	pause(t, ship)
	if added, err := ship.Import(ann, made(11, 100)); added != 0 || !errors.Is(err, shipper.ErrRefused) {
		t.Errorf("more than fits: %d, %v; want a refusal", added, err)
	}
	if added, err := ship.Import(ann, made(10, 100)); added != 10 || err != nil {
		t.Fatalf("import: %d, %v", added, err)
	}
	if n, err := ship.Requeue(ann, shipper.DeadFilter{}); n != 10 || err != nil {
		t.Errorf("requeue at the bound: %d, %v", n, err)
	}
	resume(t, ship)
	ship.WaitFor("all are delivered", func() bool { return ship.Status().Dead == 0 })
}

func TestImportRefusesWhatIsNoLetter(t *testing.T) {
	rig := shippertest.NewRig(t)
	ship := rig.Start(&shippertest.Recorder{}, small, shipper.Options{})
	for name, spoil := range map[string]func(*shipper.DeadLetter){
		"no seq":   func(d *shipper.DeadLetter) { d.Seq = 0 },
		"no log":   func(d *shipper.DeadLetter) { d.LogID = wal.ID{} },
		"no event": func(d *shipper.DeadLetter) { d.Raw = nil },
	} {
		letters := made(2, 10)
		spoil(&letters[1])
		if n, err := ship.Import(ann, letters); n != 0 || !errors.Is(err, shipper.ErrRefused) {
			t.Errorf("%s: %d, %v; want a refusal", name, n, err)
		}
	}
	twice := append(made(2, 10), made(2, 10)...)
	if n, err := ship.Import(ann, twice); n != 2 || err != nil || ship.Status().Dead != 2 {
		t.Errorf("letters named twice: %d, %v", n, err)
	}
}

// TestResumeLetsALargeRefusedBatchPass: a batch with more bad events than the
// guard allows pauses the cursor once, not for ever.
func TestResumeLetsALargeRefusedBatchPass(t *testing.T) {
	rig := shippertest.NewRig(t)
	sink := &shippertest.Recorder{Refuse: func(e shipper.Event) (string, bool) { return "bad deploy", e.Seq <= 150 }}
	rig.Append("p", "a", 400)
	ship := rig.Start(sink, shipper.Flush{Rows: 400, Bytes: 1 << 20}, shipper.Options{})
	ship.WaitFor("it pauses", func() bool { return ship.Status().State == shipper.Paused })
	if s := ship.Status(); s.Dead != 0 || s.NextSeq != 1 {
		t.Errorf("while paused: %+v", s)
	}
	resume(t, ship)
	ship.WaitDone()
	if s := ship.Status(); s.Dead != 150 {
		t.Errorf("after the resume: %+v", s)
	}
}

// TestGuardCountsEachLetterOnce: neither a state that fails, nor a rewind, nor
// a requeue of what is still refused makes the guard see more than there is.
func TestGuardCountsEachLetterOnce(t *testing.T) {
	rig := shippertest.NewRig(t)
	var failing atomic.Bool
	rig.State.BeforeCommit = func(writes []shipper.Write) error {
		for _, w := range writes {
			if failing.Load() && strings.HasPrefix(w.Key, "cursor/") {
				return errors.New("disk full")
			}
		}
		return nil
	}
	sink := &shippertest.Recorder{Refuse: func(e shipper.Event) (string, bool) { return "bad", e.Seq%2 == 0 }}
	ship := rig.Start(sink, shipper.Flush{Rows: 160, Bytes: 1 << 20}, shipper.Options{})
	failing.Store(true) // buried, but the position is not saved: it all comes again
	rig.Append("p", "a", 160)
	ship.WaitFor("the state fails", func() bool { return ship.Status().ErrorCount >= 3 })
	failing.Store(false)
	ship.WaitDone()
	if _, err := ship.Rewind(ctx, ann, 1); err != nil {
		t.Fatal(err)
	}
	ship.WaitDone()
	for range 3 {
		if n, err := ship.Requeue(ann, shipper.DeadFilter{}); n != 80 || err != nil {
			t.Fatalf("requeue: %d, %v", n, err)
		}
		ship.WaitFor("they are refused again", func() bool { return ship.Status().Requeued == 0 })
	}
	if s := ship.Status(); s.State == shipper.Paused || s.Dead != 80 {
		t.Errorf("with 80 letters of 160 events: %+v", s)
	}
}

// TestLetterIsKeptWhenItsDropFails: a fill whose commit failed can confirm the
// same letters again.
func TestLetterIsKeptWhenItsDropFails(t *testing.T) {
	rig := shippertest.NewRig(t)
	var failing atomic.Bool
	rig.State.BeforeCommit = func([]shipper.Write) error {
		if failing.Load() {
			return errors.New("disk full")
		}
		return nil
	}
	ship := rig.Start(shipFunc(func(ctx context.Context, feed *shipper.Feed) error {
		for {
			b, err := feed.Next(ctx)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			failing.Store(true)
			if feed.Advance(b.Last+1) == nil {
				t.Error("a failing state dropped letters")
			}
			failing.Store(false)
			if err := feed.Advance(b.Last + 1); err != nil {
				return err
			}
		}
	}), small, shipper.Options{})
	if n, err := ship.Import(ann, made(3, 10)); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	if _, err := ship.Requeue(ann, shipper.DeadFilter{}); err != nil {
		t.Fatal(err)
	}
	ship.WaitFor("the letters are dropped", func() bool { return ship.Status().Dead == 0 })
}
