package node_test

import (
	"testing"

	"forebay/node/admin"
	"forebay/node/nodetest"
	"forebay/shipper"
)

// TestCommandsRightAfterTheStart are taken: a node that answers delivers, and
// refuses nothing as if it were stopped.
func TestCommandsRightAfterTheStart(t *testing.T) {
	n := newReplayNode(t)
	n.post("a", 10)
	for range 20 {
		n.Stop()
		n.Node = nodetest.Run(t, n.cfg)
		begun := n.begin(admin.ReplayRequest{ReplaySpec: shipper.ReplaySpec{Destination: shipper.Destination{Into: "session", URL: n.otherURL}}})
		for _, c := range n.Status().Cursors {
			if c.Stopped {
				t.Fatalf("cursor %s of a node that runs is stopped", c.Name)
			}
		}
		n.await(begun.Name, "is done", func(r shipper.Replay) bool { return r.State == shipper.Done })
	}
}
