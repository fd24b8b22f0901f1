package main

import (
	"os"
	"testing"
	"time"

	"forebay/cmd/internal/torturetest"
	"forebay/wal/seedtest"
)

// TestTorture lets someone at the node who wants it to fail. TORTURE_FOR makes it longer, RAPID_SEED
// repeats the decisions of a run: `make torture` sets both.
func TestTorture(t *testing.T) {
	o := torturetest.Options{
		Seed: seedtest.Process(t), For: 16 * time.Second,
		Node: []string{"forebay"}, Receiver: []string{torturetest.ReceiverCommand},
	}
	if text := os.Getenv("TORTURE_FOR"); text != "" {
		span, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		o.For = span
	}
	t.Logf("for %s", o.For)
	torturetest.Run(t, o)
}
