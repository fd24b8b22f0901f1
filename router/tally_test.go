package router

import (
	"encoding/json"
	"fmt"
	"reflect"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"forebay/router/event"
)

// Every snapshot balances, whatever happens at the same time, and a tally that
// is saved and restored goes on with the same figures, less what was in flight.
func TestTallyBalances(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.IntRange(0, 1000).Draw(t, "seed")
		shared := newTally()
		var all sync.WaitGroup
		for worker := range 4 {
			all.Go(func() {
				for i := range 20 {
					project := fmt.Sprint("p", (seed+i)%3)
					shared.received()
					switch (seed + i + worker) % 3 {
					case 0:
						shared.droppedRequest(project, event.Malformed)
					case 1:
						shared.decoded(project, 5)
						o := outcome{accepted: 2}
						o.dropped[event.Invalid], o.dropped[event.Storage] = 2, 1
						shared.settled(project, &o)
					}
				}
			})
		}
		check := func(s Tally) {
			if requests, events := s.Imbalance(); requests != 0 || events != 0 {
				t.Fatalf("off by %d and %d: %+v", requests, events, s)
			}
		}
		for range 20 {
			check(shared.snapshot())
		}
		all.Wait()
		saved := shared.snapshot()
		check(saved)
		text, err := json.Marshal(saved)
		if err != nil {
			t.Fatal(err)
		}
		var read Tally
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatal(err)
		}
		next := newTally()
		next.restore(read)
		restored := next.snapshot()
		check(restored)
		want := saved
		want.Requests.Received -= saved.Requests.InFlight
		want.Requests.InFlight = 0
		if !reflect.DeepEqual(restored, want) {
			t.Fatalf("restored %+v\nwant     %+v", restored, want)
		}
	})
}

func TestTallyProjectsAreBounded(t *testing.T) {
	shared := newTally()
	for i := range 3 * MaxProjects {
		shared.received()
		shared.droppedRequest(fmt.Sprint("p", i), event.RateLimited)
	}
	shared.received()
	shared.droppedRequest("", event.Unauthorized)
	s := shared.snapshot()
	if len(s.Projects) != MaxProjects+2 {
		t.Errorf("%d projects", len(s.Projects))
	}
	if got := s.Projects[OtherProjects].Requests.Dropped["rate_limited"]; got != 2*MaxProjects {
		t.Errorf("%d under %s", got, OtherProjects)
	}
	if got := s.Projects[""].Requests.Dropped["unauthorized"]; got != 1 {
		t.Errorf("%d without a project", got)
	}
}
