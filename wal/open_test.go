package wal_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"forebay/wal"
)

func TestNextSeqRule(t *testing.T) {
	for name, test := range map[string]struct {
		floor, next uint64
		lost        *wal.Gap
	}{
		"the log is ahead":        {floor: 3, next: 11},
		"both agree":              {floor: 10, next: 11},
		"the log has lost events": {floor: 25, next: 26, lost: &wal.Gap{First: 11, Last: 25, Reason: wal.ReasonFloor}},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(filepath.Join(fastDir(t), "log"))
			l := open(t, o)
			for n := range 10 {
				mustAppend(t, l, entry(n, 1, 50))
			}
			closeLog(t, l)
			o.Floor = test.floor
			l = open(t, o)
			lost := l.Recovery().Lost
			if (lost == nil) != (test.lost == nil) || lost != nil && *lost != *test.lost {
				t.Errorf("recovery says %+v, want %+v", lost, test.lost)
			}
			if l.DurableSeq() != test.next-1 {
				t.Errorf("durable is %d, want %d", l.DurableSeq(), test.next-1)
			}
			if first := mustAppend(t, l, entry(99, 1, 50)); first != test.next {
				t.Errorf("next seq is %d, want %d", first, test.next)
			}
			for range 2 { // and again after a restart, which knows of it only from the blocks
				gaps := readAll(t, l, 1).gaps
				switch {
				case test.lost == nil && len(gaps) == 0:
				case test.lost == nil || len(gaps) != 1:
					t.Errorf("gaps %+v, want %+v", gaps, test.lost)
				case gaps[0].First != 11 || gaps[0].Last != 25 || gaps[0].Reason != wal.ReasonFloor:
					t.Errorf("gap %+v, want %+v", gaps[0], test.lost)
				}
				closeLog(t, l)
				l = open(t, o)
			}
		})
	}
}

func TestNewLogAboveAFloor(t *testing.T) {
	o := options(filepath.Join(fastDir(t), "log"))
	o.Floor = 500
	l := open(t, o)
	if lost := l.Recovery().Lost; lost == nil || lost.First != 1 || lost.Last != 500 {
		t.Errorf("recovery says %+v", lost)
	}
	if first := mustAppend(t, l, entry(1, 1, 50)); first != 501 {
		t.Fatalf("first seq is %d", first)
	}
	if gaps := readAll(t, l, 1).gaps; len(gaps) != 1 || gaps[0].Last != 500 || gaps[0].Reason != wal.ReasonFloor {
		t.Errorf("gaps %+v", gaps)
	}
}

// TestSeqsAreNotReusedWhenHistoryIsGone: with every event shipped and deleted,
// and nobody to name a floor, a restart still goes on behind the last seq.
func TestSeqsAreNotReusedWhenHistoryIsGone(t *testing.T) {
	o := options(filepath.Join(fastDir(t), "log"))
	l := open(t, o)
	fill(t, l, 50)
	next := l.DurableSeq() + 1
	for range 4 {
		if _, err := l.Retain(wal.Retention{KeepFrom: next, Bytes: 1}); err != nil {
			t.Fatal(err)
		}
		closeLog(t, l)
		l = open(t, o)
	}
	if got := mustAppend(t, l, entry(1, 1, 10)); got != next {
		t.Errorf("seq %d, want %d", got, next)
	}
}

func TestIdentity(t *testing.T) {
	o := options(filepath.Join(fastDir(t), "log"))
	l := open(t, o)
	kept := fill(t, l, 20)
	first, end := l.ID(), l.DurableSeq()
	closeLog(t, l)
	l = open(t, o)
	if l.ID() != first {
		t.Errorf("the identity is %v after a restart, was %v", l.ID(), first)
	}
	closeLog(t, l)

	second, err := wal.Reidentify(o.Dir)
	if err != nil || second == first || second.IsZero() {
		t.Fatalf("reidentify: %v, %v", second, err)
	}
	l = open(t, o)
	if l.ID() != second {
		t.Errorf("the identity is %v, want %v", l.ID(), second)
	}
	e := entry(99, 1, 50)
	if got := mustAppend(t, l, e); got != end+1 {
		t.Errorf("seqs go on with %d, want %d", got, end+1)
	}
	kept.accept(end+1, e)
	got := readAll(t, l, 1)
	kept.check(t, got, 1)
	for _, b := range got.blocks {
		if want := first; b.FirstSeq > end {
			if b.LogID != second {
				t.Errorf("block %d carries %v, want %v", b.Number, b.LogID, second)
			}
		} else if b.LogID != want {
			t.Errorf("block %d carries %v, want %v", b.Number, b.LogID, want)
		}
	}
	if report, err := wal.Verify(o.Dir); err != nil || !report.OK() || report.LogID != second {
		t.Errorf("verify: %+v, %v", report, err)
	}
	closeLog(t, l)

	t.Run("a missing file is made up for from the blocks", func(t *testing.T) {
		if err := os.Remove(filepath.Join(o.Dir, "identity.json")); err != nil {
			t.Fatal(err)
		}
		l := open(t, o)
		if !l.Recovery().IdentityFromBlocks || l.ID() != second {
			t.Errorf("identity %v, recovery %+v", l.ID(), l.Recovery())
		}
		kept.check(t, readAll(t, l, 1), 1)
		closeLog(t, l)
		l = open(t, o)
		if l.Recovery().IdentityFromBlocks || l.ID() != second {
			t.Errorf("after one more restart: identity %v, recovery %+v", l.ID(), l.Recovery())
		}
		closeLog(t, l)
	})
	for name, text := range map[string]string{
		"damaged": `{"version":1,"ids":[{"id":"12`, "empty": ``, "no identity": `{"version":1,"ids":[]}`,
		"zero": `{"version":1,"ids":[{"id":"00000000000000000000000000000000","first_seq":1}]}`, "newer": `{"version":2,"ids":[]}`,
	} {
		writeFile(t, filepath.Join(o.Dir, "identity.json"), []byte(text))
		if l, err := wal.Open(o); err == nil {
			l.Close()
			t.Errorf("%s identity file was accepted", name)
		} else if !strings.Contains(err.Error(), "identity.json") {
			t.Errorf("%s: the error does not name the file: %v", name, err)
		}
	}
}

// TestBlocksOfAnotherLog puts a segment of a foreign log into the directory.
func TestBlocksOfAnotherLog(t *testing.T) {
	o, other := options(filepath.Join(fastDir(t), "log")), options(filepath.Join(fastDir(t), "other"))
	for _, o := range []wal.Options{o, other} {
		l := open(t, o)
		fill(t, l, 60)
		closeLog(t, l)
	}
	victim := filepath.Base(segmentFiles(t, o.Dir)[1])
	writeFile(t, filepath.Join(o.Dir, victim), readFile(t, filepath.Join(other.Dir, victim)))
	l := open(t, o)
	got := readAll(t, l, 1)
	if len(got.gaps) != 1 || got.gaps[0].File != victim || !strings.Contains(got.gaps[0].Reason, "another log") {
		t.Errorf("gaps %+v", got.gaps)
	}
}

// TestMissingSegment deletes a segment file from the middle of the log.
func TestMissingSegment(t *testing.T) {
	o := options(filepath.Join(fastDir(t), "log"))
	l := open(t, o)
	kept := fill(t, l, 100)
	whole := readAll(t, l, 1)
	closeLog(t, l)
	victim := segmentFiles(t, o.Dir)[2]
	os.Remove(victim)
	l = open(t, o)
	got := readAll(t, l, 1)
	if len(got.gaps) != 1 || got.gaps[0].File != filepath.Base(victim) || got.gaps[0].Reason != wal.ReasonMissing {
		t.Fatalf("gaps %+v", got.gaps)
	}
	for _, b := range whole.blocks {
		inside := b.FirstSeq >= got.gaps[0].First && b.LastSeq() <= got.gaps[0].Last
		if inside != (b.File == filepath.Base(victim)) {
			t.Errorf("block %d of %s, gap %+v", b.Number, b.File, got.gaps[0])
		}
		if inside {
			for seq := range b.Entries() {
				delete(kept.entries, seq)
			}
		}
	}
	kept.check(t, got, 1)
	if report, err := wal.Verify(o.Dir); err != nil || report.LostSeqs != got.gaps[0].Last-got.gaps[0].First+1 || report.DamagedCount != 0 {
		t.Errorf("verify: %+v, %v", report, err)
	}
}

// TestOddFiles opens directories with files that have no business there.
func TestOddFiles(t *testing.T) {
	for name, test := range map[string]struct {
		put   func(t *testing.T, dir string, segments []string)
		moved int
	}{
		"an empty segment behind the newest": {put: func(t *testing.T, dir string, _ []string) {
			writeFile(t, filepath.Join(dir, "00000000000000009000"), nil)
		}},
		"several empty segments": {put: func(t *testing.T, dir string, _ []string) {
			for _, name := range []string{"00000000000000009000", "00000000000000009001", "00000000000000009007"} {
				writeFile(t, filepath.Join(dir, name), nil)
			}
		}},
		"an empty segment with a number in use": {put: func(t *testing.T, dir string, _ []string) {
			writeFile(t, filepath.Join(dir, "00000000000000000100"), nil)
		}},
		"a segment of zeros behind the newest": {put: func(t *testing.T, dir string, _ []string) {
			writeFile(t, filepath.Join(dir, "00000000000000009000"), make([]byte, 5000))
		}},
		"the newest is one byte": {put: func(t *testing.T, dir string, _ []string) {
			writeFile(t, filepath.Join(dir, "00000000000000009000"), []byte{0x91})
		}},
		"leftovers": {put: func(t *testing.T, dir string, segments []string) {
			writeFile(t, segments[1]+".tmp", []byte("half of a rewrite"))
			writeFile(t, filepath.Join(dir, "identity.json.tmp"), []byte("{"))
		}},
		"foreign names": {put: func(t *testing.T, dir string, _ []string) {
			writeFile(t, filepath.Join(dir, "notes.txt"), []byte("hello"))
			writeFile(t, filepath.Join(dir, "123"), []byte("hello"))
			os.Mkdir(filepath.Join(dir, "00000000000000000001.d"), 0o755)
		}},
		"markers that the appender underneath would act on": {moved: 3, put: func(t *testing.T, dir string, segments []string) {
			writeFile(t, segments[2]+".START", nil)
			writeFile(t, segments[1]+".END", nil)
			writeFile(t, filepath.Join(dir, "18446744073709551615"), nil)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(filepath.Join(fastDir(t), "log"))
			l := open(t, o)
			kept := fill(t, l, 150)
			next := l.DurableSeq() + 1
			closeLog(t, l)
			segments := segmentFiles(t, o.Dir)
			test.put(t, o.Dir, segments)
			l = open(t, o)
			kept.check(t, readAll(t, l, 1), 1)
			if moved := l.Recovery().Moved; len(moved) != test.moved {
				t.Errorf("moved %v", moved)
			}
			e := entry(1<<30, 1, 50)
			first := mustAppend(t, l, e)
			if first != next {
				t.Errorf("next seq is %d, want %d", first, next)
			}
			kept.accept(first, e)
			closeLog(t, l)
			l = open(t, o)
			got := readAll(t, l, 1)
			kept.check(t, got, 1)
			if len(got.gaps) > 0 {
				t.Errorf("gaps %+v", got.gaps)
			}
			if _, err := l.Segments(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFirstHeaderDamaged damages the first block of every segment in turn:
// finding a place in the log must not depend on it.
func TestFirstHeaderDamaged(t *testing.T) {
	o := options(filepath.Join(fastDir(t), "log"))
	l := open(t, o)
	fill(t, l, 120)
	whole := readAll(t, l, 1)
	closeLog(t, l)
	for i, path := range segmentFiles(t, o.Dir) {
		text := readFile(t, path)
		if len(text) == 0 {
			continue
		}
		victim := firstIn(whole.blocks, filepath.Base(path))
		flip(t, path, victim.Offset+20)
		l := open(t, wal.Options{Dir: o.Dir, ReadOnly: true})
		for _, b := range whole.blocks {
			if b == victim {
				continue
			}
			if got := readAll(t, l, b.FirstSeq); len(got.blocks) == 0 || got.blocks[0].FirstSeq != b.FirstSeq {
				t.Fatalf("segment %d damaged: block at seq %d not found", i, b.FirstSeq)
			}
		}
		got := readAll(t, l, victim.FirstSeq)
		if len(got.gaps) != 1 || got.gaps[0].File != victim.File || got.gaps[0].Last != victim.LastSeq() {
			t.Errorf("segment %d damaged: gaps %+v", i, got.gaps)
		}
		if infos, err := l.Segments(); err != nil || infos[i].FirstSeq != victim.LastSeq()+1 {
			t.Errorf("segment %d damaged: %+v, %v", i, infos[i], err)
		}
		closeLog(t, l)
		writeFile(t, path, text)
	}
}

// TestSealedTailDamaged damages the last block of a segment that is sealed, and
// the newest that holds blocks: this was acknowledged, so its seqs are lost by
// name and never given out again.
func TestSealedTailDamaged(t *testing.T) {
	o := options(filepath.Join(fastDir(t), "log"))
	l := open(t, o)
	fill(t, l, 20)
	end := l.DurableSeq()
	last := readAll(t, l, end).blocks[0]
	closeLog(t, l)
	closeLog(t, open(t, o)) // seals
	flip(t, filepath.Join(o.Dir, last.File), last.Offset+int64(last.HeaderSize)+3)
	l = open(t, o)
	if cut := l.Recovery().Cut; len(cut) != 1 {
		t.Errorf("cut %+v", cut)
	}
	if lost := l.Recovery().Lost; lost == nil || lost.First != last.FirstSeq || lost.Last != end || lost.File != last.File {
		t.Errorf("lost %+v", lost)
	}
	if lost := l.Stats().LostSeqs; lost != uint64(last.Events) {
		t.Errorf("%d seqs are lost, want %d", lost, last.Events)
	}
	if first := mustAppend(t, l, entry(99, 1, 50)); first != end+1 {
		t.Errorf("next seq is %d, want %d", first, end+1)
	}
	for range 2 {
		if gaps := readAll(t, l, 1).gaps; len(gaps) != 1 || gaps[0].First != last.FirstSeq || gaps[0].Last != end {
			t.Errorf("gaps %+v, want %d to %d", gaps, last.FirstSeq, end)
		}
		closeLog(t, l)
		l = open(t, o)
	}
}

// TestNewerFormatIsRefusedByName makes blocks as a later release might write
// them: whole, and with a version or a flag that is not known here.
func TestNewerFormatIsRefusedByName(t *testing.T) {
	for name, at := range map[string]int64{"version": 8, "flags": 9, "reserved flags": 10} {
		t.Run(name, func(t *testing.T) {
			o := options(filepath.Join(fastDir(t), "log"))
			o.SegmentBytes = 1 << 20
			l := open(t, o)
			fill(t, l, 10)
			b := readAll(t, l, 1).blocks[9]
			path := filepath.Join(o.Dir, b.File)
			text := readFile(t, path)
			text[b.Offset+at] = 0x80
			wal.Rechecksum(text[b.Offset:][:b.HeaderSize], b.LogID)
			closeLog(t, l)
			writeFile(t, path, text)

			var unknown *wal.FormatError
			if l, err := wal.Open(o); err == nil {
				l.Close()
				t.Error("open has taken it")
			} else if !errors.As(err, &unknown) || unknown.File != b.File || unknown.Offset != b.Offset {
				t.Errorf("open: %v", err)
			}
			if _, err := wal.Verify(o.Dir); !errors.As(err, &unknown) {
				t.Errorf("verify: %v", err)
			}
			if string(readFile(t, path)) != string(text) {
				t.Error("the file has been changed")
			}
		})
	}
}

func TestParseID(t *testing.T) {
	id, err := wal.ParseID("00112233445566778899aabbccddeeff")
	if err != nil || id.String() != "00112233445566778899aabbccddeeff" {
		t.Fatalf("%v, %v", id, err)
	}
	text, err := json.Marshal(map[string]wal.ID{"id": id})
	if err != nil || string(text) != `{"id":"00112233445566778899aabbccddeeff"}` {
		t.Errorf("%s, %v", text, err)
	}
	var back struct{ ID wal.ID }
	if err := json.Unmarshal(text, &back); err != nil || back.ID != id {
		t.Errorf("%+v, %v", back, err)
	}
	for _, s := range []string{"", "00", "0011223344556677889900112233445g", "00000000000000000000000000000000", "00112233445566778899aabbccddeeff00"} {
		if id, err := wal.ParseID(s); err == nil {
			t.Errorf("%q became %v", s, id)
		}
	}
}
