package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Examination is what PostgreSQL says of itself and of the key table. Nothing
// is changed there to learn it.
type Examination struct {
	Server   string // version
	Schema   int    // version of the key tables; 0: they are not there
	Known    int    // the version that this program knows
	Keys     int    // rows
	InForce  int    // of them neither revoked nor expired
	Trigger  bool   // a change of the table notifies nodes
	Notified bool   // a notification came through
	Unheard  string // why not
}

// notifyTimeout is how long a notification to itself may take.
const notifyTimeout = 3 * time.Second

// Examine connects, reads what there is, and sends itself a notification over
// two connections, on a channel of its own. It needs no more rights than a node.
func Examine(ctx context.Context, dsn string) (e Examination, err error) {
	config, err := parseDSN(dsn)
	if err != nil {
		return e, err
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	conn, err := connect(ctx, config)
	if err != nil {
		return e, err
	}
	defer disconnect(conn)
	e.Server = conn.PgConn().ParameterStatus("server_version")
	steps, err := migrations()
	if err != nil {
		return e, err
	}
	e.Known = len(steps)
	var table bool
	if err := conn.QueryRow(ctx, "SELECT to_regclass('forebay_api_keys') IS NOT NULL").Scan(&table); err != nil {
		return e, fmt.Errorf("look for the key table: %w", err)
	}
	if !table {
		return e, nil
	}
	// A node's account need not be allowed to read the table of versions.
	if e.Schema, err = schemaVersion(ctx, conn); err != nil || e.Schema == 0 {
		e.Schema = e.Known
	}
	const keys = "SELECT count(*), count(*) FILTER (WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())) FROM forebay_api_keys"
	if err := conn.QueryRow(ctx, keys).Scan(&e.Keys, &e.InForce); err != nil {
		return e, fmt.Errorf("read the keys: %w", hint(err))
	}
	const trigger = "SELECT count(*) > 0 FROM pg_trigger WHERE tgrelid = 'forebay_api_keys'::regclass AND tgname = 'forebay_api_keys_changed' AND tgenabled IN ('O', 'A')"
	if err := conn.QueryRow(ctx, trigger).Scan(&e.Trigger); err != nil {
		return e, fmt.Errorf("look for the table's trigger: %w", err)
	}
	if err := notifySelf(ctx, conn, config); err != nil {
		e.Unheard = err.Error()
		return e, nil
	}
	e.Notified = true
	return e, nil
}

// notifySelf listens on one connection and notifies on another, as nodes and
// operators do: behind a transaction pooler it is not heard.
func notifySelf(ctx context.Context, conn *pgx.Conn, config *pgx.ConnConfig) error {
	ctx, cancel := context.WithTimeout(ctx, notifyTimeout)
	defer cancel()
	if _, err := conn.Exec(ctx, "LISTEN forebay_doctor"); err != nil {
		return fmt.Errorf("LISTEN: %w", err)
	}
	other, err := connect(ctx, config)
	if err != nil {
		return err
	}
	defer disconnect(other)
	if _, err := other.Exec(ctx, "NOTIFY forebay_doctor"); err != nil {
		return fmt.Errorf("NOTIFY: %w", err)
	}
	if err := conn.PgConn().WaitForNotification(ctx); err != nil {
		return fmt.Errorf("no notification came within %s: %w", notifyTimeout, err)
	}
	return nil
}
