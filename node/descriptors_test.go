package node

import "testing"

// TestShareKeepsDescriptorsBack: whatever the limit, the front door leaves some
// for the log, the state, the destinations and the admin listener.
func TestShareKeepsDescriptorsBack(t *testing.T) {
	for _, c := range []struct {
		limit           uint64
		lanes           int
		door, operators int
	}{
		{limit: 64, lanes: 32, door: 16, operators: 12},
		{limit: 256, lanes: 32, door: 64, operators: 48},
		{limit: 1024, lanes: 32, door: 480, operators: 136},
		{limit: 20_000, lanes: 32, door: 10_000, operators: 136},
		{limit: 20_000, lanes: 4096, door: 10_000, operators: 256},
		{limit: 1<<63 - 1, lanes: 32, door: 10_000, operators: 136},
		{limit: 1, door: 1, operators: 4},
	} {
		if door, operators := share(c.limit, c.lanes); door != c.door || operators != c.operators {
			t.Errorf("of %d with %d lanes: %d for the front door, %d for operators; want %d, %d", c.limit, c.lanes, door, operators, c.door, c.operators)
		}
	}
}
