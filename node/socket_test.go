package node_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"forebay/node"
	"forebay/node/admin"
	"forebay/node/nodetest"
)

// TestAdminSocket: on a Unix socket only the node's own user is let in, without
// a token.
func TestAdminSocket(t *testing.T) {
	c := nodetest.Config(t)
	nodetest.Key(t, c)
	dir, err := os.MkdirTemp("", "socket") // t.TempDir can be longer than a socket's path may be
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "admin")
	c.Admin.Listen = "unix:" + path
	n, err := node.Open(c, node.Options{})
	if err != nil {
		t.Fatal(err)
	}
	stopping, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- n.Run(stopping) }()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info.Mode(), err)
	}
	if s, err := admin.NewClient(c.Admin.Listen, "").Status(ctx); err != nil || s.NodeID != "test" {
		t.Errorf("%+v, %v", s, err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestStopDoesNotWaitForADestination: a Session Manager that never answers does
// not keep a node from stopping in order.
func TestStopDoesNotWaitForADestination(t *testing.T) {
	asked, release := make(chan struct{}, 16), make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-release
	}))
	defer silent.Close()
	defer close(release)
	c := nodetest.Config(t)
	key := nodetest.Key(t, c)
	c.Shippers.Session.Enabled, c.Shippers.Session.URL = true, silent.URL
	n := nodetest.Run(t, c)
	n.Post(key, nodetest.Event("a", ""))
	<-asked
	stopped := make(chan struct{})
	go func() { defer close(stopped); n.Stop() }()
	select {
	case <-stopped:
	case <-time.After(time.Minute):
		t.Fatal("the node waits for the destination")
	}
}
