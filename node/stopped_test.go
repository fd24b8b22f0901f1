package node_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"forebay/node"
	"forebay/node/nodetest"
)

// TestLookingMakesNoNode: whoever looks at a node that has never run makes no
// data directory, so that doctor does not take it for one that has lost its log.
func TestLookingMakesNoNode(t *testing.T) {
	c := nodetest.Config(t)
	c.Node.DataDir = filepath.Join(t.TempDir(), "data")
	if _, err := node.OpenStopped(c, "test"); !errors.Is(err, node.ErrNeverRan) {
		t.Errorf("opened: %v", err)
	}
	if _, err := os.Stat(c.Node.DataDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the data directory: %v", err)
	}
}

// TestStoppedBeforeAnythingWasCounted: the ledger of a node whose first start
// failed balances.
func TestStoppedBeforeAnythingWasCounted(t *testing.T) {
	c := nodetest.Config(t)
	c.Keys.File.Path = filepath.Join(t.TempDir(), "missing", "keys.yaml")
	if n, err := node.Open(c, node.Options{}); err == nil {
		t.Fatal("it started without keys", n.Close())
	}
	stopped, err := node.OpenStopped(c, "test")
	if err != nil {
		t.Fatal(err)
	}
	if s := stopped.Status(); !s.Ledger.Balanced {
		t.Errorf("the ledger: %+v", s.Ledger)
	}
	if err := stopped.Close(); err != nil {
		t.Error(err)
	}
}
