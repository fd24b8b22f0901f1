package wal

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestRecentBlocksAreThoseOfTheFile reads each block twice, at the tail and from
// the file, whatever the blocks' sizes, compression and masks: there must be no
// difference, and no more memory than is allowed.
func TestRecentBlocksAreThoseOfTheFile(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context()) // so that Next does not wait
	cancel()
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "recent-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		l, err := Open(Options{
			Dir:          filepath.Join(dir, "log"),
			SegmentBytes: rapid.SampledFrom([]int64{4 << 10, 8 << 20}).Draw(t, "segment"),
			Compression:  rapid.SampledFrom([]Compression{CompressionNone, CompressionS2, CompressionZstd}).Draw(t, "compression"),
			ReserveBytes: -1,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		tail := l.NewReader(1)
		defer tail.Close()
		var seen []*Block
		follow := func() {
			for {
				b, err := tail.Next(ended)
				if err != nil {
					return
				}
				seen = append(seen, b)
			}
		}
		for n := range rapid.IntRange(1, 12).Draw(t, "blocks") {
			size := rapid.SampledFrom([]int{1, 500, 60_000, maxRecentBlock - 100, maxRecentBlock, 2 << 20}).Draw(t, "size")
			data := bytes.Repeat([]byte{byte(n)}, size)
			if rapid.Bool().Draw(t, "magic") {
				copy(data, blockMagic[:])
			}
			digests := rapid.SliceOfN(rapid.Uint64(), 0, 3).Draw(t, "digests")
			if _, err := l.Append(t.Context(), Entry{Data: data, Events: 1 + n%3, Digests: digests}); err != nil {
				t.Fatal(err)
			}
			if rapid.IntRange(0, 3).Draw(t, "follow") > 0 {
				follow()
			}
		}
		follow()
		held := 0
		for _, b := range l.recent.blocks {
			held += cap(b.payload)
		}
		if held > recentBlocks*maxRecentBlock*5/4 {
			t.Fatalf("%d bytes are held", held)
		}
		l.recent.blocks = [recentBlocks]recentBlock{} // from here on it is the files that are read
		files := l.NewReader(1)
		defer files.Close()
		for i, b := range seen {
			want, err := files.Next(ended)
			if err != nil {
				t.Fatal(err)
			}
			if b.Header != want.Header || !slices.Equal(b.Digests, want.Digests) || b.File != want.File || b.Offset != want.Offset || !bytes.Equal(b.payload, want.payload) {
				t.Fatalf("block %d at the tail is %+v, in the file %+v", i, b.Header, want.Header)
			}
		}
		if _, err := files.Next(ended); !errors.Is(err, ended.Err()) {
			t.Fatalf("behind the last block: %v", err)
		}
	})
}

// TestTailNeedsNoDisk has every segment file cut to nothing before its blocks are
// read. A reader at the tail gets them all the same, and one that comes later
// finds the damage.
func TestTailNeedsNoDisk(t *testing.T) {
	l, err := Open(Options{Dir: filepath.Join(t.TempDir(), "log"), ReserveBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tail := l.NewReader(1)
	defer tail.Close()
	for n := range 3 * recentBlocks {
		first, err := l.Append(t.Context(), Entry{Data: []byte{byte(n)}, Events: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(l.newest().path, 0); err != nil {
			t.Fatal(err)
		}
		b, err := tail.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for seq, data := range b.Entries() {
			if seq != first || data[0] != byte(n) {
				t.Fatalf("seq %d holds %d, want %d at %d", seq, data[0], n, first)
			}
		}
	}
	late := l.NewReader(1)
	defer late.Close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	b, err := late.Next(ended)
	if err == nil && len(b.Gaps) == 0 {
		t.Errorf("a reader over history found seq %d and no gap before it", b.FirstSeq)
	}
}
