package wal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// TestRecentBlocksAreThoseOfTheFile reads each block twice, at the tail and from
// the file, whatever the blocks' sizes, compression and masks: there must be no
// difference, and no more memory than is allowed.
func TestRecentBlocksAreThoseOfTheFile(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context()) // so that Next does not wait
	cancel()
	memory := "/dev/shm"
	if _, err := os.Stat(memory); err != nil {
		memory = "" // slower
	}
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(memory, "recent-")
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
		for n := range rapid.IntRange(1, 8).Draw(t, "blocks") {
			size := rapid.SampledFrom([]int{1, 500, 500, 5_000, 60_000, maxRecentBlock - 100, maxRecentBlock}).Draw(t, "size")
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
		for seq, entry := range b.Entries() {
			if seq != first || entry.Data[0] != byte(n) {
				t.Fatalf("seq %d holds %d, want %d at %d", seq, entry.Data[0], n, first)
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

// TestReadersWaitForTheDurableEnd has a block in memory that the log has not
// published yet, as it is for a moment in each commit.
func TestReadersWaitForTheDurableEnd(t *testing.T) {
	l, err := Open(Options{Dir: filepath.Join(t.TempDir(), "log"), ReserveBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := l.Append(t.Context(), marked(1, 100)); err != nil {
		t.Fatal(err)
	}
	tail := l.NewReader(1)
	defer tail.Close()
	first, err := tail.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e, g := marked(2, 100), new(group)
	g.add(&e)
	h := first.Header
	h.Number, h.FirstSeq, h.Events = h.Number+1, l.nextSeq(), uint32(g.events)
	l.recent.keep(l.newest().number, l.newest().size, &h, g)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if b, err := tail.Next(ended); err == nil {
		t.Errorf("a reader got seq %d, durable is %d", b.FirstSeq, l.DurableSeq())
	}
}

// TestCommitDoesNotWaitForReaders appends while a reader is copying from memory:
// the block is then left to the file.
func TestCommitDoesNotWaitForReaders(t *testing.T) {
	l, err := Open(Options{Dir: filepath.Join(t.TempDir(), "log"), ReserveBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.recent.mu.RLock()
	_, err = l.Append(t.Context(), Entry{Data: []byte("a"), Events: 1})
	l.recent.mu.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	if l.recent.blocks[0].segment != 0 {
		t.Error("the block is in memory")
	}
	r := l.NewReader(1)
	defer r.Close()
	if b, err := r.Next(t.Context()); err != nil || b.FirstSeq != 1 {
		t.Errorf("a reader got %+v, %v", b, err)
	}
}

// TestRecentBlocksBelongToTheirReaders has entries of all sizes appended at the
// same time, compressed while their group is still open, and followed by several
// readers, some of which give blocks back and some of which keep them. The
// buffers go round between groups, the log's memory and readers: nobody may find
// in one what somebody else has put there.
func TestRecentBlocksBelongToTheirReaders(t *testing.T) {
	const appenders, each, kept = 4, 12, 8
	sizes := []int{8, 8, 500, 500, minChunk + 8, minChunk + 8, 200_000, maxRecentBlock + 8}
	for _, compression := range []Compression{CompressionNone, CompressionS2, CompressionZstd} {
		t.Run(compression.String(), func(t *testing.T) {
			l, err := Open(Options{
				Dir:          filepath.Join(t.TempDir(), "log"),
				SegmentBytes: 1 << 20,
				Compression:  compression,
				ReserveBytes: -1,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			end, cancel := context.WithCancel(t.Context())
			defer cancel()
			var appending, reading sync.WaitGroup
			for n := range 4 {
				reading.Go(func() {
					r := l.NewReader(1)
					defer r.Close()
					next := uint64(1)
					var held []*Block
					for {
						b, err := r.Next(end)
						if err != nil {
							if next != l.nextSeq() || !errors.Is(err, end.Err()) {
								t.Errorf("reader %d ends at seq %d of %d: %v", n, next, l.DurableSeq(), err)
							}
							break
						}
						if b.FirstSeq != next || b.LastSeq() > l.DurableSeq() || len(b.Gaps) > 0 {
							t.Errorf("reader %d: seqs %d to %d and gaps %v where %d is next and %d durable", n, b.FirstSeq, b.LastSeq(), b.Gaps, next, l.DurableSeq())
							return
						}
						next = b.LastSeq() + 1
						if err := checkMarked(b); err != nil {
							t.Errorf("reader %d: %v", n, err)
							return
						}
						if n%2 == 0 {
							b.Release()
							continue
						}
						if held = append(held, b); len(held) > kept {
							held = slices.Delete(held, 0, 1)
						}
					}
					for _, b := range held {
						if err := checkMarked(b); err != nil {
							t.Errorf("reader %d, later: %v", n, err)
						}
					}
				})
			}
			for n := range appenders {
				appending.Go(func() {
					rng := rand.New(rand.NewPCG(uint64(n), 1))
					for i := range each {
						size := sizes[rng.IntN(len(sizes))]
						if _, err := l.Append(t.Context(), marked(uint64(n*each+i), size)); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			appending.Wait()
			cancel()
			reading.Wait()
			if pending := l.Stats().PendingBytes; pending != 0 {
				t.Errorf("%d bytes wait when nothing does", pending)
			}
			if report, err := Verify(l.opts.Dir); err != nil || !report.OK() {
				t.Errorf("%+v, %v", report, err)
			}
		})
	}
}

// marked makes an entry that bears its number all over.
func marked(number uint64, size int) Entry {
	var data []byte
	for at := uint64(0); len(data) < size; at++ {
		data = binary.LittleEndian.AppendUint64(data, number<<32|at)
	}
	e := Entry{Data: data, Events: 1 + int(number%3)}
	for i := range e.Events {
		e.Digests = append(e.Digests, number<<8|uint64(i))
	}
	return e
}

// checkMarked checks that a block holds whole entries of marked, with their
// digests.
func checkMarked(b *Block) error {
	at := b.FirstSeq
	for seq, entry := range b.Entries() {
		if seq != at || len(entry.Data) < 8 {
			return fmt.Errorf("block %d: %d bytes at seq %d where %d is next", b.Number, len(entry.Data), seq, at)
		}
		e := marked(uint64(binary.LittleEndian.Uint32(entry.Data[4:])), len(entry.Data))
		if !bytes.Equal(entry.Data, e.Data) {
			return fmt.Errorf("block %d, seq %d: not the entry that its beginning says", b.Number, seq)
		}
		from := int(seq - b.FirstSeq)
		if len(b.Digests) < from+e.Events || !slices.Equal(b.Digests[from:from+e.Events], e.Digests) {
			return fmt.Errorf("block %d, seq %d: not the entry's digests", b.Number, seq)
		}
		at += uint64(e.Events)
	}
	if at != b.LastSeq()+1 || len(b.Digests) != int(b.Events) {
		return fmt.Errorf("block %d of %d events ends before seq %d and has %d digests", b.Number, b.Events, at, len(b.Digests))
	}
	return nil
}
