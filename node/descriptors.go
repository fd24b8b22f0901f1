package node

import (
	"context"
	"fmt"
	"os"
	"syscall"

	"forebay/node/admin"
)

// How the process's file descriptors are dealt out. What is kept back is for the
// log, the state, the destinations and the admin listener: a front door that has
// no more must not stop those.
const (
	keptDescriptors  = 512    // for all but the front door, where the limit allows it
	mostConnections  = 10_000 // of the front door, however high the limit is
	adminConnections = 256    // of the admin listener, at most
	nearLimit        = 0.9    // of the limit: worth a word
)

// raiseDescriptors lifts the limit of file descriptors to the one that this user
// may have, and returns it.
func raiseDescriptors() (limit uint64, err error) {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 0, fmt.Errorf("ask for the limit of file descriptors: %w", err)
	}
	if r.Cur >= r.Max {
		return r.Cur, nil
	}
	before := r.Cur
	r.Cur = r.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return before, fmt.Errorf("raise the limit of file descriptors from %d to %d: %w", before, r.Max, err)
	}
	return r.Max, nil
}

// share is how many connections the front door and the admin listener may have
// under a limit of descriptors. lanes are those of the Session Manager.
func share(limit uint64, lanes int) (door, operators int) {
	const most = 4 * mostConnections
	have := int(min(limit, most))
	kept := min(keptDescriptors+lanes, have*3/4)
	return max(1, min(mostConnections, have-kept)), max(4, min(adminConnections, kept/4))
}

// openDescriptors counts those in use; if that cannot be told there are none left.
func openDescriptors(limit uint64) uint64 {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		return limit
	}
	return uint64(len(entries)) - 1 // the one that read the folder
}

// descriptors is their state, for status and metrics.
func (n *Node) descriptors() admin.DescriptorStatus {
	d := admin.DescriptorStatus{Open: openDescriptors(n.limit), Limit: n.limit}
	d.MaxConnections, _ = share(n.limit, n.cfg.Shippers.Session.Lanes)
	if n.ingest != nil { // the checks are made once before it listens
		d.Connections, _ = n.ingest.Connections()
	}
	return d
}

// descriptors: are there enough?
func (h *health) descriptors() admin.Check {
	const name, remedy = "descriptors", "raise the limit (LimitNOFILE of the unit, ulimit -n, the container's) and restart; look for who holds connections open (ss -tn)"
	d := h.node.descriptors()
	switch {
	case float64(d.Open) >= nearLimit*float64(d.Limit):
		return bad(name, true, remedy, "%d of %d file descriptors are in use", d.Open, d.Limit)
	case d.Connections >= d.MaxConnections:
		return bad(name, true, remedy, "all %d connections that the front door may have under a limit of %d file descriptors are open: further ones wait", d.MaxConnections, d.Limit)
	}
	return good(name)
}

// fewConnections is below what the front door of a busy node needs.
const fewConnections = 1000

// descriptors is what a node would have that this user starts from this shell.
func (d *doctor) descriptors(context.Context) []Finding {
	limit, err := raiseDescriptors()
	if err != nil && limit == 0 {
		return []Finding{doubtful("descriptors", "look at ulimit -n", "%v", err)}
	}
	door, _ := share(limit, d.cfg.Shippers.Session.Lanes)
	return []Finding{judgeDescriptors(limit, door)}
}

func judgeDescriptors(limit uint64, door int) Finding {
	const check = "descriptors"
	text := fmt.Sprintf("a limit of %d file descriptors, so %d connections of the front door", limit, door)
	if door < fewConnections {
		return doubtful(check, "raise the hard limit (LimitNOFILE of the unit, ulimit -Hn, the container's)", "%s: further ones wait", text)
	}
	return fine(check, "%s", text)
}
