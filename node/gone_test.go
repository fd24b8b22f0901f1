package node_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"forebay/node/nodetest"
)

// TestDataDirectoryGone: while the data directory or the log's folder is not where
// it was, a strict sender gets 503 at once, what others send is counted as
// dropped, and the node is not ready and says what to do. Put back, it goes on.
func TestDataDirectoryGone(t *testing.T) {
	t.Parallel()
	for name, part := range map[string]string{"the data directory": ".", "the log's folder": "wal"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := nodetest.Config(t)
			key := nodetest.Key(t, c)
			n := nodetest.Run(t, c)
			dir := filepath.Join(c.Node.DataDir, part)
			if status, body := n.Post(key, nodetest.Event("a", "")); status != http.StatusOK {
				t.Fatalf("at the start: %d %s", status, body)
			}
			if err := os.Rename(dir, dir+".away"); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if status, body := n.Post(key, nodetest.Event("a", "")); status != http.StatusServiceUnavailable {
					t.Errorf("without its directory: %d %s", status, body)
				}
			}
			if dropped := n.Status().Ledger.Events.Dropped["storage"]; dropped != 3 {
				t.Errorf("%d events are counted as dropped", dropped)
			}
			nodetest.Eventually(t, limit, func() bool {
				for _, check := range n.Status().Checks {
					if check.Name == "durable" && !check.OK && !check.Ready {
						return strings.Contains(check.Remedy, "put it back")
					}
				}
				return false
			}, "the node is not ready and says what to do")
			if err := os.Rename(dir+".away", dir); err != nil {
				t.Fatal(err)
			}
			nodetest.Eventually(t, limit, func() bool {
				status, _ := n.Post(key, nodetest.Event("a", ""))
				return status == http.StatusOK && n.Status().Accepting
			}, "the node accepts again")
		})
	}
}
