package auth_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"forebay/router/auth"
)

// numbered makes keys of the numbers from first to last.
func numbered(first, last int) (keys []auth.Key) {
	for n := first; n <= last; n++ {
		digest, err := auth.ParseKey(fmt.Sprintf("number-%04d", n))
		if err != nil {
			panic(err)
		}
		keys = append(keys, auth.Key{ID: digest.ID(), Digest: digest, Project: "shop"})
	}
	return keys
}

// active counts the keys that may send.
func active(dir *auth.Directory, keys []auth.Key) (n int) {
	for _, key := range keys {
		if found, _ := dir.Lookup(key.Digest); found.State(time.Now(), "") == auth.Active {
			n++
		}
	}
	return n
}

func offer(t *testing.T, dir *auth.Directory, keys []auth.Key) {
	t.Helper()
	if err := dir.Offer(slices.Clone(keys)); err != nil {
		t.Fatal(err)
	}
}

// TestLossIsDoubted: which losses are believed at once, and which are not.
func TestLossIsDoubted(t *testing.T) {
	for _, c := range []struct {
		had, left int
		doubted   bool
	}{
		{1, 1, false}, {1, 0, true}, {2, 0, true}, {2, 1, false}, {3, 1, false}, {4, 1, true},
		{10, 9, false}, {10, 5, false}, {10, 4, true}, {10, 0, true}, {1000, 499, true}, {1000, 500, false},
	} {
		dir := auth.NewDirectory(0)
		all := numbered(1, c.had)
		offer(t, dir, all)
		offer(t, dir, all[:c.left])
		want := c.left
		if c.doubted {
			want = c.had
		}
		if got := active(dir, all); got != want || (dir.Doubt() != nil) != c.doubted {
			t.Errorf("%d of %d left: %d active, doubt %+v; want %d", c.left, c.had, got, dir.Doubt(), want)
		}
	}
}

// TestWhatIsSaidAmidADoubtCounts: revocations and new keys take effect, the keys that are missing stay.
func TestWhatIsSaidAmidADoubtCounts(t *testing.T) {
	dir := auth.NewDirectory(0)
	all := numbered(1, 10)
	offer(t, dir, all)
	said := slices.Clone(all[:2])
	said[0].RevokedAt = time.Now()
	said[1].RequestsPerSecond = 7
	said = append(said, numbered(11, 11)...)
	offer(t, dir, said)
	if got, _ := dir.Lookup(all[0].Digest); got.State(time.Now(), "") != auth.Revoked {
		t.Error("a revocation waits for the doubt")
	}
	if got, _ := dir.Lookup(all[1].Digest); got.RequestsPerSecond != 7 {
		t.Error("a changed limit waits for the doubt")
	}
	if active(dir, numbered(11, 11)) != 1 || active(dir, all) != 9 {
		t.Errorf("%d new, %d of the others active", active(dir, numbered(11, 11)), active(dir, all))
	}
	if d := dir.Doubt(); d == nil || d.Had != 10 || d.Lost != 8 || d.Offered != 3 {
		t.Errorf("doubt %+v", d)
	}
	offer(t, dir, all[:6]) // most are back
	if dir.Doubt() != nil || active(dir, all) != 6 {
		t.Errorf("doubt %+v, %d active after they came back", dir.Doubt(), active(dir, all))
	}
}

// TestAllRevokedIsNoLoss: what a source says of a key is not doubted, of however many.
func TestAllRevokedIsNoLoss(t *testing.T) {
	dir := auth.NewDirectory(0)
	all := numbered(1, 10)
	offer(t, dir, all)
	for i := range all {
		all[i].RevokedAt = time.Now()
	}
	offer(t, dir, all)
	if dir.Doubt() != nil || active(dir, all) != 0 || dir.InForce(time.Now()) {
		t.Errorf("doubt %+v, %d active", dir.Doubt(), active(dir, all))
	}
	offer(t, dir, nil) // none of them was in force
	if dir.Doubt() != nil || dir.Len() != 0 {
		t.Errorf("doubt %+v, %d keys", dir.Doubt(), dir.Len())
	}
}

// TestDoubtEnds after its time, or by an operator's word, and not before.
func TestDoubtEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := numbered(1, 10)
		dir := auth.NewDirectory(0)
		if _, err := dir.Accept(); !errors.Is(err, auth.ErrNoDoubt) {
			t.Errorf("Accept without a doubt = %v", err)
		}
		offer(t, dir, all)
		offer(t, dir, all[:3])
		time.Sleep(40 * time.Minute)
		offer(t, dir, nil) // the loss grows: doubted anew
		for range 59 {
			time.Sleep(time.Minute)
			dir.Confirm()
			offer(t, dir, nil)
			if dir.Len() != 10 {
				t.Fatal("the loss was believed early")
			}
		}
		time.Sleep(2 * time.Minute)
		dir.Confirm()
		if dir.Len() != 0 || dir.Doubt() != nil {
			t.Errorf("%d keys, doubt %+v after its time", dir.Len(), dir.Doubt())
		}
		offer(t, dir, all)
		offer(t, dir, nil)
		if d, err := dir.Accept(); err != nil || d.Lost != 10 || dir.Len() != 0 {
			t.Errorf("Accept = %+v, %v; %d keys", d, err, dir.Len())
		}
		dir.SetDoubtFor(0)
		offer(t, dir, all)
		offer(t, dir, nil)
		if dir.Len() != 0 {
			t.Error("a loss is doubted although none is to be")
		}
	})
}

// TestDoubtOutlivesARestart: the last good set comes back with it, and its time goes on.
func TestDoubtOutlivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := &cache{}
		all := numbered(1, 10)
		start := func() (*auth.Directory, func()) {
			dir := auth.NewDirectory(0)
			keeper := auth.NewKeeper(auth.KeeperOptions{Directory: dir, Cache: cache, Source: "test", Logger: slog.New(slog.DiscardHandler)})
			keeper.Load()
			ctx, cancel := context.WithCancel(context.Background())
			var running sync.WaitGroup
			running.Go(func() { keeper.Run(ctx) })
			return dir, func() { cancel(); running.Wait() }
		}
		dir, stop := start()
		offer(t, dir, all)
		synctest.Wait()
		offer(t, dir, all[:1])
		stop()
		for range 3 {
			time.Sleep(15 * time.Minute)
			dir, stop = start()
			if active(dir, all) != 10 || dir.Doubt() == nil {
				t.Fatalf("%d active, doubt %+v after a restart", active(dir, all), dir.Doubt())
			}
			offer(t, dir, all[:1])
			if active(dir, all) != 10 {
				t.Fatal("the loss is believed after a restart")
			}
			stop()
		}
		time.Sleep(16 * time.Minute)
		dir, stop = start()
		offer(t, dir, all[:1])
		if active(dir, all) != 1 {
			t.Errorf("%d active after the doubt's time", active(dir, all))
		}
		stop()
	})
}

// TestKeeperTellsWhatChanges, once for each change, over restarts too, and not what it has from another source.
func TestKeeperTellsWhatChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := &cache{}
		var told []auth.Change
		run := func(source string, sets ...[]auth.Key) (told []auth.Change) {
			dir := auth.NewDirectory(0)
			failed := false
			keeper := auth.NewKeeper(auth.KeeperOptions{Directory: dir, Cache: cache, Source: source, Logger: slog.New(slog.DiscardHandler),
				OnChange: func(c auth.Change) error {
					if failed = !failed; failed {
						return errors.New("not now") // it is told once more
					}
					told = append(told, c)
					return nil
				}})
			keeper.Load()
			ctx, cancel := context.WithCancel(context.Background())
			var running sync.WaitGroup
			running.Go(func() { keeper.Run(ctx) })
			for _, keys := range sets {
				offer(t, dir, keys)
				time.Sleep(time.Minute)
			}
			cancel()
			running.Wait()
			if keeper.Err() != nil {
				t.Errorf("the keeper ends with %v", keeper.Err())
			}
			return told
		}
		first := numbered(1, 30)
		second := slices.Clone(first[1:])
		second[0].RevokedAt = time.Now()
		second[1].Burst = 9
		second = append(second, numbered(31, 50)...)
		told = run("test", first, first, second)
		if len(told) != 1 || told[0].Added.Count != 20 || len(told[0].Added.IDs) != 20 || told[0].Removed.IDs[0] != first[0].ID ||
			told[0].Revoked.IDs[0] != second[0].ID || told[0].Altered.IDs[0] != second[1].ID || told[0].Unrevoked.Count != 0 {
			t.Errorf("told %+v", told)
		}
		if told = run("test", second, first); len(told) != 1 || told[0].Unrevoked.Count != 1 || told[0].Removed.Count != 20 || told[0].Doubt != nil {
			t.Errorf("after a restart: told %+v", told)
		}
		if told = run("test", first[:2]); len(told) != 1 || told[0].Doubt == nil || told[0].Doubt.Lost != 28 || told[0].Removed.Count != 0 {
			t.Errorf("of a loss that is doubted: told %+v", told)
		}
		if told = run("another", numbered(1, 2)); len(told) != 0 {
			t.Errorf("the first set of another source was held against the old one's: %+v", told)
		}
	})
}

// TestDeniedKeyIsRevoked whatever its source says, and only the source's word counts as the source's.
func TestDeniedKeyIsRevoked(t *testing.T) {
	dir := auth.NewDirectory(0)
	all := numbered(1, 3)
	offer(t, dir, all)
	dir.SetDenied([]auth.Denial{{Digest: all[1].Digest, ID: all[1].ID, At: time.Now()}})
	if got, known := dir.Lookup(all[1].Digest); !known || got.State(time.Now(), "") != auth.Revoked {
		t.Errorf("the denied key is %v", got.State(time.Now(), ""))
	}
	if active(dir, all) != 2 || dir.Revoked(all[1].Digest) || len(dir.Denied()) != 1 {
		t.Errorf("%d active, revoked by the source: %v", active(dir, all), dir.Revoked(all[1].Digest))
	}
	offer(t, dir, all) // the source lists it as valid
	if active(dir, all) != 2 {
		t.Error("the denial went since the source lists the key")
	}
	all[1].RevokedAt = time.Now()
	offer(t, dir, all)
	if !dir.Revoked(all[1].Digest) {
		t.Error("the source's own revocation is not seen")
	}
	dir.SetDenied(nil)
	if found, err := dir.Find(all[2].ID); err != nil || found.Digest != all[2].Digest {
		t.Errorf("Find = %+v, %v", found, err)
	}
	if _, err := dir.Find("000000000000"); !errors.Is(err, auth.ErrKeyNotFound) {
		t.Errorf("Find of no key = %v", err)
	}
}

// TestInForce: is there any key that could send?
func TestInForce(t *testing.T) {
	now := time.Now()
	dir := auth.NewDirectory(0)
	if dir.InForce(now) || dir.Filled() || dir.Answered() {
		t.Error("an empty directory has a key in force, or was filled")
	}
	keys := numbered(1, 3)
	keys[0].RevokedAt, keys[1].ExpiresAt, keys[2].ExpiresAt = now, now.Add(time.Hour), now.Add(2*time.Hour)
	offer(t, dir, keys)
	if !dir.InForce(now.Add(90*time.Minute)) || dir.InForce(now.Add(2*time.Hour)) {
		t.Error("in force is not until the last key expires")
	}
	keys[2].ExpiresAt = time.Time{}
	offer(t, dir, keys)
	if !dir.InForce(now.Add(1e6 * time.Hour)) {
		t.Error("a key that never expires is not in force")
	}
}

// cache keeps what it is given in memory.
type cache struct {
	mu    sync.Mutex
	saved auth.Saved
}

func (c *cache) LoadKeys() (auth.Saved, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	saved := c.saved
	saved.Keys = slices.Clone(saved.Keys)
	return saved, nil
}

func (c *cache) SaveKeys(saved auth.Saved) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	saved.Keys = slices.Clone(saved.Keys)
	c.saved = saved
	return nil
}
