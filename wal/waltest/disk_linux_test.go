package waltest_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"forebay/wal/waltest"
)

func TestPowerLossKeepsWhatWasSynced(t *testing.T) {
	d := waltest.Mount(t)
	f := create(t, d, "a")
	write(t, f, "synced ")
	must(t, f.Sync())
	must(t, syncDir(d))
	write(t, f, "not synced")
	g := create(t, d, "b")
	write(t, g, "data without a name")
	must(t, g.Sync())

	after := d.Crash(t, nil)
	if got := read(t, after, "a"); got != "synced " {
		t.Errorf("a holds %q", got)
	}
	if _, err := os.Stat(filepath.Join(after, "b")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("b has survived without a directory sync: %v", err)
	}
	if got := read(t, d.Dir(), "a"); got != "synced not synced" {
		t.Errorf("the disk itself has changed: %q", got)
	}
	for seed := range uint64(50) {
		after := d.Crash(t, rand.New(rand.NewPCG(seed, 0)))
		if got := read(t, after, "a"); !strings.HasPrefix(got, "synced ") || len(got) > len("synced not synced") {
			t.Fatalf("seed %d: a holds %q", seed, got)
		}
	}
}

func TestFailedSyncDropsWhatItShows(t *testing.T) {
	d := waltest.Mount(t)
	f := create(t, d, "a")
	must(t, syncDir(d))
	write(t, f, "lost ")
	d.Inject(waltest.Fault{Op: waltest.Sync, Nth: 1})
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("sync: %v", err)
	}
	if hits := d.Hits(); len(hits) != 1 || hits[0] != 1 {
		t.Errorf("hits: %v", hits)
	}
	write(t, f, "kept")
	must(t, f.Sync())
	if got := read(t, d.Dir(), "a"); got != "lost kept" {
		t.Errorf("reading shows %q", got)
	}
	if got := read(t, d.Crash(t, nil), "a"); got != "\x00\x00\x00\x00\x00kept" {
		t.Errorf("the disk has %q", got)
	}
}

func TestRenameNeedsADirectorySync(t *testing.T) {
	d := waltest.Mount(t)
	for _, text := range []string{"old", "new"} {
		f := create(t, d, "temp")
		write(t, f, text)
		must(t, f.Sync())
		must(t, f.Close())
		must(t, os.Rename(filepath.Join(d.Dir(), "temp"), filepath.Join(d.Dir(), "a")))
		if text == "old" {
			must(t, syncDir(d))
		}
	}
	if got := read(t, d.Crash(t, nil), "a"); got != "old" {
		t.Errorf("before the directory sync: %q", got)
	}
	must(t, syncDir(d))
	if got := read(t, d.Crash(t, nil), "a"); got != "new" {
		t.Errorf("after it: %q", got)
	}
}

func TestFaultsStrikeWhenTold(t *testing.T) {
	d := waltest.Mount(t)
	f := create(t, d, "a")
	d.Inject(waltest.Fault{Op: waltest.Write, Nth: 2, Err: syscall.ENOSPC, Short: true})
	write(t, f, "one ")
	if _, err := f.WriteString("two two "); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("second write: %v", err)
	}
	if got := read(t, d.Dir(), "a"); got != "one two " {
		t.Errorf("after a short write: %q", got)
	}
	path := filepath.Join(d.Dir(), "a")
	for op, do := range map[waltest.Op]func() error{
		waltest.Open:     func() error { _, err := os.Open(path); return err },
		waltest.Rename:   func() error { return os.Rename(path, path+"2") },
		waltest.Unlink:   func() error { return os.Remove(path) },
		waltest.SyncDir:  func() error { return syncDir(d) },
		waltest.Truncate: func() error { return os.Truncate(path, 0) },
	} {
		d.Inject(waltest.Fault{Op: op, Nth: 1, Count: -1})
		for range 2 {
			if err := do(); !errors.Is(err, syscall.EIO) {
				t.Errorf("%s: %v", op, err)
			}
		}
	}
	d.Heal()
	must(t, os.Remove(path))
}

func create(t *testing.T, d *waltest.Disk, name string) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(d.Dir(), name))
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func write(t *testing.T, f *os.File, text string) {
	t.Helper()
	_, err := f.WriteString(text)
	must(t, err)
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	must(t, err)
	return string(text)
}

func syncDir(d *waltest.Disk) error {
	f, err := os.Open(d.Dir())
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestEachOperationIsAMomentToLosePower compares what is left behind each
// operation of a replacement: the old file, or the new one, never neither.
func TestEachOperationIsAMomentToLosePower(t *testing.T) {
	d := waltest.Mount(t)
	f := create(t, d, "a")
	write(t, f, "old")
	must(t, f.Sync())
	must(t, f.Close())
	must(t, syncDir(d))
	var left []string
	d.OnChange(t, func(n int, crash func(*rand.Rand) string) {
		for seed := range uint64(8) {
			left = append(left, crash(rand.New(rand.NewPCG(seed, uint64(n)))))
		}
	})
	f = create(t, d, "temp")
	write(t, f, "new")
	must(t, f.Sync())
	must(t, f.Close())
	must(t, syncDir(d))
	must(t, os.Rename(filepath.Join(d.Dir(), "temp"), filepath.Join(d.Dir(), "a")))
	must(t, syncDir(d))
	d.OnChange(t, nil)
	f = create(t, d, "later")
	must(t, f.Close())

	const operations = 6 // create, write, sync, sync directory, rename, sync directory
	if len(left) != operations*8 {
		t.Fatalf("power was lost %d times", len(left))
	}
	seen := map[string]int{}
	for i, dir := range left {
		got := read(t, dir, "a")
		seen[got]++
		if want := "old"; i < 4*8 && got != want {
			t.Errorf("before the rename: %q", got)
		}
		if _, err := os.Stat(filepath.Join(dir, "temp")); i >= 4*8 && i < 5*8 && (err == nil) == (got == "new") {
			t.Errorf("behind the rename there are %q and temp: %v", got, err)
		}
	}
	if seen["old"]+seen["new"] != len(left) || seen["new"] <= 8 {
		t.Errorf("seen: %v", seen)
	}
}
