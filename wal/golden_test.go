package wal_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"forebay/wal"
)

var writeGolden = flag.Bool("write-golden", false, "write testdata/format-1 anew; a released one must never change")

// golden describes one block of the golden log.
type golden struct {
	Number, FirstSeq uint64
	LogID            wal.ID
	Compression      string
	TimeMillis       int64
	Masked           bool
	Digests          []uint64
	Entries          map[uint64][]byte
}

// TestGoldenLog reads the log of format version 1 that is kept for ever.
func TestGoldenLog(t *testing.T) {
	kept := filepath.Join("testdata", "format-1")
	if *writeGolden {
		makeGolden(t, kept)
	}
	var want []golden
	if err := json.Unmarshal(readFile(t, kept+".json"), &want); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(fastDir(t), "log")
	copyDir(t, kept, dir)
	for _, o := range []wal.Options{{Dir: kept, ReadOnly: true}, options(dir)} {
		l := open(t, o)
		got := readAll(t, l, 1)
		if len(got.blocks) != len(want) {
			t.Fatalf("%d blocks, want %d", len(got.blocks), len(want))
		}
		for i, b := range got.blocks {
			if g, w := asJSON(t, describe(b)), asJSON(t, want[i]); g != w {
				t.Errorf("block %d is\n%s\nwant\n%s", i, g, w)
			}
		}
		closeLog(t, l)
	}
	if report, err := wal.Verify(kept); err != nil || report.DamagedCount > 0 || len(report.Gaps) != 2 || report.TornTail != nil {
		t.Errorf("%+v, %v", report, err)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func describe(b *wal.Block) golden {
	g := golden{
		Number: b.Number, FirstSeq: b.FirstSeq, LogID: b.LogID, Compression: b.Compression.String(),
		TimeMillis: b.Time.UnixMilli(), Masked: b.Mask != 0, Digests: b.Digests, Entries: map[uint64][]byte{},
	}
	for seq, entry := range b.Entries() {
		g.Entries[seq] = entry.Data
	}
	return g
}

// makeGolden writes a log with everything that the format knows: all
// compressions, a masked block, several segments, a second identity, a floor.
func makeGolden(t *testing.T, dir string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for i, c := range []wal.Compression{wal.CompressionNone, wal.CompressionS2, wal.CompressionZstd} {
		o := options(dir)
		o.Compression, o.Floor, o.SegmentBytes = c, uint64(i*40), 900
		l := open(t, o)
		for n := range 6 {
			e := entry(i*10+n, 1+n%3, 60+n*30)
			e.Data = append([]byte(`{"n":`), e.Data[8:]...)
			mustAppend(t, l, e)
		}
		mustAppend(t, l, wal.Entry{Data: []byte("\xf7FBY\r\n\x1a\xbe is the magic"), Events: 2})
		closeLog(t, l)
		if i == 1 {
			if _, err := wal.Reidentify(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	l := open(t, wal.Options{Dir: dir, ReadOnly: true})
	var blocks []golden
	for _, b := range readAll(t, l, 1).blocks {
		blocks = append(blocks, describe(b))
	}
	writeFile(t, dir+".json", []byte(asJSON(t, blocks)+"\n"))
}
