package wal_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"forebay/wal"
)

// smallDisk mounts a file system in memory of the given size.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("mount a small file system: %v", err)
		}
		t.Skipf("mounting a small file system needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
			syscall.Unmount(dir, syscall.MNT_DETACH)
		}
	})
	return dir
}

// fillDisk takes all space that is left and returns the file that holds it.
func fillDisk(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for chunk := make([]byte, 64<<10); len(chunk) > 0; {
		if _, err := f.Write(chunk); err != nil {
			chunk = chunk[:len(chunk)/2]
		}
	}
	return path
}

// appendUntilFull appends until the disk is full, and checks how that is said.
func appendUntilFull(t *testing.T, l *wal.Log, kept *ledger) {
	t.Helper()
	for n := len(kept.entries); ; n++ {
		e := entry(n, 1, 3000)
		first, err := l.Append(t.Context(), e)
		if err == nil {
			kept.accept(first, e)
			continue
		}
		var u *wal.UnavailableError
		if !errors.As(err, &u) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("append to a full disk: %v", err)
		}
		kept.refused[string(e.Data)] = true
		return
	}
}

func available(l *wal.Log) func() bool {
	return func() bool { return l.Stats().Unavailable == nil }
}

func TestDiskFullOfHistory(t *testing.T) {
	o := options(filepath.Join(smallDisk(t, "1m"), "log"))
	o.SegmentBytes, o.ReserveBytes = 32<<10, 200<<10
	l := open(t, o)
	if !l.Stats().ReserveHeld {
		t.Fatal("there is no reserve")
	}
	kept := newLedger()
	for round := range 3 {
		appendUntilFull(t, l, kept)
		eventually(t, "the reserve has been given up", func() bool { return !l.Stats().ReserveHeld })
		for range 3 { // it stays so while nothing is deleted
			if _, err := l.Append(t.Context(), entry(1<<40, 1, 3000)); !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("round %d: append: %v", round, err)
			}
		}
		kept.check(t, readAll(t, l, 1), l.FirstSeq())

		middle := (l.FirstSeq() + l.DurableSeq()) / 2
		if _, err := l.Retain(wal.Retention{KeepFrom: middle, Bytes: 1}); err != nil {
			t.Fatalf("retention on a full disk: %v", err)
		}
		eventually(t, "the log takes appends again", available(l))
		if !l.Stats().ReserveHeld {
			t.Error("the log goes on without a reserve")
		}
		e := entry(1<<30+round, 1, 3000)
		kept.accept(mustAppend(t, l, e), e)
		kept.check(t, readAll(t, l, 1), l.FirstSeq())
	}
	closeLog(t, l)
	l = open(t, o)
	got := readAll(t, l, l.FirstSeq())
	kept.check(t, got, l.FirstSeq())
	if len(got.gaps) > 0 {
		t.Errorf("gaps %+v", got.gaps)
	}
}

func TestDiskFilledByANeighbour(t *testing.T) {
	for name, reserve := range map[string]int64{"with a reserve": 100 << 10, "without": -1} {
		t.Run(name, func(t *testing.T) {
			disk := smallDisk(t, "1m")
			o := options(filepath.Join(disk, "log"))
			o.SegmentBytes, o.ReserveBytes = 32<<10, reserve
			l := open(t, o)
			kept := fill(t, l, 20)
			for range 3 {
				ballast := fillDisk(t, disk)
				appendUntilFull(t, l, kept)
				kept.check(t, readAll(t, l, 1), 1)
				os.Remove(ballast)
				eventually(t, "the log takes appends again", available(l))
				e := entry(len(kept.entries)+1<<20, 1, 3000)
				kept.accept(mustAppend(t, l, e), e)
			}
			kept.check(t, readAll(t, l, 1), 1)
		})
	}
}

func TestOpenOnAFullDisk(t *testing.T) {
	disk := smallDisk(t, "1m")
	o := options(filepath.Join(disk, "log"))
	l := open(t, o)
	kept := fill(t, l, 60)
	closeLog(t, l)
	newest := newestWithBlocks(t, o.Dir)
	writeFile(t, newest, append(readFile(t, newest), make([]byte, 20000)...))
	ballast := fillDisk(t, disk)

	o.ReserveBytes = 100 << 10
	l = open(t, o)
	kept.check(t, readAll(t, l, 1), 1)
	if _, err := l.Append(t.Context(), entry(99, 1, 50)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("append: %v", err)
	}
	os.Remove(ballast)
	eventually(t, "the log takes appends", available(l))
	e := entry(99, 1, 50)
	kept.accept(mustAppend(t, l, e), e)
	got := readAll(t, l, 1)
	kept.check(t, got, 1)
	if len(got.gaps) > 0 {
		t.Errorf("gaps %+v", got.gaps)
	}
	cut := l.Recovery().Cut
	if len(cut) != 1 || cut[0].Bytes != 20000 {
		t.Fatalf("cut %+v", cut)
	}
	if copies, err := os.ReadDir(filepath.Join(o.Dir, "quarantine")); err != nil || len(copies) != 1 {
		t.Errorf("the tail was cut without a copy: %v, %v", copies, err)
	}
}

func TestReleaseReserve(t *testing.T) {
	o := options(filepath.Join(t.TempDir(), "log"))
	o.ReserveBytes = 64 << 10
	l := open(t, o)
	info, err := os.Stat(filepath.Join(o.Dir, "reserve"))
	if err != nil || info.Size() != 64<<10 || info.Sys().(*syscall.Stat_t).Blocks*512 < 64<<10 {
		t.Fatalf("the reserve file: %v, %v", info, err)
	}
	if given, err := l.ReleaseReserve(); !given || err != nil {
		t.Errorf("%v, %v", given, err)
	}
	if given, err := l.ReleaseReserve(); given || err != nil {
		t.Errorf("a second time: %v, %v", given, err)
	}
	mustAppend(t, l, entry(1, 1, 10)) // nothing else depends on it
	if _, err := l.Retain(wal.Retention{}); err != nil || !l.Stats().ReserveHeld {
		t.Errorf("retention has not made it again: %v", err)
	}
	closeLog(t, l)
	if l = open(t, o); !l.Stats().ReserveHeld {
		t.Error("it is not taken over after a restart")
	}
}
