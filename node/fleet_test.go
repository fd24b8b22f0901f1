package node_test

import (
	"testing"

	"forebay/node/nodetest"
)

// TestFleet: a node shows itself and those that its configuration names; one
// that does not answer is a row that says why.
func TestFleet(t *testing.T) {
	other := nodetest.Config(t)
	other.Node.ID = "other"
	nodetest.Key(t, other)
	second := nodetest.Run(t, other)

	c := nodetest.Config(t)
	nodetest.Key(t, c)
	gone := nodetest.FreeAddr(t)
	c.Admin.Nodes = []string{gone, second.AdminURL[len("http://"):]}
	n := nodetest.Run(t, c)
	for range 2 { // the second answer is the first one's
		rows, err := n.Admin.Fleet(ctx)
		if err != nil || len(rows) != 3 {
			t.Fatalf("%+v, %v", rows, err)
		}
		if s := rows[0].Status; s == nil || s.NodeID != "test" {
			t.Errorf("the node itself: %+v", rows[0])
		}
		if rows[1].Addr != gone || rows[1].Status != nil || rows[1].Error == "" {
			t.Errorf("a node that does not answer: %+v", rows[1])
		}
		if s := rows[2].Status; s == nil || s.NodeID != "other" || !s.Accepting {
			t.Errorf("the other node: %+v", rows[2])
		}
	}
}
