package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"forebay/node/admin"
	"forebay/node/config"
	"forebay/node/nodetest"
)

// TestSenderBehindBalancers: the README's Go program sends behind each of the
// sample configurations while both nodes are away, gets a 5xx of the balancer's
// own, and has delivered its event once they are back.
func TestSenderBehindBalancers(t *testing.T) {
	for _, b := range []struct {
		program, file string
		args          func(file, dir string) []string
	}{
		{"haproxy", "haproxy.cfg", func(file, _ string) []string { return []string{"-db", "-f", file} }},
		{"nginx", "nginx.conf", func(file, dir string) []string { return []string{"-p", dir, "-c", file, "-g", "daemon off;"} }},
	} {
		t.Run(b.program, func(t *testing.T) {
			t.Parallel()
			path := program(t, b.program)
			one, key := balancedNode(t)
			two, _ := balancedNode(t)
			two.Keys.File.Path = one.Keys.File.Path
			first, second := nodetest.Run(t, one), nodetest.Run(t, two)

			addr, dir := nodetest.FreeAddr(t), t.TempDir()
			text := deployed(t, b.file)
			for from, to := range map[string]string{
				"10.0.0.1:7070": one.Ingest.Listen, "10.0.0.2:7070": two.Ingest.Listen, "bind :80": "bind " + addr, "listen 80": "listen " + addr,
				"check port 7071": "", "worker_connections 20000": "worker_connections 64",
			} {
				text = strings.Replace(text, from, to, 1)
			}
			file := filepath.Join(dir, b.file)
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			runBalancer(t, 1024, path, b.args(file, dir), addr)
			first.Stop()
			second.Stop()

			sender, failed := startSender(t, "http://"+addr, key)
			nodetest.Eventually(t, waitLimit, func() bool { return failed.Load() > 0 }, "the balancer answers with a 5xx")
			first, second = nodetest.Run(t, one), nodetest.Run(t, two)
			var receipt struct{ Accepted int }
			if out := <-sender; json.Unmarshal([]byte(out), &receipt) != nil || receipt.Accepted != 1 {
				t.Errorf("the sender ends with %q", out)
			}
			if stored := countEvents(t, first) + countEvents(t, second); stored != 1 {
				t.Errorf("the nodes have %d events, want 1", stored)
			}
		})
	}
}

// balancedNode is a node that comes back at the same address.
func balancedNode(t *testing.T) (c config.Config, key string) {
	c = nodetest.Config(t)
	c.Ingest.Listen = nodetest.FreeAddr(t)
	return c, nodetest.Key(t, c)
}

// startSender runs the README's Go program, and counts the answers of 500 and
// more that it gets. What it prints comes when it has ended.
func startSender(t *testing.T, to, key string) (printed <-chan string, failed *atomic.Int64) {
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	failed = new(atomic.Int64)
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse = func(r *http.Response) error {
		if r.StatusCode >= 500 {
			failed.Add(1)
		}
		return nil
	}
	between := httptest.NewServer(proxy)
	t.Cleanup(between.Close)
	dir := t.TempDir()
	nodetest.WriteSender(t, dir)
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	cmd := exec.CommandContext(ctx, "go", "run", ".")
	cmd.Dir, cmd.Stderr = dir, t.Output()
	cmd.Env = append(os.Environ(), "FOREBAY_URL="+between.URL, "FOREBAY_KEY="+key, "GOFLAGS=-mod=mod", "GOWORK=off", "GOPROXY=off")
	ended := make(chan string, 1)
	go func() {
		out, err := cmd.Output()
		if err != nil {
			out = append(out, err.Error()...)
		}
		ended <- string(out)
	}()
	t.Cleanup(cancel)
	return ended, failed
}

func countEvents(t *testing.T, n *nodetest.Node) (count int) {
	if err := n.Admin.Events(t.Context(), 0, 1000, func(admin.Event) error { count++; return nil }); err != nil {
		t.Fatal(err)
	}
	return count
}
