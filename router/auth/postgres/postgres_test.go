package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"forebay/router/auth"
	"forebay/router/auth/postgres"
	"forebay/router/auth/postgres/postgrestest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline is how long a change may take to arrive on a busy machine. What is
// promised of an idle one is measured by the benchmark.
const deadline = 30 * time.Second

func TestStoreKeepsEveryField(t *testing.T) {
	server := postgrestest.Start(t)
	store, ctx := openStore(t, server.DSN()), t.Context()
	plain, full := newKey("shop"), newKey("blog")
	full.RequestsPerSecond, full.Burst, full.Strict = 12.5, 40, true
	full.Origins = []string{"https://a.example", "null"}
	full.ExpiresAt = time.Date(2999, 1, 2, 3, 4, 5, 6000, time.UTC)
	for _, key := range []auth.Key{plain, full} {
		if err := store.Create(ctx, key); err != nil {
			t.Fatal(err)
		}
		if err := store.Create(ctx, key); !errors.Is(err, auth.ErrKeyExists) {
			t.Fatalf("second Create = %v, want ErrKeyExists", err)
		}
	}
	keys, err := store.List(ctx)
	if err != nil || len(keys) != 2 || !sameKey(keys[0], plain) || !sameKey(keys[1], full) {
		t.Fatalf("List = %+v, %v", keys, err)
	}
	if err := store.Create(ctx, auth.Key{ID: plain.ID, Digest: plain.Digest}); err == nil {
		t.Fatal("a key without a project is accepted")
	}

	next := newKey("").Digest
	expiring, rotated, err := store.Rotate(ctx, full.ID, next, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(expiring.ExpiresAt); left > time.Hour || left < time.Hour-deadline {
		t.Errorf("the old key expires in %v, want an hour", left)
	}
	want := full
	want.Digest, want.ID = next, next.ID()
	if !sameKey(rotated, want) {
		t.Errorf("rotated to %+v, want %+v", rotated, want)
	}

	revoked, err := store.Revoke(ctx, strings.ToUpper(full.ID))
	if err != nil || revoked.Active(time.Now()) {
		t.Fatalf("Revoke = %+v, %v", revoked, err)
	}
	again, err := store.Revoke(ctx, full.Digest.String())
	if err != nil || !again.RevokedAt.Equal(revoked.RevokedAt) {
		t.Fatalf("second Revoke = %+v, %v; want the first time kept", again, err)
	}
	if _, _, err := store.Rotate(ctx, full.ID, newKey("").Digest, 0); !errors.Is(err, auth.ErrKeyInactive) {
		t.Errorf("Rotate of a revoked key = %v, want ErrKeyInactive", err)
	}
	if _, _, err := store.Rotate(ctx, plain.ID, next, 0); !errors.Is(err, auth.ErrKeyExists) {
		t.Errorf("Rotate to a key that is there = %v, want ErrKeyExists", err)
	}
	if _, err := store.Revoke(ctx, newKey("").ID); !errors.Is(err, auth.ErrKeyNotFound) {
		t.Errorf("Revoke of no key = %v, want ErrKeyNotFound", err)
	}
	twin := plain
	twin.Digest[31] ^= 1
	added, err := store.Import(ctx, []auth.Key{plain, twin, twin})
	if err != nil || added != 1 {
		t.Fatalf("Import = %d, %v; want one new key", added, err)
	}
	if _, err := store.Revoke(ctx, plain.ID); !errors.Is(err, auth.ErrKeyAmbiguous) {
		t.Errorf("Revoke of two keys = %v, want ErrKeyAmbiguous", err)
	}
	if added, err := store.Import(ctx, []auth.Key{newKey("shop"), {}}); err == nil || added != 0 {
		t.Errorf("Import with a bad key = %d, %v; want none and an error", added, err)
	}
	if keys, err := store.List(ctx); err != nil || len(keys) != 4 {
		t.Errorf("%d keys, %v; want 4", len(keys), err)
	}
	assertDigestsOnly(t, server.DSN())
}

// assertDigestsOnly holds that the text of a key is nowhere in the table.
func assertDigestsOnly(t *testing.T, dsn string) {
	t.Helper()
	store, ctx := openStore(t, dsn), t.Context()
	text, digest := auth.Generate()
	if err := store.Create(ctx, auth.Key{ID: digest.ID(), Digest: digest, Project: "secret"}); err != nil {
		t.Fatal(err)
	}
	var found int
	query(t, dsn, &found, "SELECT count(*) FROM forebay_api_keys t WHERE position($1 in t::text) > 0", text)
	if found != 0 {
		t.Error("the table holds the text of a key")
	}
}

func TestMigrationIsDoneOnceByManyAtATime(t *testing.T) {
	server := postgrestest.Start(t)
	var openers sync.WaitGroup
	for range 8 {
		openers.Go(func() {
			store, err := postgres.OpenStore(t.Context(), server.DSN())
			if err != nil {
				t.Errorf("OpenStore: %v", err)
				return
			}
			if err := store.Close(t.Context()); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
	openers.Wait()
	var versions, latest int
	query(t, server.DSN(), &versions, "SELECT count(*) FROM forebay_migrations")
	query(t, server.DSN(), &latest, "SELECT max(version) FROM forebay_migrations")
	if versions == 0 || versions != latest {
		t.Errorf("%d versions up to %d, want each once", versions, latest)
	}

	exec(t, server.DSN(), "INSERT INTO forebay_migrations (version) VALUES (999)")
	if _, err := postgres.OpenStore(t.Context(), server.DSN()); err == nil || !strings.Contains(err.Error(), "use a newer forebay") {
		t.Errorf("OpenStore on a newer schema = %v", err)
	}
}

func TestAccountThatOnlyReadsIsEnoughForANode(t *testing.T) {
	server := postgrestest.Start(t)
	key := newKey("shop")
	if err := openStore(t, server.DSN()).Create(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	exec(t, server.DSN(), "CREATE ROLE reader LOGIN PASSWORD 'reading'")
	exec(t, server.DSN(), "GRANT SELECT ON forebay_api_keys TO reader")
	dir := auth.NewDirectory(0)
	dsn := strings.Replace(server.DSN(), "forebay:"+server.Password(), "reader:reading", 1)
	follow(t, postgres.Options{DSN: fixed(dsn)}, dir)
	eventually(t, "the key is known", func() bool { return state(dir, key) == auth.Active })
}

func TestPasswordIsNeverShown(t *testing.T) {
	const secret = "s3cr:t@/x"
	for _, dsn := range []string{
		"postgres://forebay:" + secret + "@127.0.0.1:1/postgres",
		"postgres://forebay:" + secret + "@[::1:99999/postgres?sslmode=nonsense",
		"host=127.0.0.1 port=x password='" + secret,
		"host=127.0.0.1 port=1 user=forebay connect_timeout=1 password='" + secret + "'",
	} {
		var log bytes.Buffer
		source, err := postgres.NewSource(postgres.Options{DSN: fixed(dsn), Logger: slog.New(slog.NewTextHandler(&log, nil))})
		shown := ""
		if err != nil {
			if !errors.Is(err, postgres.ErrBadDSN) {
				t.Errorf("NewSource = %v, want ErrBadDSN", err)
			}
			shown = err.Error()
		} else {
			stop := run(t, source, auth.NewDirectory(0))
			eventually(t, "the source says why it is not connected", func() bool { return source.Stats().LastError != "" })
			stop()
			shown = source.Stats().LastError
		}
		if _, err := postgres.OpenStore(t.Context(), dsn); err != nil {
			shown += err.Error()
		}
		if shown += log.String(); strings.Contains(shown, "s3cr") {
			t.Errorf("the password is shown: %s", shown)
		}
	}
}

func newKey(project string) auth.Key {
	_, digest := auth.Generate()
	return auth.Key{ID: digest.ID(), Digest: digest, Project: project}
}

func sameKey(a, b auth.Key) bool {
	return a.Digest == b.Digest && a.ID == b.ID && a.Project == b.Project && a.RequestsPerSecond == b.RequestsPerSecond &&
		a.Burst == b.Burst && a.Strict == b.Strict && slices.Equal(a.Origins, b.Origins) &&
		a.ExpiresAt.Equal(b.ExpiresAt) && a.RevokedAt.Equal(b.RevokedAt)
}

func openStore(t testing.TB, dsn string) *postgres.Store {
	t.Helper()
	store, err := postgres.OpenStore(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(context.Background()); err != nil {
			t.Logf("close the store: %v", err) // a test may have killed the server
		}
	})
	return store
}

// follow runs a source until the test ends.
func follow(t testing.TB, opts postgres.Options, dir *auth.Directory) *postgres.Source {
	t.Helper()
	source := newSource(t, opts)
	t.Cleanup(run(t, source, dir))
	return source
}

// run starts a source; what it returns stops it and may be called again.
func run(t testing.TB, source *postgres.Source, dir *auth.Directory) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- source.Run(ctx, dir) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func state(dir *auth.Directory, key auth.Key) auth.State {
	found, _ := dir.Lookup(key.Digest)
	return found.State(time.Now(), "")
}

// eventually polls until what holds, or fails at the deadline.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	end := time.Now().Add(deadline)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", deadline, what)
		}
		<-tick.C
	}
}

func exec(t testing.TB, dsn, sql string, args ...any) {
	t.Helper()
	withConn(t, dsn, func(conn *pgx.Conn) error {
		_, err := conn.Exec(context.Background(), sql, args...)
		return err
	})
}

func query(t testing.TB, dsn string, into any, sql string, args ...any) {
	t.Helper()
	withConn(t, dsn, func(conn *pgx.Conn) error {
		return conn.QueryRow(context.Background(), sql, args...).Scan(into)
	})
}

func withConn(t testing.TB, dsn string, use func(*pgx.Conn) error) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(use(conn), conn.Close(context.Background())); err != nil {
		t.Fatal(err)
	}
}
