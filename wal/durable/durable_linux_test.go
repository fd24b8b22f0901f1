package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"forebay/wal/durable"
	"forebay/wal/waltest"
)

// TestPowerLoss takes what is left if power is lost right after a function has returned, and nothing that was not synced
// survives: what it has done is there.
func TestPowerLoss(t *testing.T) {
	disk := waltest.Mount(t)
	file := filepath.Join("a", "b", "c", "file")
	holds := func(want string) {
		t.Helper()
		got, err := os.ReadFile(filepath.Join(disk.Crash(t, nil), file))
		if err != nil || string(got) != want {
			t.Errorf("after a loss of power the file holds %q, %v; want %q", got, err, want)
		}
	}
	path := filepath.Join(disk.Dir(), file)
	must(t, durable.MakeDir(filepath.Dir(path), 0o750))
	if _, err := os.Stat(filepath.Join(disk.Crash(t, nil), filepath.Dir(file))); err != nil {
		t.Errorf("a folder that was made: %v", err)
	}
	must(t, durable.Write(path, 0o640, []byte("one")))
	holds("one")
	must(t, durable.Write(path, 0o640, []byte("two, longer")))
	holds("two, longer")
	must(t, os.WriteFile(path, []byte("three"), 0o640))
	must(t, durable.SyncFile(path))
	holds("three")
	must(t, os.Remove(path))
	holds("three")
	must(t, durable.SyncDir(filepath.Dir(path)))
	if _, err := os.Stat(filepath.Join(disk.Crash(t, nil), file)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file whose removal was synced: %v", err)
	}
}

// TestFaults fails each operation of a replacement in turn: an error is returned, the old content or the new one is
// there whole, and no other file.
func TestFaults(t *testing.T) {
	disk := waltest.Mount(t)
	path := filepath.Join(disk.Dir(), "file")
	must(t, durable.Write(path, 0o640, []byte("old")))
	for _, op := range []waltest.Op{waltest.Open, waltest.Write, waltest.Sync, waltest.Rename, waltest.SyncDir} {
		disk.Inject(waltest.Fault{Op: op, Nth: 1, Err: syscall.ENOSPC, Short: true})
		err := durable.Write(path, 0o640, []byte("new"))
		disk.Heal()
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s fails: %v", op, err)
		}
		want := "old"
		if op == waltest.SyncDir { // it stands in its place already
			want = "new"
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s fails: the file holds %q, %v", op, got, err)
		}
		if names, err := os.ReadDir(disk.Dir()); err != nil || len(names) != 1 {
			t.Errorf("%s fails: the folder holds %v, %v", op, names, err)
		}
		must(t, durable.Write(path, 0o640, []byte("old")))
	}
}

func TestMakeDir(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o640))
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		if err := durable.MakeDir(dir, 0o750); !errors.Is(err, syscall.ENOTDIR) {
			t.Errorf("MakeDir(%s) where a file is: %v", dir, err)
		}
	}
	for range 2 {
		must(t, durable.MakeDir(filepath.Join(t.TempDir(), "a", "b"), 0o750))
	}
	t.Chdir(t.TempDir())
	must(t, durable.MakeDir("relative", 0o750))
}

// TestReplaceKeepsOutOfLinks: a replacement is written into no file that somebody has put in its way, and its mode does
// not depend on the umask.
func TestReplaceKeepsOutOfLinks(t *testing.T) {
	dir := t.TempDir()
	victim, path := filepath.Join(dir, "victim"), filepath.Join(dir, "file")
	must(t, os.WriteFile(victim, []byte("whole"), 0o600))
	must(t, os.Symlink(victim, path))
	must(t, os.Symlink(victim, path+durable.TempSuffix))
	must(t, durable.Write(path, 0o666, []byte("new")))
	if got, err := os.ReadFile(victim); err != nil || string(got) != "whole" {
		t.Errorf("the victim holds %q, %v", got, err)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode() != 0o666 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "LOCK")
	open := func() *os.File {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o640)
		must(t, err)
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	one, two, three := open(), open(), open()
	must(t, durable.Lock(one, true))
	must(t, durable.Lock(two, true))
	if err := durable.Lock(three, false); !errors.Is(err, durable.ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Errorf("the lock of a file that others share: %v", err)
	}
	must(t, errors.Join(one.Close(), two.Close()))
	must(t, durable.Lock(three, false))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
