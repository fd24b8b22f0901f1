package wal_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"forebay/wal"
)

// TestDirectoryGone: an append is refused at once where the log's directory is no
// longer the one that was opened, and taken again when that is back. Of what was
// accepted nothing is lost, and another directory is left as it is.
func TestDirectoryGone(t *testing.T) {
	for name, c := range map[string]struct {
		take, putBack func(t *testing.T, dir string)
	}{
		"moved":    {move, moveBack},
		"replaced": {func(t *testing.T, dir string) { move(t, dir); must(t, os.Mkdir(dir, 0o750)) }, moveBack},
		"parent moved": {
			func(t *testing.T, dir string) { move(t, filepath.Dir(dir)) },
			func(t *testing.T, dir string) { moveBack(t, filepath.Dir(dir)) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "data", "wal")
			l := open(t, options(dir))
			kept := newLedger()
			appendOne := func(n int) {
				t.Helper()
				e := entry(n, 2, 100)
				var first uint64
				eventually(t, "an append is taken", func() (ok bool) { first, ok = tryAppend(t, l, e); return ok })
				kept.accept(first, e)
			}
			for n := range 5 {
				appendOne(n)
			}
			c.take(t, dir)
			for range 2 { // when it is noticed, and while it lasts
				if _, err := l.Append(t.Context(), entry(99, 1, 100)); !errors.Is(err, wal.ErrGone) {
					t.Errorf("an append without the directory: %v", err)
				}
			}
			if err := l.InPlace(); !errors.Is(err, wal.ErrGone) {
				t.Errorf("the log says that it is in place: %v", err)
			}
			if _, err := l.Retain(wal.Retention{KeepFrom: 100, Bytes: 1}); !errors.Is(err, wal.ErrGone) {
				t.Errorf("history is deleted without the directory: %v", err)
			}
			c.putBack(t, dir)
			appendOne(6)
			kept.check(t, readAll(t, l, 1), 1)
			closeLog(t, l)
			l = open(t, options(dir))
			kept.check(t, readAll(t, l, 1), 1)
			closeLog(t, l)
		})
	}
}

// TestDirectoryRemoved: nothing is accepted once it is gone for good.
func TestDirectoryRemoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "wal")
	l := open(t, options(dir))
	if _, err := l.Append(t.Context(), entry(1, 1, 100)); err != nil {
		t.Fatal(err)
	}
	must(t, os.RemoveAll(dir))
	for range 2 {
		if _, err := l.Append(t.Context(), entry(2, 1, 100)); !errors.Is(err, wal.ErrGone) {
			t.Errorf("an append without the directory: %v", err)
		}
	}
	if err := l.Close(); !errors.Is(err, wal.ErrGone) {
		t.Errorf("close says %v", err)
	}
}

// TestNewestFileRemoved: a file whose name was taken is written anew from what is
// still open, and what was accepted before is there after a restart.
func TestNewestFileRemoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "wal")
	l := open(t, options(dir))
	kept := newLedger()
	for n := range 30 {
		e := entry(n, 1, 100)
		if n%10 == 9 {
			segments, err := l.Segments()
			must(t, err)
			must(t, os.Remove(filepath.Join(dir, segments[len(segments)-1].Name)))
		}
		var first uint64
		eventually(t, "an append is taken", func() (ok bool) { first, ok = tryAppend(t, l, e); return ok })
		kept.accept(first, e)
	}
	kept.check(t, readAll(t, l, 1), 1)
	closeLog(t, l)
	l = open(t, options(dir))
	kept.check(t, readAll(t, l, 1), 1)
	closeLog(t, l)
}

func tryAppend(t *testing.T, l *wal.Log, e wal.Entry) (uint64, bool) {
	first, err := l.Append(t.Context(), e)
	return first, err == nil
}

func move(t *testing.T, dir string) {
	t.Helper()
	must(t, os.Rename(dir, dir+".away"))
}

func moveBack(t *testing.T, dir string) {
	t.Helper()
	must(t, os.RemoveAll(dir)) // what took its place, if anything
	must(t, os.Rename(dir+".away", dir))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
