package admin

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/julienschmidt/httprouter"
)

// Bounds of asking many nodes.
const (
	nodesAtOnce = 8
	nodeTimeout = 10 * time.Second
	allTimeout  = time.Minute     // of a question to all of them
	fleetAge    = 2 * time.Second // an answer serves so long: many consoles ask for it
)

// NodeStatus is one node beside others.
type NodeStatus struct {
	Addr   string  `json:"addr"`
	Status *Status `json:"status,omitempty"` // absent: it did not answer
	Error  string  `json:"error,omitempty"`  // why not
}

// AskNodes asks every node for its status, a few at a time, under one token. The
// answers stand in the order of the addresses; a node that does not answer within
// ten seconds, or before a minute has gone by for all, is one that says why.
func AskNodes(ctx context.Context, addrs []string, token string) []NodeStatus {
	ctx, cancel := context.WithTimeout(ctx, allTimeout)
	defer cancel()
	rows := make([]NodeStatus, len(addrs))
	places := make(chan struct{}, nodesAtOnce)
	var asking sync.WaitGroup
	for i, addr := range addrs {
		places <- struct{}{}
		asking.Go(func() {
			defer func() { <-places }()
			rows[i] = askNode(ctx, addr, token)
		})
	}
	asking.Wait()
	return rows
}

func askNode(ctx context.Context, addr, token string) NodeStatus {
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	client := NewClient(addr, token)
	defer client.http.CloseIdleConnections()
	s, err := client.Status(ctx)
	if err != nil {
		return NodeStatus{Addr: addr, Error: err.Error()}
	}
	return NodeStatus{Addr: addr, Status: &s}
}

// fleet keeps the last answer about the other nodes.
type fleet struct {
	turn  chan struct{} // holds a token while they are asked: who comes meanwhile gets the same answer
	at    time.Time
	asked []NodeStatus
}

// fleet answers with this node and those that admin.nodes names.
func (a *api) fleet(r *http.Request, _ httprouter.Params) (any, error) {
	own := a.Node.Status()
	rows := []NodeStatus{{Addr: r.Host, Status: &own}}
	if a.Nodes == nil {
		return rows, nil
	}
	select {
	case a.others.turn <- struct{}{}:
		defer func() { <-a.others.turn }()
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if time.Since(a.others.at) > fleetAge {
		// Not under the request's context: others may wait for the answer, too.
		a.others.asked = AskNodes(context.WithoutCancel(r.Context()), a.Nodes(), a.token())
		a.others.at = time.Now()
	}
	return append(rows, a.others.asked...), nil
}

// Fleet is the node that is asked, and those that its configuration names.
func (c *Client) Fleet(ctx context.Context) (rows []NodeStatus, err error) {
	return rows, c.get(ctx, "/admin/v1/fleet", &rows)
}
