package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestNotify plays the service manager: it hears that the node is ready, that
// it lives only while it does, and that it stops.
func TestNotify(t *testing.T) {
	dir, err := os.MkdirTemp("", "notify") // short: a socket's path has room for about 100 bytes
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "s")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	next := func() string {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 64)
		n, err := conn.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	env := map[string]string{"NOTIFY_SOCKET": socket, "WATCHDOG_USEC": "20000"}
	n := newNotifier(func(name string) string { return env[name] }, slog.New(slog.DiscardHandler))

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var asked atomic.Int64
	hung := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		n.run(ctx, func() bool {
			if asked.Add(1) == 6 {
				close(hung)
			}
			return asked.Load() <= 3
		})
	}()
	if got := next(); got != "READY=1" {
		t.Fatalf("the first message is %q", got)
	}
	for range 3 {
		if got := next(); got != "WATCHDOG=1" {
			t.Fatalf("while it lives: %q", got)
		}
	}
	<-hung
	cancel()
	<-ended
	if got := next(); got != "STOPPING=1" {
		t.Fatalf("after it was asked in vain for its life, and stopped: %q", got)
	}
}

// TestNotifyNobody: without a service manager nothing is done, and one that is
// for another process is not for this one.
func TestNotifyNobody(t *testing.T) {
	newNotifier(func(string) string { return "" }, nil).run(t.Context(), nil)
	env := map[string]string{"NOTIFY_SOCKET": "x", "WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"}
	if n := newNotifier(func(name string) string { return env[name] }, nil); n.every != 0 {
		t.Errorf("answers another process's watchdog every %s", n.every)
	}
}

// TestServiceUnit has systemd itself read the unit.
func TestServiceUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("systemd-analyze is missing: run .ci/deps")
		}
		t.Skip("systemd-analyze is missing: make deps installs it")
	}
	unit := filepath.Join(t.TempDir(), "forebay.service")
	text := deployed(t, "forebay.service")
	self, err := os.Executable() // the program must exist for it
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(unit, []byte(strings.ReplaceAll(text, "=/usr/local/bin/forebay", "="+self)), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", unit).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
