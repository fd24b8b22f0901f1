package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// within fails the test when what is done, which is said to return promptly, does not.
func within(t *testing.T, what string, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s does not return", what)
	}
}

// pathError is what the system's calls return.
func pathError(op errorfs.Op, errno syscall.Errno) error {
	return &os.PathError{Op: "test", Path: op.Path, Err: errno}
}

// TestErrorSweep fails each file operation of a store's life in turn. Whatever fails, nothing hangs or
// panics, what was acknowledged is there afterwards, and a failure is final and names its cause.
func TestErrorSweep(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
		t.Run(errno.Error(), func(t *testing.T) {
			for n := int64(0); ; n++ {
				if hit := sweepOnce(t, n, errno); !hit {
					if n < 50 {
						t.Fatalf("only %d operations", n)
					}
					t.Logf("%d operations", n)
					return
				}
			}
		})
	}
}

func sweepOnce(t *testing.T, n int64, errno syscall.Errno) (hit bool) {
	disk := vfs.NewCrashableMem()
	var count atomic.Int64
	var injected atomic.Bool
	fs := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite || count.Add(1) != n+1 {
			return nil
		}
		injected.Store(true)
		return pathError(op, errno)
	}))
	acked := map[string]string{}
	within(t, fmt.Sprintf("run %d", n), func() {
		s, err := open("state", Options{}, fs)
		if err != nil {
			if !errors.Is(err, errno) {
				t.Errorf("run %d: open: %v does not name its cause", n, err)
			}
			return
		}
		sweepWork(t, n, s, acked)
		if err := s.Close(); err != nil && !errors.Is(err, errno) {
			t.Errorf("run %d: close: %v does not name its cause", n, err)
		}
	})
	after := mustOpen(t, disk.CrashClone(vfs.CrashCloneCfg{}))
	defer mustClose(t, after)
	found := contents(t, after, "")
	for key, value := range acked {
		if found[key] != value {
			t.Fatalf("run %d: %s was acknowledged and is gone", n, key)
		}
	}
	return injected.Load()
}

func sweepWork(t *testing.T, n int64, s *Store, acked map[string]string) {
	for i := range 12 {
		key := fmt.Sprintf("k%02d", i)
		err := s.Commit(set(key, "v"), set("x"+key, strings.Repeat("x", 1000)))
		failed := s.Err()
		if err == nil {
			acked[key] = "v"
		} else if again := new(FailedError); !errors.As(err, &again) || failed == nil {
			t.Errorf("run %d: commit failed with %v and the store with %v", n, err, failed)
		}
		if i%3 == 2 && failed == nil {
			s.guard(s.failed, s.db.Flush) // its failure is the store's, which is looked at
		}
	}
	if s.Err() != nil {
		if _, err := s.Get("k00"); !errors.Is(err, s.Err()) {
			t.Errorf("run %d: Get of a failed store: %v", n, err)
		}
	}
}

// failing makes operations on files with the suffix fail while on.
type failing struct {
	on     atomic.Bool
	suffix string
	errno  syscall.Errno
}

func (f *failing) wrap(fs vfs.FS) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if f.on.Load() && strings.HasSuffix(op.Path, f.suffix) && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return pathError(op, f.errno)
		}
		return nil
	}))
}

func TestLogFailureEndsEveryCall(t *testing.T) {
	disk := &failing{suffix: ".log", errno: syscall.EIO}
	s := mustOpen(t, disk.wrap(vfs.NewMem()))
	if err := s.Commit(set("a", "1")); err != nil {
		t.Fatal(err)
	}
	disk.on.Store(true)
	within(t, "a commit to a broken disk", func() {
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				err := s.Commit(set(fmt.Sprint(i), "x"))
				if failed := new(FailedError); !errors.As(err, &failed) || !errors.Is(err, syscall.EIO) {
					t.Errorf("commit %d: %v", i, err)
				}
			})
		}
		wg.Wait()
	})
	<-s.Failed()
	if err := s.Err(); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "check the disk") {
		t.Errorf("the failure is %v", err)
	}
	disk.on.Store(false) // the disk coming back does not bring the store back
	within(t, "a call of a failed store", func() {
		if _, err := s.Get("a"); !errors.Is(err, s.Err()) {
			t.Errorf("Get: %v", err)
		}
		if err := s.Scan("", func(string, []byte) error { return nil }); !errors.Is(err, s.Err()) {
			t.Errorf("Scan: %v", err)
		}
		if got := s.Stats(); got.Failure == "" || got.Commits != 2 {
			t.Errorf("Stats: %+v", got)
		}
		if err := s.Close(); !errors.Is(err, s.Err()) {
			t.Errorf("Close: %v", err)
		}
	})
}

func TestFlushFailureEndsTheStore(t *testing.T) {
	disk := &failing{suffix: ".sst", errno: syscall.EIO}
	s := mustOpen(t, disk.wrap(vfs.NewMem()))
	disk.on.Store(true)
	within(t, "filling memtables that cannot be flushed", func() {
		for i := 0; s.Err() == nil; i++ {
			if err := s.Commit(set(fmt.Sprint(i), strings.Repeat("x", 1<<20))); err != nil && !errors.Is(err, syscall.EIO) {
				t.Errorf("commit: %v", err)
			}
		}
	})
	if !errors.Is(s.Err(), syscall.EIO) {
		t.Errorf("the failure is %v", s.Err())
	}
}

func TestFullDiskWhileFlushingPasses(t *testing.T) {
	disk := &failing{suffix: ".sst", errno: syscall.ENOSPC}
	s := mustOpen(t, disk.wrap(vfs.NewMem()))
	disk.on.Store(true)
	flushed, err := s.db.AsyncFlush()
	if err == nil {
		err = s.Commit(set("a", "1"))
	}
	if err == nil {
		flushed, err = s.db.AsyncFlush()
	}
	if err != nil {
		t.Fatal(err)
	}
	awaitFull(t, s)
	if err := s.Commit(set("b", "2")); err != nil || s.Err() != nil {
		t.Errorf("commit while no table can be written: %v, %v", err, s.Err())
	}
	disk.on.Store(false)
	within(t, "the flush after the disk has room", func() { <-flushed })
	if got := contents(t, s, ""); len(got) != 2 {
		t.Errorf("contents: %v", got)
	}
	mustClose(t, s)
}

// awaitFull waits until some write waits for space.
func awaitFull(t *testing.T, s *Store) {
	t.Helper()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	within(t, "waiting for a write that finds no space", func() {
		for s.FullSince().IsZero() {
			<-poll.C
		}
	})
}

func TestFullDiskMakesCommitsWait(t *testing.T) {
	disk := &failing{suffix: ".log", errno: syscall.ENOSPC}
	s := mustOpen(t, disk.wrap(vfs.NewMem()))
	if err := s.Commit(set("a", "1")); err != nil {
		t.Fatal(err)
	}
	disk.on.Store(true)
	committed := make(chan error, 1)
	go func() { committed <- s.Commit(set("b", "2")) }()
	awaitFull(t, s)
	if v, err := s.Get("a"); string(v) != "1" || err != nil {
		t.Errorf("Get while the disk is full: %q, %v", v, err)
	}
	if got := s.Stats(); s.FullSince().IsZero() || got.Failure != "" {
		t.Errorf("stats while the disk is full: %+v", got)
	}
	disk.on.Store(false)
	within(t, "the commit after the disk has room", func() {
		if err := <-committed; err != nil {
			t.Error(err)
		}
	})
	if got := s.Stats(); !s.FullSince().IsZero() || got.Commits != 3 {
		t.Errorf("stats after: %+v", got)
	}
	mustClose(t, s)
}

func TestCloseDoesNotWaitForSpace(t *testing.T) {
	disk := &failing{suffix: ".log", errno: syscall.ENOSPC}
	s := mustOpen(t, disk.wrap(vfs.NewMem()))
	disk.on.Store(true)
	committed := make(chan error, 1)
	go func() { committed <- s.Commit(set("b", "2")) }()
	awaitFull(t, s)
	within(t, "Close on a full disk", func() {
		if err := s.Close(); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Close: %v", err)
		}
		if err := <-committed; !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Commit: %v", err)
		}
	})
}

func TestOnDiskFullFreesTheReserve(t *testing.T) {
	disk := &failing{suffix: ".log", errno: syscall.ENOSPC}
	calls := 0
	s, err := open("state", Options{OnDiskFull: func() { calls++; disk.on.Store(false) }}, disk.wrap(vfs.NewMem()))
	if err != nil {
		t.Fatal(err)
	}
	disk.on.Store(true)
	if err := s.Commit(set("a", "1")); err != nil {
		t.Fatal(err)
	}
	if got := s.Stats(); calls != 1 || got.DiskFull != 1 {
		t.Errorf("called %d times, counted %d", calls, got.DiskFull)
	}
	mustClose(t, s)
}

// TestDamage breaks each file of a store in several ways. Opening it says so with a remedy, or finds all
// there is; only in the log that a crash left behind may the newest commits be missing.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	const count = 200
	for i := range count {
		if err := s.Commit(set(damageKey(i), strings.Repeat(damageKey(i), 20))); err != nil {
			t.Fatal(err)
		}
		if i == count/2 {
			if err := s.db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	crashed := t.TempDir()
	if err := os.CopyFS(crashed, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	t.Run("closed", func(t *testing.T) { damageEach(t, dir, count, count) })
	t.Run("crashed", func(t *testing.T) { damageEach(t, crashed, count, count/2+1) })
}

func damageKey(i int) string { return fmt.Sprintf("key%03d", i) }

func damageEach(t *testing.T, whole string, count, countWithoutLog int) {
	files, err := os.ReadDir(whole)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(filepath.Join(whole, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		least := count
		if strings.HasSuffix(file.Name(), ".log") {
			least = countWithoutLog
		}
		damages := map[string]func(path string) error{"remove": os.Remove}
		for _, at := range []int{0, len(data) / 3, len(data) / 2, len(data) - 1} {
			if at < 0 || at >= len(data) {
				continue
			}
			damages[fmt.Sprint("cut at ", at)] = func(path string) error { return os.Truncate(path, int64(at)) }
			damages[fmt.Sprint("flip at ", at)] = func(path string) error {
				flipped := append([]byte{}, data...)
				flipped[at] ^= 0x10
				return os.WriteFile(path, flipped, 0o600)
			}
		}
		for name, damage := range damages {
			t.Run(file.Name()+" "+name, func(t *testing.T) {
				dir := t.TempDir()
				if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
					t.Fatal(err)
				}
				if err := damage(filepath.Join(dir, file.Name())); err != nil {
					t.Fatal(err)
				}
				within(t, "opening a damaged store", func() { checkDamaged(t, dir, least) })
			})
		}
	}
}

var errCommitMissing = errors.New("missing is commit")

// checkDamaged wants an error, or at least that many commits and none after one that is missing.
func checkDamaged(t *testing.T, dir string, least int) {
	s, err := Open(dir, Options{})
	if err != nil {
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
			t.Errorf("no remedy: %v", err)
		}
		return
	}
	n := 0
	err = s.Scan("key", func(key string, value []byte) error {
		if key != damageKey(n) || string(value) != strings.Repeat(key, 20) {
			return fmt.Errorf("%w %d, here is %q", errCommitMissing, n, key)
		}
		n++
		return nil
	})
	if err != nil {
		if s.Err() == nil || errors.Is(err, errCommitMissing) {
			t.Errorf("damage was found and the store has not failed: %v", err)
		}
		if err := s.Close(); !errors.Is(err, s.Err()) {
			t.Errorf("Close of a failed store: %v", err)
		}
		return
	}
	if n < least {
		t.Fatalf("%d commits are there, at least %d have to be; fresh is %v", n, least, s.Fresh())
	}
	mustClose(t, s)
}

func TestOpenRefusesANewerFormat(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	markers, err := filepath.Glob(filepath.Join(dir, "marker.format-version.*"))
	if err != nil || len(markers) != 1 {
		t.Fatal(markers, err)
	}
	if err := os.Rename(markers[0], filepath.Join(dir, "marker.format-version.000099.099")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "run that version") {
		t.Errorf("opened a newer format of Pebble: %v", err)
	}

	fs := vfs.NewMem()
	s = mustOpen(t, fs)
	if err := s.Commit(set(metaFormat, "2")); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	if _, err := open("state", Options{}, fs); !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), `"2"`) {
		t.Errorf("opened a newer format of the keys: %v", err)
	}
}

func TestOpenInAnImpossiblePlace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(file, "state"), Options{}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("opened below a file: %v", err)
	}
}

// noTables is a disk on which no table can be made, for want of space.
type noTables struct{ vfs.FS }

func (n noTables) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasSuffix(name, ".sst") {
		return nil, &os.PathError{Op: "create", Path: name, Err: syscall.ENOSPC}
	}
	return n.FS.Create(name, category)
}

// TestOpenWithoutSpaceForATable: what a killed process has committed is flushed by the next opening, which ends, and
// does not try again and again, when there is no space for that.
func TestOpenWithoutSpaceForATable(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := mustOpen(t, fs)
	if err := s.Commit(set("x/1", "value")); err != nil {
		t.Fatal(err)
	}
	killed := fs.CrashClone(vfs.CrashCloneCfg{})
	mustClose(t, s)
	opened := make(chan error, 1)
	go func() {
		_, err := open("state", Options{}, noTables{killed})
		opened <- err
	}()
	select {
	case err := <-opened:
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "free some space") {
			t.Errorf("opening says %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("opening goes on for ever")
	}
}
