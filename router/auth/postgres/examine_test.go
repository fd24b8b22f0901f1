package postgres_test

import (
	"context"
	"strings"
	"testing"

	"forebay/router/auth/postgres"
	"forebay/router/auth/postgres/postgrestest"
)

// TestExamine breaks the key table one thing after the other.
func TestExamine(t *testing.T) {
	server := postgrestest.Start(t)
	look := func(dsn string) postgres.Examination {
		t.Helper()
		e, err := postgres.Examine(context.Background(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	if e := look(server.DSN()); e.Schema != 0 || e.Known == 0 || e.Server == "" {
		t.Errorf("an empty database: %+v", e)
	}
	store, err := postgres.OpenStore(context.Background(), server.DSN())
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if e := look(server.DSN()); e.Schema != e.Known || e.Keys != 0 || !e.Trigger || !e.Notified {
		t.Errorf("a new table: %+v", e)
	}

	// An account that may read the keys and no more, as a node's needs to be.
	exec(t, server.DSN(), "CREATE ROLE node LOGIN PASSWORD 'p'")
	exec(t, server.DSN(), "GRANT SELECT ON forebay_api_keys TO node")
	node := strings.Replace(server.DSN(), "forebay:"+server.Password(), "node:p", 1)
	if e := look(node); e.Schema != e.Known || !e.Trigger || !e.Notified {
		t.Errorf("read by an account that only reads: %+v", e)
	}
	exec(t, server.DSN(), "REVOKE SELECT ON forebay_api_keys FROM node")
	if _, err := postgres.Examine(context.Background(), node); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("an account that may not read: %v", err)
	}

	exec(t, server.DSN(), "ALTER TABLE forebay_api_keys DISABLE TRIGGER forebay_api_keys_changed")
	if e := look(server.DSN()); e.Trigger {
		t.Errorf("a disabled trigger: %+v", e)
	}
	exec(t, server.DSN(), "INSERT INTO forebay_migrations (version) VALUES (99)")
	if e := look(server.DSN()); e.Schema != 99 {
		t.Errorf("a newer table: %+v", e)
	}
	if _, err := postgres.Examine(context.Background(), "nonsense"); err == nil || strings.Contains(err.Error(), "nonsense") {
		t.Errorf("a connection string that cannot be read: %v", err)
	}
}
