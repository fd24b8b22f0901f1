package wal_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"forebay/wal"
)

// TestTornTail cuts the newest segment at every byte, and fills it with zeros
// from every byte on.
func TestTornTail(t *testing.T) {
	t.Parallel()
	segment := 4 << 10
	if torture() {
		segment = 64 << 10
	}
	dir := filepath.Join(fastDir(t), "log")
	o := options(dir)
	o.SegmentBytes = 2 * int64(segment) // all blocks in one file, and little memory for each of the thousands of opens
	l := open(t, o)
	for n := 0; l.Stats().Bytes < int64(segment); n++ {
		mustAppend(t, l, entry(n, 1+n%3, 40+n*7%400))
	}
	whole := readAll(t, l, 1)
	closeLog(t, l)
	newest := newestWithBlocks(t, dir)
	text := readFile(t, newest)

	ways := map[string]func(n int) []byte{
		"cut":         func(n int) []byte { return text[:n] },
		"zero-filled": func(n int) []byte { return append(bytes.Clone(text[:n]), make([]byte, len(text)-n)...) },
	}
	for way, damage := range ways {
		t.Run(way, func(t *testing.T) {
			for n := range text {
				writeFile(t, newest, damage(n))
				checkTorn(t, o, whole, n, len(damage(n)))
				if t.Failed() {
					t.Fatalf("%s at byte %d", way, n)
				}
				for _, path := range segmentFiles(t, dir) {
					if path != newest {
						os.Remove(path)
					}
				}
				os.RemoveAll(filepath.Join(dir, "quarantine"))
			}
		})
	}
}

// checkTorn opens a log whose newest segment is whole up to byte n.
func checkTorn(t *testing.T, o wal.Options, whole contents, n, size int) {
	t.Helper()
	var kept []*wal.Block
	end := int64(0)
	for _, b := range whole.blocks {
		blockEnd := b.Offset + int64(b.Size())
		if blockEnd > int64(n) {
			break
		}
		kept, end = append(kept, b), blockEnd
	}
	l := open(t, o)
	got := readAll(t, l, 1)
	if len(got.blocks) != len(kept) || len(got.gaps) > 0 {
		t.Fatalf("%d blocks and gaps %v, want %d blocks", len(got.blocks), got.gaps, len(kept))
	}
	last := uint64(0)
	if len(kept) > 0 {
		last = kept[len(kept)-1].LastSeq()
	}
	for seq, data := range got.entries {
		if !bytes.Equal(data, whole.entries[seq]) {
			t.Fatalf("seq %d has changed", seq)
		}
	}
	cut := l.Recovery().Cut
	if torn := int64(size) - end; torn == 0 {
		if len(cut) > 0 {
			t.Errorf("cut %+v off a whole file", cut)
		}
	} else {
		if len(cut) != 1 || cut[0].Offset != end || cut[0].Bytes != torn || cut[0].Reason == "" {
			t.Fatalf("cut %+v, want %d bytes at %d", cut, torn, end)
		}
		saved, err := filepath.Glob(filepath.Join(o.Dir, "quarantine", fmt.Sprintf("%s-%d-%d-*", cut[0].File, cut[0].Offset, cut[0].Bytes)))
		if err != nil || len(saved) != 1 || len(readFile(t, saved[0])) != int(torn) {
			t.Errorf("the copies %v are not one of %d bytes, %v", saved, torn, err)
		}
	}
	if first := mustAppend(t, l, entry(1<<40, 1, 10)); first != last+1 {
		t.Errorf("goes on with seq %d, want %d", first, last+1)
	}
	if got := readAll(t, l, 1); len(got.blocks) != len(kept)+1 || len(got.gaps) > 0 {
		t.Errorf("%d blocks and gaps %v after one more append", len(got.blocks), got.gaps)
	}
	closeLog(t, l)
}

// TestEveryFlippedBit flips every bit of one block and of its length prefix, in
// an old segment and in the newest one with good blocks behind it.
func TestEveryFlippedBit(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(fastDir(t), "log")
	o := options(dir)
	o.SegmentBytes = 1200
	l := open(t, o)
	for n := range 20 {
		mustAppend(t, l, entry(n, 2, 130))
	}
	whole := readAll(t, l, 1)
	last := whole.blocks[len(whole.blocks)-1]
	closeLog(t, l)
	for name, victim := range map[string]*wal.Block{
		"old segment, first block": firstIn(whole.blocks, whole.blocks[len(whole.blocks)/2].File),
		"old segment, last block":  lastBefore(whole.blocks, whole.blocks[len(whole.blocks)/2].File),
		"newest segment":           firstIn(whole.blocks, last.File),
	} {
		t.Run(name, func(t *testing.T) {
			if victim.Number == last.Number {
				t.Fatal("no good block behind it")
			}
			path := filepath.Join(dir, victim.File)
			text := readFile(t, path)
			prefix := int64(len(binary.AppendUvarint(nil, uint64(victim.Size()))))
			if victim.Size() > 1<<10 {
				t.Fatalf("a block of %d bytes", victim.Size())
			}
			for at := victim.Offset - prefix; at < victim.Offset+int64(victim.Size()); at++ {
				for bit := range 8 {
					flipped := bytes.Clone(text)
					flipped[at] ^= 1 << bit
					writeFile(t, path, flipped)
					checkFlipped(t, dir, whole, victim, at < victim.Offset)
					if t.Failed() {
						t.Fatalf("bit %d of byte %d, the block begins at %d", bit, at, victim.Offset)
					}
				}
			}
			writeFile(t, path, text)
		})
	}
}

func firstIn(blocks []*wal.Block, file string) *wal.Block {
	for _, b := range blocks {
		if b.File == file {
			return b
		}
	}
	return nil
}

func lastBefore(blocks []*wal.Block, file string) *wal.Block {
	var last *wal.Block
	for _, b := range blocks {
		if b.File == file {
			break
		}
		last = b
	}
	return last
}

// checkFlipped checks that a reader and Verify find exactly the damage.
func checkFlipped(t *testing.T, dir string, whole contents, victim *wal.Block, onlyPrefix bool) {
	t.Helper()
	l, err := wal.Open(wal.Options{Dir: dir, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, from := range []uint64{1, victim.FirstSeq} {
		got := readAll(t, l, from)
		for seq, data := range whole.entries {
			want := seq >= from && (onlyPrefix || seq < victim.FirstSeq || seq > victim.LastSeq())
			if found, ok := got.entries[seq]; ok != want && seq >= from || ok && !bytes.Equal(found, data) {
				t.Fatalf("from %d: entry at seq %d delivered: %v, expected: %v", from, seq, ok, want)
			}
		}
		if onlyPrefix {
			if len(got.gaps) > 0 {
				t.Fatalf("gaps %+v, but nothing is lost", got.gaps)
			}
			continue
		}
		if len(got.gaps) != 1 {
			t.Fatalf("from %d: gaps %+v", from, got.gaps)
		}
		g := got.gaps[0]
		prefix := victim.Offset - int64(len(binary.AppendUvarint(nil, uint64(victim.Size()))))
		if g.First != victim.FirstSeq || g.Last != victim.LastSeq() || g.File != victim.File || g.Offset != prefix || g.Reason == "" {
			t.Fatalf("from %d: gap %+v, want seqs %d to %d of %s at %d", from, g, victim.FirstSeq, victim.LastSeq(), victim.File, prefix)
		}
	}
	s := l.Stats()
	lost := uint64(victim.Events)
	if onlyPrefix {
		lost = 0
	}
	if s.Damaged != 1 || s.LostSeqs != lost {
		t.Errorf("stats: %d damaged, %d lost, want 1 and %d", s.Damaged, s.LostSeqs, lost)
	}
	report, err := wal.Verify(dir)
	if err != nil || report.DamagedCount != 1 || report.LostSeqs != lost || report.TornTail != nil {
		t.Errorf("verify: %+v, %v", report, err)
	}
}

// TestDamageIsQuarantinedOnce has several readers meet the same damage.
func TestDamageIsQuarantinedOnce(t *testing.T) {
	o := options(filepath.Join(fastDir(t), "log"))
	l := open(t, o)
	fill(t, l, 60)
	whole := readAll(t, l, 1)
	victim := whole.blocks[3]
	flip(t, filepath.Join(o.Dir, victim.File), victim.Offset+int64(victim.HeaderSize))
	for range 3 {
		if got := readAll(t, l, 1); len(got.gaps) != 1 || got.gaps[0].First != victim.FirstSeq {
			t.Fatalf("gaps %+v", got.gaps)
		}
	}
	// A reader that begins inside the gap sees its part of it.
	if got := readAll(t, l, victim.LastSeq()); len(got.gaps) != 1 || got.gaps[0].First != victim.LastSeq() {
		t.Errorf("gaps %+v", got.gaps)
	}
	if s := l.Stats(); s.Damaged != 1 || s.LostSeqs != uint64(victim.Events) {
		t.Errorf("stats: %d damaged, %d lost", s.Damaged, s.LostSeqs)
	}
	copies, err := os.ReadDir(filepath.Join(o.Dir, "quarantine"))
	if err != nil || len(copies) != 1 {
		t.Fatalf("quarantine: %v, %v", copies, err)
	}
	closeLog(t, l)
	l = open(t, o)
	readAll(t, l, 1)
	if copies, _ = os.ReadDir(filepath.Join(o.Dir, "quarantine")); len(copies) != 1 {
		t.Errorf("quarantine after a restart: %v", copies)
	}
}

func TestQuarantineIsBounded(t *testing.T) {
	o := options(filepath.Join(fastDir(t), "log"))
	o.QuarantineBytes = 300
	l := open(t, o)
	fill(t, l, 60)
	whole := readAll(t, l, 1)
	for i := 2; i < 20; i += 3 {
		b := whole.blocks[i]
		flip(t, filepath.Join(o.Dir, b.File), b.Offset+50)
	}
	got := readAll(t, l, 1)
	if len(got.gaps) != 6 {
		t.Errorf("gaps %+v", got.gaps)
	}
	if s := l.Stats(); s.Damaged != 6 || s.Quarantined == 0 || s.Quarantined > 300 {
		t.Errorf("stats: %d damaged, %d bytes in quarantine", s.Damaged, s.Quarantined)
	}
}

// TestForgedBlocks stores blocks inside of payloads, as a client could that
// knows every public field, and damages the blocks around them.
func TestForgedBlocks(t *testing.T) {
	for _, compression := range []wal.Compression{wal.CompressionNone, wal.CompressionS2, wal.CompressionZstd} {
		t.Run(compression.String(), func(t *testing.T) {
			o := options(filepath.Join(fastDir(t), "log"))
			o.SegmentBytes, o.Compression = 1<<20, compression
			l := open(t, o)
			mustAppend(t, l, entry(0, 1, 50))
			// The forgery is the log's own next block but one, byte for byte
			// what the log would write, so that nothing in it is wrong.
			forged := forge(t, l, o)
			carrier := wal.Entry{Data: forged, Events: 1, Digests: digestsOf(forged)}
			mustAppend(t, l, carrier)
			const behind = 8 // so many that the carrier is no longer in memory
			for n := range behind {
				mustAppend(t, l, entry(2+n, 1, 50))
			}
			whole := readAll(t, l, 1)
			if !bytes.Equal(whole.entries[2], forged) {
				t.Fatal("the carrier was not stored as it is")
			}
			if carrier := whole.blocks[1]; carrier.Mask == 0 {
				t.Error("the payload was not masked")
			} else {
				path := filepath.Join(o.Dir, carrier.File)
				text := readFile(t, path)
				for at := carrier.Offset; at < carrier.Offset+40; at++ {
					flip(t, path, at)
					got := readAll(t, l, 1)
					if len(got.blocks) != 1+behind || len(got.gaps) != 1 || got.gaps[0].First != 2 || got.gaps[0].Last != 2 {
						t.Fatalf("byte %d damaged: %d blocks, gaps %+v", at-carrier.Offset, len(got.blocks), got.gaps)
					}
					writeFile(t, path, text)
				}
			}
		})
	}
}

// forge returns the bytes of a block that would be good in l: its ID, the next
// number but one, the next seqs.
func forge(t *testing.T, l *wal.Log, o wal.Options) []byte {
	t.Helper()
	dir := filepath.Join(fastDir(t), "forger")
	closeLog(t, open(t, wal.Options{Dir: dir, ReserveBytes: -1}))
	writeFile(t, filepath.Join(dir, "identity.json"), readFile(t, filepath.Join(o.Dir, "identity.json")))
	f := open(t, wal.Options{Dir: dir, ReserveBytes: -1, Floor: l.DurableSeq()})
	for n := range 3 {
		mustAppend(t, f, entry(100+n, 1, 60))
	}
	blocks := readAll(t, f, l.DurableSeq()+1).blocks
	b := blocks[2]
	return readFile(t, filepath.Join(dir, b.File))[b.Offset:][:b.Size()]
}

// digestsOf spells bytes as digests, to forge a block in a header.
func digestsOf(p []byte) []uint64 {
	var digests []uint64
	for ; len(p) >= 8; p = p[8:] {
		digests = append(digests, binary.LittleEndian.Uint64(p))
	}
	return digests
}

func flip(t testing.TB, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x10
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}
