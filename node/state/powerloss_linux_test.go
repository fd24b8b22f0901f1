package state

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"forebay/wal/seedtest"
	"forebay/wal/waltest"
)

// TestPowerLossWhileOpening: a store is made, opened and closed on a disk that may lose power behind each operation and
// then has what was synced and any part of the rest, each name of a directory by itself. What is left opens, and has
// all that was committed. Before the later opens stands a process that was killed when it had made new markers.
func TestPowerLossWhileOpening(t *testing.T) {
	t.Parallel()
	const (
		opens  = 4
		states = 4 // of each operation
	)
	seed := seedtest.Of(t)
	type outage struct {
		dir       string
		operation int
		committed int64
	}
	var outages []outage
	var committed atomic.Int64
	disk := waltest.Mount(t)
	disk.OnChange(t, func(n int, crash func(*rand.Rand) string) {
		outages = append(outages, outage{crash(nil), n, committed.Load()})
		for i := range states - 1 {
			outages = append(outages, outage{crash(rand.New(rand.NewPCG(seed, uint64(n*states+i)))), n, committed.Load()})
		}
	})
	for i := range opens {
		if i >= opens/2 {
			leaveMarkers(t, filepath.Join(disk.Dir(), "state"))
		}
		s, err := Open(filepath.Join(disk.Dir(), "state"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(set(fmt.Sprint("x/", i), "value")); err != nil {
			t.Fatal(err)
		}
		committed.Store(int64(i) + 1)
		mustClose(t, s)
	}
	disk.OnChange(t, nil)

	for _, o := range outages {
		s, err := Open(filepath.Join(o.dir, "state"), Options{})
		if err != nil {
			t.Errorf("power lost behind operation %d, with %d commits: %v", o.operation, o.committed, err)
			continue
		}
		if got := int64(len(contents(t, s, "x/"))); got < o.committed {
			t.Errorf("power lost behind operation %d: %d of %d commits are left", o.operation, got, o.committed)
		}
		mustClose(t, s)
		if err := os.RemoveAll(o.dir); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d states of a disk", len(outages))
}

// leaveMarkers makes the next marker of each kind, of the same value, and does not sync it.
func leaveMarkers(t *testing.T, dir string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, markerPrefix+"*"))
	if err != nil || len(names) < 2 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		parts := strings.SplitN(filepath.Base(name), ".", 4) // marker.KIND.NUMBER.VALUE
		number, err := strconv.Atoi(parts[2])
		if err != nil {
			t.Fatal(err)
		}
		parts[2] = fmt.Sprintf("%06d", number+1)
		if err := os.WriteFile(filepath.Join(dir, strings.Join(parts, ".")), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
