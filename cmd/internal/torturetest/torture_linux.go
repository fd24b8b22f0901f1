package torturetest

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"
)

const (
	settleLimit = 2 * time.Minute // for everything to come to rest; a working node needs seconds
	stopLimit   = time.Minute
	roundLimit  = 2 * time.Minute // of breaking things, before everything is looked at
)

// Options are those of a run.
type Options struct {
	Seed     uint64
	For      time.Duration // how long things are broken, the rest after each round included; two rounds are made at least
	Node     []string      // the command that is `forebay`
	Receiver []string      // the command that is Receive
}

// Run breaks things in rounds, with either form of ClickHouse in turn, and fails the test for each promise that was not
// kept.
func Run(t *testing.T, o Options) {
	begun := time.Now()
	span := min(o.For/2, roundLimit)
	for round := 0; round < 2 || time.Since(begun)+span < o.For; round++ {
		tokens := round%2 == 1
		name := fmt.Sprintf("round %d", round)
		t.Run(name, func(t *testing.T) { runRound(t, o, o.Seed+uint64(round), tokens, span) })
		if t.Failed() {
			t.Fatalf("the seed that is logged above repeats it; this round has %d", o.Seed+uint64(round))
		}
	}
}

// runRound is one world from its start to its end.
func runRound(t *testing.T, o Options, seed uint64, tokens bool, span time.Duration) {
	w := newWorld(t, o, seed, tokens)
	w.eventually("the node says how many goroutines it has", func() (bool, string) {
		w.base = w.footprint()
		return w.base.goroutines > 0, ""
	})
	var clients sync.WaitGroup
	for i := range clientCount {
		clients.Go(func() { w.client(i) })
	}
	clients.Go(w.stranger)
	d := newDriver(w)
	// A test that ends early leaves no client behind.
	end := sync.OnceFunc(func() { w.sendNoMore(); close(w.abandon); clients.Wait() })
	defer end()
	d.drive(span)

	status, settled := w.settle(&clients)
	end()
	if settled {
		w.judge(status)
	}
	accepted, damaged := w.book.totals()
	t.Logf("seed %d, tokens %v: %d lives of the node, %d events accepted, %d seqs in the log, %d of them damaged, at most %.0f MB",
		seed, tokens, w.node.lives, accepted, status.Log.DurableSeq, damaged, w.peakMB)
	for _, name := range slices.Sorted(maps.Keys(d.counts)) {
		t.Logf("%4d × %s", d.counts[name], name)
	}
	for _, p := range w.book.problems {
		t.Error(p)
	}
	if more := w.book.count - len(w.book.problems); more > 0 {
		t.Errorf("and %d more", more)
	}
	if t.Failed() {
		t.Logf("what was done, the last %d lines:\n%s", maxDiary, d.diaryText())
	}
}
