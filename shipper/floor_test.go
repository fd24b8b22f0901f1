package shipper_test

import (
	"testing"

	"forebay/shipper"
	"forebay/shipper/shippertest"
)

// TestFloorCoversWhatMayHaveArrived reads the floor of a log that may have lost
// its end: what a cursor has passed, had passed before a rewind, or has planned
// to send must not be given out again. A destination that has such a seq would
// take another event under it for a repeat. What a fill planned says nothing:
// letters can be imported from another log.
func TestFloorCoversWhatMayHaveArrived(t *testing.T) {
	for name, c := range map[string]struct {
		writes []shipper.Write
		want   uint64
	}{
		"nothing": {nil, 0},
		"new":     {[]shipper.Write{{Key: "cursor/a", Value: []byte(`{"version":1,"next":1}`)}}, 0},
		"passed": {[]shipper.Write{
			{Key: "cursor/a", Value: []byte(`{"version":1,"next":8}`)}, {Key: "cursor/b", Value: []byte(`{"version":1,"next":5}`)},
		}, 7},
		"rewound": {[]shipper.Write{{Key: "cursor/a", Value: []byte(`{"version":1,"next":3,"replay":9}`)}}, 9},
		"planned": {[]shipper.Write{
			{Key: "cursor/a", Value: []byte(`{"version":1,"next":3}`)}, {Key: "plan/a", Value: []byte(`{"first":3,"last":12}`)},
		}, 12},
		"planned to fill": {[]shipper.Write{
			{Key: "cursor/a", Value: []byte(`{"version":1,"next":3}`)}, {Key: "plan/a/fill", Value: []byte(`{"first":3,"last":4000}`)},
		}, 2},
	} {
		state := shippertest.NewState()
		if err := state.Commit(c.writes...); err != nil {
			t.Fatal(err)
		}
		if got, err := shipper.FloorSeq(state); err != nil || got != c.want {
			t.Errorf("%s: the floor is %d (%v), want %d", name, got, err, c.want)
		}
	}
}
