package state

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"forebay/shipper"
)

var _ shipper.State = (*Store)(nil)

func mustOpen(t testing.TB, fs vfs.FS) *Store {
	t.Helper()
	s, err := open("state", Options{}, fs)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustClose(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func set(key, value string) shipper.Write { return shipper.Write{Key: key, Value: []byte(value)} }

// contents is all that a scan finds, without the mark of the format.
func contents(t testing.TB, s *Store, prefix string) map[string]string {
	t.Helper()
	found := map[string]string{}
	last := ""
	err := s.Scan(prefix, func(key string, value []byte) error {
		if key == metaFormat {
			return nil
		}
		if key <= last && last != "" {
			t.Fatalf("%q came after %q", key, last)
		}
		found[key], last = string(value), key
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestOpenTwice(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !s.Fresh() {
		t.Error("a new store is not fresh")
	}
	if err := s.Commit(set("a", "1"), set("empty", "")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrInUse) {
		t.Errorf("opened twice: %v", err)
	}
	mustClose(t, s)
	if _, err := s.Get("a"); !errors.Is(err, ErrClosed) {
		t.Errorf("Get after Close: %v", err)
	}
	if err := s.Commit(set("a", "2")); !errors.Is(err, ErrClosed) {
		t.Errorf("Commit after Close: %v", err)
	}

	s, err = Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, s)
	if s.Fresh() {
		t.Error("an old store is fresh")
	}
	if got := contents(t, s, ""); !reflect.DeepEqual(got, map[string]string{"a": "1", "empty": ""}) {
		t.Errorf("after reopening: %v", got)
	}
	for key, want := range map[string]bool{"a": true, "empty": true, "absent": false} {
		if v, err := s.Get(key); err != nil || v != nil != want {
			t.Errorf("Get(%q) = %v, %v", key, v, err)
		}
	}
}

// TestMain lets the test binary be another process that holds a store.
func TestMain(m *testing.M) {
	if dir := os.Getenv("STATE_TEST_HOLD"); dir != "" {
		s, err := Open(dir, Options{})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("held")
		io.Copy(io.Discard, os.Stdin)
		if err := s.Close(); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	if os.Getenv("FOREBAY_TORTURE") == "" {
		flag.Set("rapid.checks", "20") // Pebble checks itself at length in a race build
	}
	os.Exit(m.Run())
}

func TestOpenWhileAnotherProcessHasIt(t *testing.T) {
	dir := t.TempDir()
	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), "STATE_TEST_HOLD="+dir)
	stdin, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "held\n" {
		t.Fatal(line, err)
	}
	_, err = Open(dir, Options{})
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "another process") {
		t.Errorf("opened while it is held: %v", err)
	}
	stdin.Close()
	if err := other.Wait(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
}

func TestScanTakesExactlyThePrefix(t *testing.T) {
	s := mustOpen(t, vfs.NewMem())
	defer mustClose(t, s)
	keys := []string{"lane/a", "lane/a/", "lane/a/1", "lane/a/2", "lane/a0", "lane/b", "\xff", "\xff\xff", "\xff\xffx"}
	for _, key := range keys {
		if err := s.Commit(set(key, key)); err != nil {
			t.Fatal(err)
		}
	}
	for _, prefix := range []string{"", "lane/", "lane/a/", "lane/a", "x", "\xff", "\xff\xff"} {
		want := map[string]string{}
		for _, key := range keys {
			if strings.HasPrefix(key, prefix) {
				want[key] = key
			}
		}
		if got := contents(t, s, prefix); !reflect.DeepEqual(got, want) {
			t.Errorf("scan of %q: %v, want %v", prefix, got, want)
		}
	}
	stop := errors.New("enough")
	err := s.Scan("lane/", func(key string, value []byte) error {
		if err := s.Commit(set("lane/new", "x"), shipper.Write{Key: key}); err != nil {
			t.Fatal(err)
		}
		return stop
	})
	if err != stop {
		t.Errorf("the error of fn became %v", err)
	}
}

func TestCommitRefusesWhatDoesNotFit(t *testing.T) {
	s := mustOpen(t, vfs.NewMem())
	defer mustClose(t, s)
	many := make([]shipper.Write, MaxCommitBytes/MaxValueBytes+1)
	large := make([]byte, MaxValueBytes+1)
	for i := range many {
		many[i] = shipper.Write{Key: fmt.Sprint(i), Value: large[:MaxValueBytes]}
	}
	for name, writes := range map[string][]shipper.Write{
		"empty key":   {set("a", "1"), set("", "x")},
		"long key":    {set("a", "1"), set(strings.Repeat("k", MaxKeyBytes+1), "x")},
		"large value": {set("a", "1"), {Key: "b", Value: large}},
		"large sum":   many,
	} {
		if err := s.Commit(writes...); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if got := contents(t, s, ""); len(got) != 0 {
		t.Errorf("a refused commit left %d keys", len(got))
	}
	if err := s.Commit(many[:1]...); err != nil { // larger than a memtable
		t.Fatal(err)
	}
	if got := contents(t, s, ""); len(got) != 1 || len(got["0"]) != MaxValueBytes {
		t.Errorf("%d keys after a large commit", len(got))
	}
}

// TestModel compares the store to a map, through restarts and crashes.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fs := vfs.NewCrashableMem()
		s, err := open("state", Options{}, fs)
		if err != nil {
			t.Fatal(err)
		}
		model := map[string]string{}
		key := rapid.StringMatching(`(a|b/|c)[a-c]{0,2}`)
		t.Repeat(map[string]func(*rapid.T){
			"commit": func(t *rapid.T) {
				var writes []shipper.Write
				for range rapid.IntRange(1, 4).Draw(t, "writes") {
					w := shipper.Write{Key: key.Draw(t, "key")}
					if delete(model, w.Key); rapid.Bool().Draw(t, "set") {
						w = set(w.Key, rapid.StringN(0, 5, -1).Draw(t, "value"))
						model[w.Key] = string(w.Value)
					}
					writes = append(writes, w)
				}
				if err := s.Commit(writes...); err != nil {
					t.Fatal(err)
				}
			},
			"flush": func(t *rapid.T) {
				if err := s.db.Flush(); err != nil {
					t.Fatal(err)
				}
			},
			"reopen": func(t *rapid.T) {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if s, err = open("state", Options{}, fs); err != nil {
					t.Fatal(err)
				}
			},
			"crash": func(t *rapid.T) {
				rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
				after := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rapid.SampledFrom([]int{0, 50, 100}).Draw(t, "kept"), RNG: rng})
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				fs = after
				if s, err = open("state", Options{}, fs); err != nil {
					t.Fatal(err)
				}
			},
			"": func(t *rapid.T) {
				got := map[string]string{}
				err := s.Scan("", func(key string, value []byte) error { got[key] = string(value); return nil })
				delete(got, metaFormat)
				if err != nil || !reflect.DeepEqual(got, model) {
					t.Fatalf("%v, %v, want %v", got, err, model)
				}
			},
		})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestCrashWhileCommitting: what Commit had returned before the crash is there, and every commit whole.
func TestCrashWhileCommitting(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := mustOpen(t, fs)
	var (
		mu    sync.Mutex
		acked []string
		wg    sync.WaitGroup
	)
	stop := make(chan struct{})
	for writer := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				name := fmt.Sprintf("%d-%06d", writer, i)
				if err := s.Commit(set("x/"+name, name), set("y/"+name, name)); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acked = append(acked, name)
				mu.Unlock()
			}
		})
	}
	for seed := range uint64(8) {
		mu.Lock()
		before := slices.Clone(acked)
		mu.Unlock()
		clone := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(seed, 0))})
		after := mustOpen(t, clone)
		x, y := contents(t, after, "x/"), contents(t, after, "y/")
		for _, name := range before {
			if x["x/"+name] != name {
				t.Fatalf("crash %d: %s was acknowledged and is gone", seed, name)
			}
		}
		if len(x) != len(y) {
			t.Fatalf("crash %d: half a commit: %d and %d keys", seed, len(x), len(y))
		}
		mustClose(t, after)
	}
	close(stop)
	wg.Wait()
	if len(acked) == 0 {
		t.Fatal("nothing was committed")
	}
	if got := s.Stats(); got.Commits != uint64(len(acked))+1 || got.DiskBytes == 0 || got.MemoryBytes == 0 || got.Failure != "" {
		t.Errorf("stats after %d commits: %+v", len(acked), got)
	}
	mustClose(t, s)
}

// TestFolderStaysSmall saves the same key over and over, as cursors do: the folder
// grows to some logs of Pebble, which are used again, and no further.
func TestFolderStaysSmall(t *testing.T) {
	s := mustOpen(t, vfs.NewMem())
	defer mustClose(t, s)
	value := strings.Repeat("v", 200_000)
	var sizes []uint64
	for i := range 200 { // 40 MB
		if err := s.Commit(set("cursor/clickhouse", value)); err != nil {
			t.Fatal(err)
		}
		if i%50 == 49 {
			sizes = append(sizes, s.Stats().DiskBytes)
		}
	}
	if slices.Max(sizes) > 24<<20 {
		t.Errorf("the folder's sizes in bytes after each 10 MB: %d", sizes)
	}
}

func TestManyKeys(t *testing.T) {
	s := mustOpen(t, vfs.NewMem())
	defer mustClose(t, s)
	const count = 20_000
	value := strings.Repeat("v", 500) // several memtables in all
	for first := 0; first < count; first += 1000 {
		var writes []shipper.Write
		for i := first; i < first+1000; i++ {
			writes = append(writes, set(fmt.Sprintf("dead/clickhouse/%020d", i), value))
		}
		if err := s.Commit(writes...); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(contents(t, s, "dead/clickhouse/")); got != count {
		t.Errorf("%d keys, want %d", got, count)
	}
	if got := s.Stats(); got.Flushes == 0 || got.MemoryBytes > 64<<20 {
		t.Errorf("stats: %+v", got)
	}
}
