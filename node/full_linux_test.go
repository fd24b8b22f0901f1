package node_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"forebay/node/admin"
	"forebay/node/nodetest"
	"forebay/wal/waltest"
)

// TestFullStateFolderIsTold: while the state folder, on a disk of its own, has no
// space, the durable check says so, and events are accepted. It is in order again
// once there is space.
func TestFullStateFolderIsTold(t *testing.T) {
	disk := waltest.Mount(t)
	c := nodetest.Config(t)
	key := nodetest.Key(t, c)
	own := filepath.Join(disk.Dir(), "state")
	for _, dir := range []string{own, c.Node.DataDir} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(own, filepath.Join(c.Node.DataDir, "state")); err != nil {
		t.Fatal(err)
	}
	n := nodetest.Run(t, c)
	t.Cleanup(disk.Heal) // before the stop, which waits for space, too
	durable := func() (found admin.Check) {
		t.Helper()
		for _, check := range n.Status().Checks {
			if check.Name == "durable" {
				found = check
			}
		}
		return found
	}
	accepted := func() {
		t.Helper()
		if status, body := n.Post(key, nodetest.Event("a", "")); status != http.StatusOK || !strings.Contains(body, `"accepted":1`) {
			t.Errorf("post: %d %s", status, body)
		}
	}
	if check := durable(); !check.OK {
		t.Fatalf("at the start: %+v", check)
	}
	disk.Inject(waltest.Fault{Op: waltest.Write, Count: -1, Err: syscall.ENOSPC})
	accepted() // what is delivered has its cursor saved
	var check admin.Check
	nodetest.Eventually(t, limit, func() bool { check = durable(); return !check.OK }, "the check says that there is no space")
	if !strings.Contains(check.Reason, "the state folder has had no space since") || !strings.Contains(check.Remedy, "free space") {
		t.Errorf("the check: %+v", check)
	}
	if ready := n.Metrics()["forebay_ready"]; ready != 1 {
		t.Errorf("forebay_ready is %v: events are accepted", ready)
	}
	accepted()
	disk.Heal()
	nodetest.Eventually(t, limit, func() bool { return durable().OK }, "the check is in order again")
	settled(t, n)
}
