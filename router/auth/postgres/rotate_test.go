package postgres_test

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"forebay/router/auth"
	"forebay/router/auth/postgres"
	"forebay/router/auth/postgres/postgrestest"
)

// TestPasswordIsReadAgain when the connection string's file changes, and when a file that it names does: the running
// source connects anew, and a string that is wrong meanwhile leaves the connection as it is and is told.
func TestPasswordIsReadAgain(t *testing.T) {
	server := postgrestest.Start(t)
	store := openStore(t, server.DSN())
	key := newKey("shop")
	if err := store.Create(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	exec(t, server.DSN(), "CREATE ROLE node LOGIN PASSWORD 'first'; GRANT SELECT ON forebay_api_keys TO node")
	host, port, _ := strings.Cut(server.Addr(), ":")
	passfile := filepath.Join(t.TempDir(), "pass")
	var mu sync.Mutex
	password := func(p string) {
		mu.Lock()
		defer mu.Unlock()
		if err := os.WriteFile(passfile, []byte("*:*:*:node:"+p+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dsn := fmt.Sprintf("host=%s port=%s user=node dbname=postgres sslmode=disable passfile=%s", host, port, passfile)
	read := func() (string, error) { mu.Lock(); defer mu.Unlock(); return dsn, nil }
	password("first")
	dir := auth.NewDirectory(0)
	source := follow(t, postgres.Options{DSN: read, SweepInterval: 20 * time.Millisecond}, dir)
	eventually(t, "the key is known", func() bool { return state(dir, key) == auth.Active })
	pid := func() (pid int) {
		query(t, server.DSN(), &pid, "SELECT coalesce(max(pid), 0) FROM pg_stat_activity WHERE usename = 'node'")
		return pid
	}
	before := pid()

	exec(t, server.DSN(), "ALTER ROLE node PASSWORD 'second'")
	password("wrong")
	eventually(t, "the wrong password is told", func() bool { return strings.Contains(source.Stats().LastError, "28P01") })
	if s := source.Stats(); !s.Connected || !strings.Contains(s.LastError, "the old one serves") || pid() != before {
		t.Errorf("%+v, want the old connection to serve", s)
	}
	password("second")
	eventually(t, "a new connection is made", func() bool { return source.Stats().LastError == "" && pid() != before })

	before = pid()
	mu.Lock()
	dsn += " application_name=rotated"
	mu.Unlock()
	eventually(t, "another string makes another connection", func() bool { return pid() != before && pid() != 0 })
	if _, err := store.Revoke(t.Context(), key.ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the key is revoked", func() bool { return state(dir, key) == auth.Revoked })
}

// TestConnectionHasAnAge: a name that leads to another server is followed although the old one still answers.
func TestConnectionHasAnAge(t *testing.T) {
	old, next := postgrestest.Start(t), postgrestest.Start(t)
	key := newKey("shop")
	for _, server := range []*postgrestest.Server{old, next} {
		if err := openStore(t, server.DSN()).Create(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	name := startProxy(t, old.Addr())
	dir := auth.NewDirectory(0)
	source := follow(t, postgres.Options{DSN: fixed(old.DSNAt(name.addr())), SweepInterval: 20 * time.Millisecond, MaxAge: 100 * time.Millisecond}, dir)
	eventually(t, "the key is known", func() bool { return state(dir, key) == auth.Active })
	exec(t, next.DSN(), "UPDATE forebay_api_keys SET revoked_at = now()")
	name.move(next.Addr())
	eventually(t, "what the new server says is known", func() bool { return state(dir, key) == auth.Revoked })
	if s := source.Stats(); !s.Connected || s.LastError != "" {
		t.Errorf("stats %+v", s)
	}
}

// TestServerThatLosesItsRoleIsLeft: one that turns read-only is asked for anew, and a standby without a primary is told.
func TestServerThatLosesItsRoleIsLeft(t *testing.T) {
	server := postgrestest.Start(t)
	key := newKey("shop")
	if err := openStore(t, server.DSN()).Create(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	dir := auth.NewDirectory(0)
	source := follow(t, postgres.Options{DSN: fixed(server.DSN()), SweepInterval: 20 * time.Millisecond}, dir)
	eventually(t, "the key is known", func() bool { return state(dir, key) == auth.Active })
	var before, after int
	const pid = "SELECT coalesce(max(pid), 0) FROM pg_stat_activity WHERE application_name = 'forebay' AND query NOT LIKE '%application_name%'"
	query(t, server.DSN(), &before, pid)
	exec(t, server.DSN(), "ALTER SYSTEM SET default_transaction_read_only = on")
	exec(t, server.DSN(), "SELECT pg_reload_conf()")
	eventually(t, "the source has connected anew", func() bool { query(t, server.DSN(), &after, pid); return after != before && after != 0 })
	eventually(t, "and goes on", func() bool { return source.Stats().Connected })

	server.Stop()
	server.Standby()
	server.Restart()
	eventually(t, "the standby without a primary is told", func() bool {
		return strings.Contains(source.Stats().LastError, "a standby that receives nothing")
	})
	if state(dir, key) != auth.Active {
		t.Error("the key went with the role")
	}
}

// TestEachBadConnectionIsOneClearLine, without the password.
func TestEachBadConnectionIsOneClearLine(t *testing.T) {
	server := postgrestest.Start(t)
	openStore(t, server.DSN())
	exec(t, server.DSN(), "CREATE ROLE nobody LOGIN PASSWORD 'nothing'")
	change := func(edit func(*url.URL)) string {
		u, err := url.Parse(server.DSN())
		if err != nil {
			t.Fatal(err)
		}
		edit(u)
		return u.String()
	}
	exec(t, server.DSN(), "CREATE DATABASE other")
	for name, c := range map[string]struct{ dsn, want string }{
		"host":     {change(func(u *url.URL) { u.Host = "no-such-host.invalid:5432" }), `host "no-such-host.invalid" cannot be resolved`},
		"port":     {change(func(u *url.URL) { u.Host = "127.0.0.1:1" }), "cannot be reached: .*connection refused; correct host and port"},
		"user":     {change(func(u *url.URL) { u.User = url.UserPassword("nosuch", "pw") }), `refuses user "nosuch".*28P01.*correct user and password`},
		"password": {change(func(u *url.URL) { u.User = url.UserPassword("forebay", "s3cret") }), `refuses user "forebay".*28P01`},
		"database": {change(func(u *url.URL) { u.Path = "/nosuch" }), `database "nosuch": .*3D000.*correct the database`},
		"tls":      {change(func(u *url.URL) { u.RawQuery = "sslmode=require" }), "speaks no TLS"},
		"rights":   {change(func(u *url.URL) { u.User = url.UserPassword("nobody", "nothing") }), "42501.*GRANT SELECT ON forebay_api_keys"},
		"no table": {change(func(u *url.URL) { u.Path = "/other" }), "42P01.*creates and upgrades the table"},
	} {
		source := newSource(t, postgres.Options{DSN: fixed(c.dsn)})
		dir := auth.NewDirectory(0)
		stop := run(t, source, dir)
		eventually(t, name+": it is told", func() bool { return source.Stats().LastError != "" })
		stop()
		text := source.Stats().LastError
		if !regexp.MustCompile(c.want).MatchString(text) || strings.Contains(text, "\n") || strings.Contains(text, "s3cret") || len(text) > 400 || dir.Filled() {
			t.Errorf("%s: %s, want %s", name, text, c.want)
		}
		if name == "no table" {
			continue // doctor says that in its own words
		}
		if _, err := postgres.Examine(t.Context(), c.dsn); err == nil || !regexp.MustCompile(c.want).MatchString(err.Error()) {
			t.Errorf("%s: Examine = %v, want %s", name, err, c.want)
		}
	}
	for _, dsn := range []string{"garbage", "postgres://a:b@c:d/e", "host=x sslmode=perhaps", "host=x sslrootcert=/no/such/file sslmode=verify-ca"} {
		if _, err := postgres.NewSource(postgres.Options{DSN: fixed(dsn)}); !errors.Is(err, postgres.ErrBadDSN) {
			t.Errorf("%s: %v", dsn, err)
		}
	}
}

// TestTableOfAnotherShape: rows that no constraint has kept out are left out alone; columns that are missing or of
// another type are one clear line, and the keys stay.
func TestTableOfAnotherShape(t *testing.T) {
	server := postgrestest.Start(t)
	store := openStore(t, server.DSN())
	good := newKey("shop")
	if err := store.Create(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	dir := auth.NewDirectory(0)
	source := follow(t, postgres.Options{DSN: fixed(server.DSN()), SweepInterval: 20 * time.Millisecond}, dir)
	eventually(t, "the key is known", func() bool { return state(dir, good) == auth.Active })
	exec(t, server.DSN(), `ALTER TABLE forebay_api_keys RENAME TO before`)
	exec(t, server.DSN(), `CREATE TABLE forebay_api_keys AS SELECT * FROM before`)
	for i, row := range []string{
		`NULL, 'a', 0, 0, false, '{}', now(), NULL, NULL`, `'\x01', 'a', 0, 0, false, '{}', now(), NULL, NULL`,
		`sha256('1'), NULL, 0, 0, false, '{}', now(), NULL, NULL`, `sha256('2'), 'a', 'NaN', 0, false, '{}', now(), NULL, NULL`,
		`sha256('3'), 'a', 0, 0, false, '{}', now(), 'infinity', NULL`, `sha256('4'), 'a', 0, 0, false, '{}', now(), NULL, '-infinity'`,
		`sha256('5'), 'a', 0, 0, false, '{null}', now(), NULL, NULL`, `sha256('6'), 'a', 0, -1, false, '{}', now(), NULL, NULL`,
	} {
		exec(t, server.DSN(), `INSERT INTO forebay_api_keys VALUES (`+row+`)`)
		want := fmt.Sprintf("%d of %d rows", i+1, i+2)
		eventually(t, want+" are told of "+row, func() bool { return strings.Contains(source.Stats().LastError, want) })
	}
	exec(t, server.DSN(), `INSERT INTO forebay_api_keys VALUES (sha256('n'), 'a', NULL, NULL, NULL, NULL, NULL, NULL, NULL)`)
	eventually(t, "what is NULL is the default", func() bool { return dir.Len() == 2 })
	if keys, err := store.List(t.Context()); len(keys) != 2 || !errors.Is(err, auth.ErrKeysLeftOut) {
		t.Errorf("List = %d keys, %v", len(keys), err)
	}
	if _, err := store.Revoke(t.Context(), good.ID); err != nil {
		t.Errorf("a bad row keeps another from being revoked: %v", err)
	}
	eventually(t, "the good key is revoked", func() bool { return state(dir, good) == auth.Revoked })
	for _, c := range [][2]string{
		{`ALTER TABLE forebay_api_keys DROP COLUMN burst, ADD COLUMN burst boolean DEFAULT false`, "another shape: column burst"},
		{`ALTER TABLE forebay_api_keys DROP COLUMN burst`, "another shape: it needs the columns"},
	} {
		exec(t, server.DSN(), c[0])
		eventually(t, c[1], func() bool { return strings.Contains(source.Stats().LastError, c[1]) })
		if dir.Len() != 2 || strings.Contains(source.Stats().LastError, "\n") {
			t.Errorf("%d keys, %s", dir.Len(), source.Stats().LastError)
		}
	}
}

// TestGrantsOfTheManualAreEnough, and no more than a node and the commands want.
func TestGrantsOfTheManualAreEnough(t *testing.T) {
	manual, err := os.ReadFile("../../../node/OPERATING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(manual), "```sql grants\n")
	grants, _, _ := strings.Cut(rest, "```")
	if !found {
		t.Fatal("OPERATING.md has no grants")
	}
	server := postgrestest.Start(t)
	first := newKey("shop")
	if err := openStore(t, server.DSN()).Create(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	as := func(role string) string {
		return strings.Replace(server.DSN(), "forebay:"+server.Password(), role+":pw", 1)
	}
	exec(t, server.DSN(), "REVOKE ALL ON DATABASE postgres FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC; "+
		"CREATE ROLE forebay_node LOGIN PASSWORD 'pw'; CREATE ROLE forebay_keys LOGIN PASSWORD 'pw'")
	if _, err := postgres.OpenStore(t.Context(), as("forebay_keys")); err == nil || !strings.Contains(err.Error(), "GRANT CONNECT ON DATABASE") {
		t.Errorf("without any right: %v", err)
	}
	exec(t, server.DSN(), "GRANT CONNECT ON DATABASE postgres TO forebay_node, forebay_keys; "+grants)
	dir := auth.NewDirectory(0)
	source := follow(t, postgres.Options{DSN: fixed(as("forebay_node")), SweepInterval: 24 * time.Hour}, dir)
	eventually(t, "the node knows the key", func() bool { return state(dir, first) == auth.Active })
	if e, err := postgres.Examine(t.Context(), as("forebay_node")); err != nil || !e.Notified || e.InForce != 1 {
		t.Errorf("doctor as the node: %+v, %v", e, err)
	}
	store := openStore(t, as("forebay_keys"))
	second := newKey("blog")
	if err := store.Create(t.Context(), second); err != nil {
		t.Error(err)
	}
	if _, _, err := store.Rotate(t.Context(), second.ID, newKey("").Digest, time.Hour); err != nil {
		t.Error(err)
	}
	if n, err := store.Import(t.Context(), []auth.Key{newKey("shop")}); err != nil || n != 1 {
		t.Error(n, err)
	}
	if _, err := store.Revoke(t.Context(), first.ID); err != nil {
		t.Error(err)
	}
	eventually(t, "the node hears of it", func() bool { return state(dir, first) == auth.Revoked })
	if s := source.Stats(); s.LastError != "" {
		t.Error(s.LastError)
	}
	_, err = postgres.OpenStore(t.Context(), as("forebay_node"))
	if err == nil || !strings.Contains(err.Error(), "the keys commands want SELECT, INSERT and UPDATE") || strings.Contains(err.Error(), "\n") {
		t.Errorf("the commands as the node: %v", err)
	}
}
