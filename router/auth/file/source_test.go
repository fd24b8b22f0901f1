package file_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"forebay/router/auth"
	"forebay/router/auth/file"
)

func TestSourceFollowsTheFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "keys.yaml")
		store, ctx := file.NewStore(path), t.Context()
		key := newKey("shop")
		if err := store.Create(ctx, key); err != nil {
			t.Fatal(err)
		}
		source, dir := file.NewSource(path, discard()), auth.NewDirectory(time.Minute)
		if err := source.Load(dir); err != nil {
			t.Fatal(err)
		}
		if _, known := dir.Lookup(key.Digest); !known || dir.Len() != 1 {
			t.Fatal("the key is not known after Load")
		}
		stop := run(t, source, dir)
		defer stop()

		if _, err := store.Revoke(ctx, key.ID); err != nil {
			t.Fatal(err)
		}
		poll()
		if got, _ := dir.Lookup(key.Digest); got.RevokedAt.IsZero() {
			t.Fatal("a revocation has not reached the directory")
		}

		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for name, breakFile := range map[string]func() error{
			"wrong":   func() error { return os.WriteFile(path, []byte("- projct: x\n"), 0o644) },
			"missing": func() error { return os.Remove(path) },
			"huge":    func() error { return os.Truncate(path, file.MaxFileBytes+1) },
			"folder":  func() error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o755)) },
		} {
			if err := breakFile(); err != nil {
				t.Fatal(err)
			}
			poll()
			poll()
			if s := source.Stats(); s.Connected || !strings.Contains(s.LastError, "key file") || dir.Len() != 1 {
				t.Errorf("%s: stats %+v, %d keys; want an error and the old key", name, s, dir.Len())
			}
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, good, 0o644); err != nil {
				t.Fatal(err)
			}
			poll()
			poll()
			if s := source.Stats(); !s.Connected || s.LastError != "" {
				t.Errorf("%s: stats %+v after the file was mended", name, s)
			}
		}
		if dir.Age() > 2*time.Second || source.Stats().Reloads != 2 {
			t.Errorf("age %v, %d reloads; want a fresh set and two reloads", dir.Age(), source.Stats().Reloads)
		}
	})
}

func TestSourceWaitsForAWriterInPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "keys.yaml")
		entries := []string{"- {project: a, key_sha256: " + digestA + "}\n", "- {project: b, key_sha256: " + digestB + "}\n"}
		if err := os.WriteFile(path, []byte(entries[0]+entries[1]), 0o644); err != nil {
			t.Fatal(err)
		}
		source, dir := file.NewSource(path, discard()), auth.NewDirectory(0)
		stop := run(t, source, dir)
		defer stop()
		synctest.Wait()

		// Half of the new version is on the disk when the source looks.
		if err := os.WriteFile(path, []byte(entries[0]), 0o644); err != nil {
			t.Fatal(err)
		}
		poll()
		if dir.Len() != 2 {
			t.Fatalf("%d keys: a half-written file was believed", dir.Len())
		}
		if err := os.WriteFile(path, []byte(entries[0]+"# longer\n"+entries[1]), 0o644); err != nil {
			t.Fatal(err)
		}
		poll()
		poll()
		if dir.Len() != 2 || source.Stats().LastError != "" {
			t.Fatalf("%d keys, %+v", dir.Len(), source.Stats())
		}
	})
}

func TestLoadRefusesAFileThatCannotBeUsed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.yaml")
	source, dir := file.NewSource(path, discard()), auth.NewDirectory(0)
	if err := source.Load(dir); err == nil || source.Stats().Connected {
		t.Fatalf("Load of a missing file = %v, %+v", err, source.Stats())
	}
}

// run starts the source; what it returns stops it.
func run(t *testing.T, source *file.Source, dir *auth.Directory) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- source.Run(ctx, dir) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	}
}

// poll lets the source look at the file once more.
func poll() {
	time.Sleep(time.Second)
	synctest.Wait()
}
