package node_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
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

// TestAdminSocketTakesNothingAway: at the path of the socket a node replaces what
// a killed node has left, and no other file, nor a socket that is in use.
func TestAdminSocketTakesNothingAway(t *testing.T) {
	c := nodetest.Config(t)
	nodetest.Key(t, c)
	dir, err := os.MkdirTemp("", "socket")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "admin")
	c.Admin.Listen = "unix:" + path
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := node.Open(c, node.Options{}); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("in the place of a file: %v", err)
	}
	if text, err := os.ReadFile(path); string(text) != "precious" {
		t.Fatalf("the file: %q, %v", text, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := node.Open(c, node.Options{}); err == nil || !strings.Contains(err.Error(), "somebody answers") {
		t.Errorf("in the place of another program's socket: %v", err)
	}
	other.SetUnlinkOnClose(false) // as if it were killed
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	n, err := node.Open(c, node.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
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
