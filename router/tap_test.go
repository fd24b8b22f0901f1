package router

import (
	"fmt"
	"testing"
)

func TestTap(t *testing.T) {
	shared := newTap(nil)
	if got := shared.recent(10); len(got) != 0 {
		t.Errorf("%d drops before any", len(got))
	}
	drops, stop, ok := shared.watch()
	if !ok {
		t.Fatal("nobody is watching, and yet there is no room")
	}
	for i := range tapSize + 5 {
		shared.add(Drop{Field: fmt.Sprint(i)})
	}
	recent := shared.recent(tapSize * 2)
	if len(recent) != tapSize || recent[0].Field != "5" || recent[tapSize-1].Field != fmt.Sprint(tapSize+4) {
		t.Errorf("%d drops, from %s to %s", len(recent), recent[0].Field, recent[len(recent)-1].Field)
	}
	if got := shared.recent(2); len(got) != 2 || got[1].Field != fmt.Sprint(tapSize+4) {
		t.Errorf("the last two are %+v", got)
	}
	// The watcher was slow: it has the first ones, and nobody waited.
	if len(drops) != tapQueue || (<-drops).Field != "0" {
		t.Errorf("%d drops wait for the watcher", len(drops))
	}
	stop()
	waiting := len(drops)
	shared.add(Drop{})
	if len(drops) != waiting {
		t.Error("a watcher that has stopped is still told")
	}
	for range tapSubscribers {
		if _, _, ok := shared.watch(); !ok {
			t.Fatal("no room for a watcher")
		}
	}
	if _, _, ok := shared.watch(); ok {
		t.Error("one watcher too many")
	}
}

// TestFloodTakesNoOthersLastDrops: neither that of a project nor that of requests
// without a key.
func TestFloodTakesNoOthersLastDrops(t *testing.T) {
	told := 0
	shared := newTap(func(Drop) { told++ })
	for i := range 5 {
		shared.add(Drop{Project: "quiet", Field: fmt.Sprint(i)})
	}
	shared.add(Drop{Reason: ReasonUnknownPath, LooksLike: likeSegment})
	for range 10 * tapSize {
		shared.add(Drop{Project: "flood"})
		shared.add(Drop{Reason: "unauthorized", Rule: "key_unknown"})
	}
	recent, by := shared.recent(tapSize), map[string]int{}
	for i, d := range recent {
		by[d.Project+d.Reason]++
		if i > 0 && d.Number <= recent[i-1].Number {
			t.Fatalf("drop %d comes behind %d", d.Number, recent[i-1].Number)
		}
	}
	if len(recent) != tapSize || by["quiet"] != 5 || by[ReasonUnknownPath] != 1 || by["flood"] < tapSize/3 || by["unauthorized"] < tapSize/3 {
		t.Errorf("of %d kept: %v", len(recent), by)
	}
	if told != 20*tapSize+6 {
		t.Errorf("%d were told", told)
	}
	for s := range shared.shares {
		if n := cap(shared.shares[s].drops); n > 4*tapSize {
			t.Errorf("%s has memory for %d", s, n)
		}
	}
}
