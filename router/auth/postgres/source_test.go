package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"forebay/router/auth"
	"forebay/router/auth/postgres"
	"forebay/router/auth/postgres/postgrestest"
)

func TestChangesReachTheDirectory(t *testing.T) {
	server := postgrestest.Start(t)
	store, ctx := openStore(t, server.DSN()), t.Context()
	key := newKey("shop")
	if err := store.Create(ctx, key); err != nil {
		t.Fatal(err)
	}
	dir := auth.NewDirectory(0)
	// Without a sweep, so that it is the notification that counts.
	source := follow(t, postgres.Options{DSN: fixed(server.DSN()), SweepInterval: 24 * time.Hour}, dir)
	eventually(t, "the key is known", func() bool { return state(dir, key) == auth.Active })

	exec(t, server.DSN(), "UPDATE forebay_api_keys SET requests_per_second = 7, burst = 9")
	eventually(t, "the limits are the new ones", func() bool {
		found, _ := dir.Lookup(key.Digest)
		return found.RequestsPerSecond == 7 && found.Burst == 9
	})
	next := newKey("").Digest
	if _, _, err := store.Rotate(ctx, key.ID, next, time.Hour); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both keys of a rotation are known", func() bool {
		return state(dir, key) == auth.Active && state(dir, auth.Key{Digest: next}) == auth.Active
	})
	if _, err := store.Revoke(ctx, key.ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the key is revoked", func() bool { return state(dir, key) == auth.Revoked })
	exec(t, server.DSN(), "DELETE FROM forebay_api_keys WHERE key_sha256 = $1", next[:])
	eventually(t, "a deleted key is unknown", func() bool { return state(dir, auth.Key{Digest: next}) == auth.Unknown })
	if s := source.Stats(); !s.Connected || s.LastError != "" || s.Reloads < 5 {
		t.Errorf("stats %+v, want connected and at least five reloads", s)
	}
}

func TestSweepFindsWhatNoNotificationTold(t *testing.T) {
	server := postgrestest.Start(t)
	store := openStore(t, server.DSN())
	key := newKey("shop")
	if err := store.Create(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	pooler := startProxy(t, server.Addr())
	pooler.mute = true
	dir := auth.NewDirectory(0)
	source := follow(t, postgres.Options{DSN: fixed(server.DSNAt(pooler.addr())), SweepInterval: 50 * time.Millisecond}, dir)
	eventually(t, "the key is known", func() bool { return state(dir, key) == auth.Active })
	if _, err := store.Revoke(t.Context(), key.ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the key is revoked", func() bool { return state(dir, key) == auth.Revoked })
	eventually(t, "a notification was swallowed", func() bool { return pooler.swallowed.Load() > 0 })

	// A change that fires no trigger either.
	exec(t, server.DSN(), "ALTER TABLE forebay_api_keys DISABLE TRIGGER ALL; UPDATE forebay_api_keys SET revoked_at = NULL")
	eventually(t, "the key is active again", func() bool { return state(dir, key) == auth.Active })

	_, before := dir.Keys()
	reloads := source.Stats().Reloads
	eventually(t, "the unchanged set is confirmed", func() bool { _, at := dir.Keys(); return at.After(before) })
	if got := source.Stats().Reloads; got != reloads {
		t.Errorf("the unchanged table was read again %d times", got-reloads)
	}
}

func TestKeysOutliveTheServer(t *testing.T) {
	server := postgrestest.Start(t)
	kept, withdrawn := newKey("shop"), newKey("blog")
	if err := errors.Join(openStore(t, server.DSN()).Create(t.Context(), kept), openStore(t, server.DSN()).Create(t.Context(), withdrawn)); err != nil {
		t.Fatal(err)
	}
	proxy := startProxy(t, server.Addr())
	dir := auth.NewDirectory(time.Hour)
	source := follow(t, postgres.Options{DSN: fixed(server.DSNAt(proxy.addr()))}, dir)
	eventually(t, "the keys are known", func() bool { return dir.Len() == 2 })
	want := auth.Active
	for _, end := range []func(){server.Kill, server.Stop} {
		end()
		eventually(t, "the source is not connected", func() bool { return !source.Stats().Connected })
		proxy.refuse(true)
		server.Restart()
		exec(t, server.DSN(), "UPDATE forebay_api_keys SET revoked_at = CASE WHEN revoked_at IS NULL THEN now() END WHERE key_sha256 = $1", withdrawn.Digest[:])
		if state(dir, kept) != auth.Active || state(dir, withdrawn) != want {
			t.Fatal("the keys are not as they were when the server went")
		}
		if s := source.Stats(); s.LastError == "" || strings.Contains(s.LastError, server.Password()) || strings.Contains(s.LastError, "\n") {
			t.Errorf("last error %q, want one line without the password", s.LastError)
		}
		proxy.refuse(false)
		want = map[auth.State]auth.State{auth.Active: auth.Revoked, auth.Revoked: auth.Active}[want]
		eventually(t, "what changed meanwhile is known", func() bool { return state(dir, withdrawn) == want })
		if s := source.Stats(); !s.Connected || s.LastError != "" || state(dir, kept) != auth.Active {
			t.Errorf("stats %+v, other key %v", s, state(dir, kept))
		}
	}
}

func TestNodeStartsFromTheCacheWhilePostgreSQLIsGone(t *testing.T) {
	server := postgrestest.Start(t)
	key := newKey("shop")
	if err := openStore(t, server.DSN()).Create(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	cache := &memoryCache{}
	source, dir := newSource(t, postgres.Options{DSN: fixed(server.DSN())}), auth.NewDirectory(0)
	_, end := keep(t, dir, cache)
	stop := run(t, source, dir)
	eventually(t, "the key is known", func() bool { return state(dir, key) == auth.Active })
	eventually(t, "the key is cached", func() bool { return len(cache.kept().Keys) == 1 })
	stop()
	end()
	_, confirmed := dir.Keys()
	if at := cache.kept().At; !at.Equal(confirmed) {
		t.Errorf("cached as of %v, want the last confirmation, %v", at, confirmed)
	}
	server.Kill()

	source, dir = newSource(t, postgres.Options{DSN: fixed(server.DSN())}), auth.NewDirectory(0)
	_, end = keep(t, dir, cache)
	defer end()
	if state(dir, key) != auth.Active || !dir.Filled() || dir.Answered() {
		t.Fatalf("after Load: %v, filled %v, answered %v", state(dir, key), dir.Filled(), dir.Answered())
	}
	stop = run(t, source, dir)
	defer stop()
	eventually(t, "the source says that it is not connected", func() bool { return source.Stats().LastError != "" })
	if state(dir, key) != auth.Active || source.Stats().Connected {
		t.Errorf("key %v, stats %+v", state(dir, key), source.Stats())
	}
	server.Restart()
	exec(t, server.DSN(), "UPDATE forebay_api_keys SET revoked_at = now()")
	eventually(t, "the key is revoked", func() bool { return state(dir, key) == auth.Revoked })
	eventually(t, "the revocation is cached", func() bool { return !cache.kept().Keys[0].RevokedAt.IsZero() })
}

func TestCachedKeysAreNotBelievedForEver(t *testing.T) {
	server := postgrestest.Start(t)
	key := newKey("shop")
	if err := openStore(t, server.DSN()).Create(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	cache := &memoryCache{saved: auth.Saved{Keys: []auth.Key{key}, At: time.Now().Add(-8 * 24 * time.Hour), Source: "postgres"}}
	dir := auth.NewDirectory(7 * 24 * time.Hour)
	_, end := keep(t, dir, cache)
	defer end()
	source := follow(t, postgres.Options{DSN: fixed(server.DSN())}, dir)
	eventually(t, "the source says that it is not connected", func() bool { return source.Stats().LastError != "" })
	if state(dir, key) != auth.Unknown || !dir.Stale() || dir.Age() < 8*24*time.Hour {
		t.Fatalf("key %v, stale %v, age %v; want it unknown for its age", state(dir, key), dir.Stale(), dir.Age())
	}
	server.Restart()
	eventually(t, "the key is active", func() bool { return state(dir, key) == auth.Active && !dir.Stale() })
}

func TestCacheThatFailsStopsNothing(t *testing.T) {
	server := postgrestest.Start(t)
	key := newKey("shop")
	if err := openStore(t, server.DSN()).Create(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	cache := &memoryCache{fault: errors.New("no space")}
	dir := auth.NewDirectory(0)
	keeper, end := keep(t, dir, cache)
	defer end()
	source := follow(t, postgres.Options{DSN: fixed(server.DSN())}, dir)
	eventually(t, "the fault is told", func() bool { return keeper.Err() != nil && strings.Contains(keeper.Err().Error(), "no space") })
	eventually(t, "the key is known", func() bool { return state(dir, key) == auth.Active })
	eventually(t, "the source says that it is connected", func() bool { return source.Stats().Connected })
	cache.mend()
	eventually(t, "the keys are cached after all", func() bool { return len(cache.kept().Keys) == 1 })
	eventually(t, "no fault is told any more", func() bool { return keeper.Err() == nil })
}

func TestBadRowAndMissingTableLeaveTheKeys(t *testing.T) {
	server := postgrestest.Start(t)
	dir := auth.NewDirectory(0)
	source := follow(t, postgres.Options{DSN: fixed(server.DSN())}, dir)
	eventually(t, "the missing table is told", func() bool { return strings.Contains(source.Stats().LastError, "forebay keys") })

	good, bad := newKey("shop"), newKey("control\ncharacter")
	store := openStore(t, server.DSN())
	if err := store.Create(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	exec(t, server.DSN(), "INSERT INTO forebay_api_keys (key_sha256, project) VALUES ($1, $2)", bad.Digest[:], bad.Project)
	eventually(t, "the good key is known", func() bool { return state(dir, good) == auth.Active })
	eventually(t, "the bad row is told", func() bool { return strings.Contains(source.Stats().LastError, bad.ID) })
	if state(dir, bad) != auth.Unknown || !source.Stats().Connected {
		t.Errorf("bad key %v, stats %+v", state(dir, bad), source.Stats())
	}
	exec(t, server.DSN(), "ALTER TABLE forebay_api_keys RENAME TO elsewhere")
	exec(t, server.DSN(), "NOTIFY forebay_api_keys")
	eventually(t, "the missing table is told again", func() bool { return !source.Stats().Connected })
	if state(dir, good) != auth.Active {
		t.Error("the keys went with the table")
	}
}

func TestHundredThousandKeysLoad(t *testing.T) {
	server := postgrestest.Start(t)
	keys := make([]auth.Key, 100_000)
	for i := range keys {
		keys[i] = newKey(fmt.Sprint("project-", i%1000))
		keys[i].Origins = []string{"https://shop.example"}
	}
	begin := time.Now()
	if added, err := openStore(t, server.DSN()).Import(t.Context(), keys); err != nil || added != len(keys) {
		t.Fatalf("Import = %d, %v", added, err)
	}
	t.Logf("import: %v", time.Since(begin))
	dir := auth.NewDirectory(0)
	begin = time.Now()
	follow(t, postgres.Options{DSN: fixed(server.DSN())}, dir)
	eventually(t, "all keys are known", func() bool { return dir.Len() == len(keys) })
	t.Logf("load: %v", time.Since(begin))
	for _, key := range keys {
		if state(dir, key) != auth.OriginRefused {
			t.Fatalf("key %s is %v", key.ID, state(dir, key))
		}
	}
	last := keys[len(keys)-1]
	begin = time.Now()
	if _, err := openStore(t, server.DSN()).Revoke(t.Context(), last.ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "one of them is revoked", func() bool { return state(dir, last) == auth.Revoked })
	t.Logf("revoke: %v", time.Since(begin))
}

func BenchmarkRevocationReachesTheDirectory(b *testing.B) {
	server := postgrestest.Start(b)
	store := openStore(b, server.DSN())
	dir := auth.NewDirectory(0)
	follow(b, postgres.Options{DSN: fixed(server.DSN()), SweepInterval: 24 * time.Hour}, dir)
	for b.Loop() {
		b.StopTimer()
		key := newKey("shop")
		if err := store.Create(b.Context(), key); err != nil {
			b.Fatal(err)
		}
		eventually(b, "the key is known", func() bool { return state(dir, key) == auth.Active })
		b.StartTimer()
		if _, err := store.Revoke(b.Context(), key.ID); err != nil {
			b.Fatal(err)
		}
		eventually(b, "the key is revoked", func() bool { return state(dir, key) == auth.Revoked })
	}
}

func newSource(t testing.TB, opts postgres.Options) *postgres.Source {
	t.Helper()
	opts.Logger = slog.New(slog.DiscardHandler)
	source, err := postgres.NewSource(opts)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// fixed is a connection string that does not change.
func fixed(dsn string) func() (string, error) {
	return func() (string, error) { return dsn, nil }
}

// keep runs a keeper of the directory until end is called.
func keep(t testing.TB, dir *auth.Directory, cache auth.Cache) (keeper *auth.Keeper, end func()) {
	t.Helper()
	keeper = auth.NewKeeper(auth.KeeperOptions{Directory: dir, Cache: cache, Source: "postgres", Logger: slog.New(slog.DiscardHandler)})
	keeper.Load()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); keeper.Run(ctx) }()
	return keeper, func() { cancel(); <-done }
}

// memoryCache is a cache that can fail.
type memoryCache struct {
	mu    sync.Mutex
	saved auth.Saved
	fault error
}

func (c *memoryCache) LoadKeys() (auth.Saved, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	saved := c.saved
	saved.Keys = append([]auth.Key(nil), saved.Keys...)
	return saved, c.fault
}

func (c *memoryCache) SaveKeys(saved auth.Saved) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fault != nil {
		return c.fault
	}
	saved.Keys = append([]auth.Key(nil), saved.Keys...)
	c.saved = saved
	return nil
}

// kept is what was saved last.
func (c *memoryCache) kept() auth.Saved { saved, _ := c.LoadKeys(); return saved }

func (c *memoryCache) mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fault = nil
}
