package wal_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"forebay/wal"
)

// TestFind looks for digests that stand in one block, in many and in none.
func TestFind(t *testing.T) {
	dir := t.TempDir()
	l := open(t, options(dir))
	const blocks, twice = 200, 77
	var at []uint64
	for n := range blocks {
		e := entry(n, 1+n%3, 100)
		if n%50 == 0 {
			e.Digests[0] = twice
		}
		at = append(at, mustAppend(t, l, e))
	}
	find := func(l *wal.Log, limit int, digest uint64) (found []uint64, damaged []wal.Gap) {
		t.Helper()
		damaged, err := l.Find(t.Context(), limit, func(_ wal.Header, digests []uint64) bool {
			return slices.Contains(digests, digest)
		}, func(b *wal.Block) error {
			if !slices.Contains(b.Digests, digest) {
				t.Errorf("block %d does not have digest %d", b.Number, digest)
			}
			found = append(found, b.FirstSeq)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return found, damaged
	}
	for _, n := range []int{1, 99, blocks - 1} {
		if got, _ := find(l, 10, uint64(n)<<16); !slices.Equal(got, at[n:n+1]) {
			t.Errorf("block %d was found at seqs %d, want %d", n, got, at[n])
		}
	}
	if got, _ := find(l, 10, twice); !slices.Equal(got, []uint64{at[150], at[100], at[50], at[0]}) {
		t.Errorf("found %d, want the newest first", got)
	}
	if got, _ := find(l, 2, twice); !slices.Equal(got, []uint64{at[150], at[100]}) {
		t.Errorf("found %d, want the newest two", got)
	}
	if got, _ := find(l, 10, 1); got != nil {
		t.Errorf("found what is nowhere: %d", got)
	}
	closeLog(t, l)

	// The last byte of a file is in the payload of its last block.
	names, err := filepath.Glob(filepath.Join(dir, "0*"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)-1] ^= 1
	if err := os.WriteFile(names[0], text, 0o600); err != nil {
		t.Fatal(err)
	}
	o := options(dir)
	o.ReadOnly = true
	l = open(t, o)
	infos, err := l.Segments()
	if err != nil {
		t.Fatal(err)
	}
	last := infos[0].LastSeq
	n, _ := slices.BinarySearch(at, last+1)
	found, damaged := find(l, 10, uint64(n-1)<<16)
	if found != nil || len(damaged) != 1 || damaged[0].First != at[n-1] || damaged[0].Last != last {
		t.Errorf("the damaged block: found %d, damaged %+v; want seqs %d to %d", found, damaged, at[n-1], last)
	}
}

// TestFindEnds holds Find to the errors of its caller.
func TestFindEnds(t *testing.T) {
	l := open(t, options(t.TempDir()))
	fill(t, l, 50)
	all := func(wal.Header, []uint64) bool { return true }
	enough := errors.New("enough")
	if _, err := l.Find(t.Context(), 10, all, func(*wal.Block) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("fn's error came back as %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Find(ctx, 10, all, func(*wal.Block) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}
