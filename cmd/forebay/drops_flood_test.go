package main

import (
	"testing"

	"forebay/router"
)

// TestDropFlood: what comes in a trickle is shown whole; of a flood the first of
// each second, and how many more there were, and nothing of another project is
// left out.
func TestDropFlood(t *testing.T) {
	shown, more := map[string]int{}, map[floodKind]uint64{}
	f := newDropFlood(
		func(d router.Drop) error { shown[d.Project]++; return nil },
		func(k floodKind, n uint64) error { more[k] += n; return nil })
	for second := range 3 {
		for range 1000 {
			if err := f.add(router.Drop{Project: "flood", Reason: "privacy", Rule: "email"}); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.add(router.Drop{Project: "quiet", Reason: "privacy", Rule: "email"}); err != nil {
			t.Fatal(err)
		}
		f.flush()
		if shown["flood"] != (second+1)*floodShown || shown["quiet"] != second+1 {
			t.Errorf("after %d seconds %v are shown", second+1, shown)
		}
	}
	if kind := (floodKind{project: "flood", reason: "privacy", rule: "email"}); len(more) != 1 || more[kind] != 3*(1000-floodShown) {
		t.Errorf("more: %v", more)
	}
}
