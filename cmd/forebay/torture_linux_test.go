package main

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"forebay/cmd/internal/torturetest"
)

// TestTorture lets someone at the node who wants it to fail. TORTURE_FOR makes it longer, TORTURE_SEED
// repeats the decisions of a run: `make torture` sets both.
func TestTorture(t *testing.T) {
	o := torturetest.Options{
		Seed: rand.Uint64(), For: 16 * time.Second,
		Node: []string{"forebay"}, Receiver: []string{torturetest.ReceiverCommand},
	}
	if text := os.Getenv("TORTURE_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		o.Seed = seed
	}
	if text := os.Getenv("TORTURE_FOR"); text != "" {
		span, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		o.For = span
	}
	t.Logf("seed %d, for %s", o.Seed, o.For)
	torturetest.Run(t, o)
}
