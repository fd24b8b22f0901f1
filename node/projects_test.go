package node

import (
	"fmt"
	"testing"

	"forebay/router"
)

// TestProjectLabelsAreBounded counts more projects than may be shown, twice
// over, and never loses one event nor lets a counter run backwards.
func TestProjectLabelsAreBounded(t *testing.T) {
	tally := func(n int, each uint64) map[string]router.ProjectTally {
		all := map[string]router.ProjectTally{}
		for i := range n {
			all[fmt.Sprintf("p%d", i)] = router.ProjectTally{Events: router.Events{
				Decoded: each + uint64(i), Accepted: each + uint64(i), Dropped: map[string]uint64{"invalid": 1},
			}}
		}
		all[""] = router.ProjectTally{Requests: router.Requests{Dropped: map[string]uint64{"unauthorized": 3}}}
		all[router.OtherProjects] = router.ProjectTally{Events: router.Events{Accepted: 5}}
		return all
	}
	var l projectLabels
	last := map[string]uint64{}
	for _, n := range []int{10, maxProjectLabels + 50, 3 * maxProjectLabels} {
		all := tally(n, uint64(n))
		folded := l.fold(all)
		want, got, invalid := uint64(0), uint64(0), uint64(0)
		for _, p := range all {
			want += p.Events.Accepted
		}
		for label, p := range folded {
			got += p.accepted
			invalid += p.droppedEvents["invalid"]
			if p.accepted < last[label] {
				t.Errorf("the counter of %s runs from %d to %d", label, last[label], p.accepted)
			}
			last[label] = p.accepted
		}
		if got != want || invalid != uint64(n) {
			t.Errorf("%d projects: %d events and %d drops, want %d and %d", n, got, invalid, want, n)
		}
		if most := maxProjectLabels + 2; len(folded) > most {
			t.Errorf("%d labels, want at most %d", len(folded), most)
		}
		if folded[noProject].droppedRequests["unauthorized"] != 3 {
			t.Errorf("requests without a key: %+v", folded[noProject])
		}
	}
}
