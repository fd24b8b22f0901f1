package node_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"forebay/node"
	"forebay/node/nodetest"
)

// TestRepeatRightAfterARestart sends events again to a node that has just been
// opened and whose background work has not begun: their answer may have been lost
// with the process before. They are known, and not stored twice.
func TestRepeatRightAfterARestart(t *testing.T) {
	c := nodetest.Config(t)
	key := nodetest.Key(t, c)
	events := func() []string {
		var all []string
		for i := range 50 {
			all = append(all, nodetest.Event("s", fmt.Sprintf(`,"idempotencyKey":"k-%d"`, i)))
		}
		return all
	}
	n := nodetest.Run(t, c)
	if status, body := n.Post(key, events()...); status != http.StatusOK || !strings.Contains(body, `"accepted":50`) {
		t.Fatalf("post: %d %s", status, body)
	}
	n.Stop()

	opened, err := node.Open(c, node.Options{Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	// A node whose background work ends before it begins: all that it knows of keys, it knows from Open.
	if got := node.KnownKeys(opened); got != 50 {
		t.Errorf("%d keys are known before the first request, want 50", got)
	}
	if err := opened.Close(); err != nil {
		t.Fatal(err)
	}
	n = nodetest.Run(t, c)
	status, body := n.Post(key, events()...)
	if status != http.StatusOK || strings.Count(body, `"duplicate"`) != 50 {
		t.Errorf("the repeat: %d %s", status, body)
	}
	if s, err := n.Admin.Status(context.Background()); err != nil || s.Log.DurableSeq != 50 {
		t.Errorf("%d events are stored (%v), want 50", s.Log.DurableSeq, err)
	}
}
