package node

import (
	"fmt"
	"sync"
	"time"

	"forebay/node/admin"
	"forebay/shipper"
)

// draining is an operator's word that traffic should go elsewhere. It is not
// saved: a node that is started takes events.
type draining struct {
	mu    sync.Mutex
	by    string // "": not draining
	why   string
	since time.Time
}

// Drain implements admin.Node: from now on the node is not ready, so that a
// load balancer turns elsewhere; what comes all the same is accepted as ever.
func (n *Node) Drain(r admin.DrainRequest) error {
	by, verb := r.By, "drain"
	if by == "" {
		by = "unknown"
	}
	if r.Undo {
		verb, by = "undrain", ""
	}
	if err := n.cursors.Note(shipper.Command{By: r.By, Why: r.Why}, verb, nil, nil); err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	n.draining.mu.Lock()
	n.draining.by, n.draining.why, n.draining.since = by, r.Why, time.Now()
	n.router.WatchSenders(r.Undo)
	n.draining.mu.Unlock()
	n.health.look(time.Now())
	return nil
}

// drained is what the status has of a drain, nil without one.
func (n *Node) drained() *admin.DrainStatus {
	n.draining.mu.Lock()
	defer n.draining.mu.Unlock()
	if n.draining.by == "" {
		return nil
	}
	return &admin.DrainStatus{Since: n.draining.since.UTC(), Senders: n.router.Senders()}
}

// drain: did an operator send traffic elsewhere?
func (h *health) drain() admin.Check {
	const name = "drain"
	d := &h.node.draining
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.by == "" {
		return good(name)
	}
	return bad(name, false, "forebay drain --undo, or start the node anew", "drained by %s since %s: %s", d.by, d.since.UTC().Format(time.RFC3339), d.why)
}
