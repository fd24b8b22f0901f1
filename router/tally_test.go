package router

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
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
						shared.droppedRequest(stageReceived, project, event.Malformed)
					case 1:
						shared.decoded(stageReceived, project, 5)
						o := outcome{accepted: 2}
						o.dropped[event.Invalid], o.dropped[event.Storage] = 2, 1
						shared.settled(stageDecoded, project, 5, &o)
					}
				}
			})
		}
		check := func(s Tally) {
			if off := s.Unbalanced(); off != "" {
				t.Fatalf("off: %s: %+v", off, s)
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

// A request that is counted twice, not at all or with another number of events
// is seen, as is one that a single counter has missed.
func TestTallySeesWhatIsMiscounted(t *testing.T) {
	for name, c := range map[string]struct {
		miscount func(*tally)
		want     string
	}{
		"dropped twice": {func(s *tally) { s.droppedRequest(stageDone, "shop", event.Malformed) }, "requests -1"},
		"no outcome":    {func(s *tally) { s.received(); s.left(stageReceived, "", 0) }, "requests +1"},
		"events without an outcome": {func(s *tally) {
			s.received()
			s.decoded(stageReceived, "shop", 3)
			s.left(stageDecoded, "shop", 3)
		}, "events +3"},
		"an event too few": {func(s *tally) {
			s.received()
			s.decoded(stageReceived, "shop", 3)
			s.settled(stageDecoded, "shop", 3, &outcome{accepted: 2})
		}, "events +1"},
		"settled twice":       {func(s *tally) { s.settled(stageDone, "shop", 2, &outcome{accepted: 2}) }, "events -2"},
		"a counter jumps":     {func(s *tally) { s.all.received++ }, "requests +1"},
		"a project's":         {func(s *tally) { s.project("shop").eventsAccepted++ }, `project "shop"`},
		"between the two":     {func(s *tally) { s.project("shop").decoded++ }, "decoded requests: 1 in the whole, 2 by project"},
		"a drop of a project": {func(s *tally) { s.project("shop").dropped[event.Malformed]-- }, "dropped requests: 1 in the whole, 0 by project"},
	} {
		s := newTally()
		s.received()
		s.droppedRequest(stageReceived, "shop", event.Malformed)
		s.received()
		s.decoded(stageReceived, "shop", 2)
		s.settled(stageDecoded, "shop", 2, &outcome{accepted: 2})
		if off := s.snapshot().Unbalanced(); off != "" {
			t.Fatalf("%s: off before: %s", name, off)
		}
		c.miscount(s)
		if off := s.snapshot().Unbalanced(); !strings.Contains(off, c.want) {
			t.Errorf("%s: %q, want %q in it", name, off, c.want)
		}
	}
}

func TestTallyProjectsAreBounded(t *testing.T) {
	shared := newTally()
	for i := range 3 * MaxProjects {
		shared.received()
		shared.droppedRequest(stageReceived, fmt.Sprint("p", i), event.RateLimited)
	}
	shared.received()
	shared.droppedRequest(stageReceived, "", event.Unauthorized)
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
