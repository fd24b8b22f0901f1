package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"forebay/router"
)

// Of the drops that have the project, the reason and the rule in common, so many
// are shown of each second.
const (
	floodShown = 10
	floodEvery = time.Second
)

// floodKind is what the drops of a flood have in common.
type floodKind struct{ project, reason, rule, looksLike string }

// dropFlood shows drops one by one, and counts those of which there are too many
// to be read.
type dropFlood struct {
	show func(router.Drop) error
	more func(kind floodKind, drops uint64) error

	mu    sync.Mutex
	kinds map[floodKind]uint64 // drops of the present second
	err   error
}

func newDropFlood(show func(router.Drop) error, more func(floodKind, uint64) error) *dropFlood {
	return &dropFlood{show: show, more: more, kinds: map[floodKind]uint64{}}
}

func (f *dropFlood) add(d router.Drop) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	kind := floodKind{d.Project, d.Reason, d.Rule, d.LooksLike}
	if f.kinds[kind]++; f.err == nil && f.kinds[kind] <= floodShown {
		f.err = f.show(d)
	}
	return f.err
}

// flush ends the second: it says of how many more there were.
func (f *dropFlood) flush() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for kind, n := range f.kinds {
		if n > floodShown && f.err == nil {
			f.err = f.more(kind, n-floodShown)
		}
	}
	clear(f.kinds)
}

// run flushes every second until ctx ends or end is called, which flushes once
// more.
func (f *dropFlood) run(ctx context.Context) (end func() error) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(floodEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				f.flush()
			}
		}
	}()
	return func() error {
		cancel()
		<-done
		f.flush()
		return f.err
	}
}

// showMore prints how many drops of a kind were not shown.
func (g *globals) showMore(k floodKind, drops uint64) error {
	_, err := fmt.Fprintf(g.out, "%s  %-13s and %s more like this: rule=%s project=%s\n", time.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
		k.reason, count(drops, "drop"), printable(k.rule), printable(k.project))
	return err
}
