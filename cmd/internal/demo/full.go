package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"forebay/node/admin"
	"forebay/router/auth/postgres/postgrestest"
	"forebay/shipper/clickhouse"
	"forebay/shipper/clickhouse/clickhousetest"
)

// demoTable is where rows go in ClickHouse, so that the demo touches no table
// of a server that is given to it.
const demoTable = "forebay_demo"

// full runs a node against real servers: those that CLICKHOUSE_ADDR and
// POSTGRES_DSN name, or its own.
func (d *demo) full(ctx context.Context) (place, error) {
	table, err := d.clickhouse()
	if err != nil {
		return place{}, err
	}
	dsn, err := d.postgres()
	if err != nil {
		return place{}, err
	}
	session, err := d.sessionManager(ctx)
	if err != nil {
		return place{}, err
	}
	keyFile, err := d.key(ctx, dsn)
	if err != nil {
		return place{}, err
	}
	at := place{keyFile: keyFile, session: session}
	if at.ingest, at.admin, err = freeAddrs(); err != nil {
		return place{}, err
	}
	file := filepath.Join(d.dir, "forebay.yaml")
	if err := os.WriteFile(file, []byte(d.configuration(at, table, dsn)), 0o600); err != nil {
		return place{}, err
	}
	if err := d.start("forebay", "run", "--config", file); err != nil {
		return place{}, err
	}
	client := admin.NewClient(at.admin, "")
	err = poll(ctx, startLimit, func() (bool, error) {
		status, err := client.Status(ctx)
		return status.Accepting && status.Keys.Count > 0, err
	})
	if err != nil {
		return place{}, fmt.Errorf("the node did not start, see %s: %w", filepath.Join(d.dir, "forebay.log"), err)
	}
	at.count = func() (uint64, error) {
		status, err := client.Status(ctx)
		if err != nil {
			return 0, err
		}
		return clickhouse.Count(ctx, table, status.LogID)
	}
	return at, nil
}

func (d *demo) configuration(at place, table clickhouse.Options, dsn string) string {
	return fmt.Sprintf(`node: {id: demo, data_dir: %q}
log: {level: warn, format: text}
ingest: {listen: %q}
admin: {listen: %q}
keys: {source: postgres, postgres: {dsn: %q}}
shippers:
  clickhouse: {addrs: [%q], table: %s, create_table: %t}
  session: {url: "http://%s"}
`, filepath.Join(d.dir, "data"), at.ingest, at.admin, dsn, table.Addrs[0], table.Table, table.CreateTable, at.session)
}

// clickhouse is the server that CLICKHOUSE_ADDR names, or Debian's, started
// here with a table that it can have.
func (d *demo) clickhouse() (clickhouse.Options, error) {
	if addr := os.Getenv("CLICKHOUSE_ADDR"); addr != "" {
		fmt.Fprintf(d.out, "clickhouse at %s\n", addr)
		return clickhouse.Options{Addrs: []string{addr}, Table: demoTable, CreateTable: true}, nil
	}
	server, err := clickhousetest.LaunchServer(filepath.Join(d.dir, "clickhouse"))
	if err != nil {
		return clickhouse.Options{}, fmt.Errorf("%w; install it with make deps, or set CLICKHOUSE_ADDR", err)
	}
	d.stops = append(d.stops, server.Stop)
	version, err := server.Query("SELECT version()")
	if err == nil {
		_, err = server.Query(clickhousetest.PlainTable(demoTable))
	}
	if err != nil {
		return clickhouse.Options{}, fmt.Errorf("prepare ClickHouse: %w", err)
	}
	fmt.Fprintf(d.out, "clickhouse %s at %s\n", version, server.Addr())
	return clickhouse.Options{Addrs: []string{server.Addr()}, Table: demoTable}, nil
}

// postgres is the database that POSTGRES_DSN names, or a server started here.
func (d *demo) postgres() (dsn string, err error) {
	if dsn := os.Getenv("POSTGRES_DSN"); dsn != "" {
		fmt.Fprintln(d.out, "postgres   as POSTGRES_DSN says")
		return dsn, nil
	}
	run := &starter{demo: d}
	defer func() {
		if failed := recover(); failed != nil {
			if failed != any(run) {
				panic(failed)
			}
			err = fmt.Errorf("%w; install it with make deps, or set POSTGRES_DSN", run.err)
		}
	}()
	server := postgrestest.Start(run)
	fmt.Fprintf(d.out, "postgres   at %s\n", server.Addr())
	return server.DSN(), nil
}

// starter lets the demo use a helper that is made for tests: what would fail
// a test unwinds to postgres, what would clean up after it runs at the end.
type starter struct {
	testing.TB // nil: whatever is not below is not used
	demo       *demo
	err        error
}

func (s *starter) Helper() {}

func (s *starter) Cleanup(f func()) {
	s.demo.stops = append(s.demo.stops, func() error { f(); return nil })
}

func (s *starter) Fatal(args ...any)                 { s.fail(fmt.Sprint(args...)) }
func (s *starter) Fatalf(format string, args ...any) { s.fail(fmt.Sprintf(format, args...)) }
func (s *starter) Skip(args ...any)                  { s.fail(fmt.Sprint(args...)) }
func (s *starter) Errorf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (s *starter) fail(message string) {
	s.err = errors.New(message)
	panic(s)
}

// sessionManager starts the reference receiver as a process of its own.
func (d *demo) sessionManager(ctx context.Context) (addr string, err error) {
	addr, _, err = freeAddrs()
	if err != nil {
		return "", err
	}
	if err := d.start("forebay-load", "receive", "--listen", addr); err != nil {
		return "", err
	}
	err = poll(ctx, startLimit, func() (bool, error) {
		var report any
		return true, getJSON(ctx, "http://"+addr+"/report", &report)
	})
	return addr, err
}

// key creates an API key in PostgreSQL, with the operator's command.
func (d *demo) key(ctx context.Context, dsn string) (file string, err error) {
	cmd := exec.CommandContext(ctx, filepath.Join(d.bin, "forebay"), "keys", "create", "--project", "demo")
	cmd.Env = append(os.Environ(), "POSTGRES_DSN="+dsn)
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("create a key: %w", err)
	}
	file = filepath.Join(d.dir, "key")
	return file, os.WriteFile(file, []byte(strings.TrimSpace(string(text))+"\n"), 0o600)
}

// freeAddrs are two addresses on loopback that nobody listens on.
func freeAddrs() (a, b string, err error) {
	first, err := clickhousetest.FreePort()
	if err != nil {
		return "", "", err
	}
	second, err := clickhousetest.FreePort()
	if err != nil {
		return "", "", err
	}
	if first == second {
		return "", "", errors.New("no two free ports")
	}
	return fmt.Sprintf("127.0.0.1:%d", first), fmt.Sprintf("127.0.0.1:%d", second), nil
}
