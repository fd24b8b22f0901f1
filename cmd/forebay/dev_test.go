package main

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"forebay/node/admin"
	"forebay/node/nodetest"
)

// TestDevTryIt runs the command that `forebay run --dev` proposes.
func TestDevTryIt(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("curl is not installed: run make deps")
		}
		t.Skip("curl is not installed: run make deps")
	}
	dir := t.TempDir()
	cmd := exec.Command("forebay", "run", "--dev", "--dev-dir", dir)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var command string
	lines := bufio.NewScanner(out)
	for command == "" && lines.Scan() {
		if text, found := strings.CutPrefix(lines.Text(), "try it"); found {
			command = text
		}
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines.Scan() { // what the Session Manager prints; the node must not wait for us
		}
	}()
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		<-read
		if err := cmd.Wait(); err != nil {
			t.Errorf("the node did not stop well: %v", err)
		}
	})
	if reply, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil || !strings.Contains(string(reply), `{"success":true}`) {
		t.Fatalf("%q: %v\n%s", command, err, reply)
	}
	var info devInfo
	text, err := os.ReadFile(filepath.Join(dir, "dev.json"))
	if err == nil {
		err = json.Unmarshal(text, &info)
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := admin.NewClient(info.Admin, "").Status(context.Background())
	if err != nil || s.Log.DurableSeq != 1 {
		t.Errorf("the log ends at seq %d (%v), want the event in it; %q was dropped: %+v", s.Log.DurableSeq, err, command, s.Ledger)
	}
	nodetest.Eventually(t, waitLimit, func() bool {
		s, err := admin.NewClient(info.Admin, "").Cursor(context.Background(), "session")
		return err == nil && s.NextSeq == 2
	}, "the built-in Session Manager has the event")
}
