package router

import (
	"fmt"
	"testing"
)

func TestTap(t *testing.T) {
	shared := newTap()
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
