package postgres

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
)

// migrationLock keeps two programs from changing the schema at once. Any number
// will do, as long as it stays the same.
const migrationLock = 0x666f7265626179

// Files named NNNN_what.sql, numbered from 1 without holes. One that was released
// is never changed.
//
//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrations returns the statements of each version; version n is at n-1.
func migrations() ([]string, error) {
	entries, err := fs.ReadDir(migrationFiles, "migrations")
	if err != nil {
		return nil, err
	}
	var steps []string
	for i, entry := range entries { // sorted by name
		if want := fmt.Sprintf("%04d_", i+1); entry.Name()[:len(want)] != want {
			return nil, fmt.Errorf("migration %s should begin with %s", entry.Name(), want)
		}
		text, err := fs.ReadFile(migrationFiles, "migrations/"+entry.Name())
		if err != nil {
			return nil, err
		}
		steps = append(steps, string(text))
	}
	return steps, nil
}

// migrate brings the schema to the version of this binary, in one transaction.
// It does nothing, and needs no more than the right to read, if it is there. A
// newer schema is an error.
func migrate(ctx context.Context, conn *pgx.Conn) error {
	steps, err := migrations()
	if err != nil {
		return err
	}
	version, err := schemaVersion(ctx, conn)
	if err != nil {
		return fmt.Errorf("read the schema's version: %w", storeHint(err))
	}
	if version < len(steps) {
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return applyPending(ctx, tx, steps) })
		if err != nil {
			return fmt.Errorf("create or upgrade the table forebay_api_keys (the account needs the right to create tables): %w", err)
		}
		return nil
	}
	return refuseNewer(version, len(steps))
}

// applyPending looks at the version again, now that nobody else can change it.
func applyPending(ctx context.Context, tx pgx.Tx, steps []string) error {
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(migrationLock)); err != nil {
		return err
	}
	const table = `CREATE TABLE IF NOT EXISTS forebay_migrations (
		version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())`
	if _, err := tx.Exec(ctx, table); err != nil {
		return err
	}
	version, err := schemaVersion(ctx, tx)
	if err != nil {
		return err
	}
	if err := refuseNewer(version, len(steps)); err != nil {
		return err
	}
	for ; version < len(steps); version++ {
		// Only the simple protocol takes several statements at once.
		if _, err := tx.Exec(ctx, steps[version], pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("migration %d: %w", version+1, err)
		}
		if _, err := tx.Exec(ctx, "INSERT INTO forebay_migrations (version) VALUES ($1)", version+1); err != nil {
			return err
		}
	}
	return nil
}

// querier is a connection or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// schemaVersion is 0 before the first migration.
func schemaVersion(ctx context.Context, q querier) (version int, err error) {
	var exists bool
	if err := q.QueryRow(ctx, "SELECT to_regclass('forebay_migrations') IS NOT NULL").Scan(&exists); err != nil || !exists {
		return 0, err
	}
	err = q.QueryRow(ctx, "SELECT coalesce(max(version), 0) FROM forebay_migrations").Scan(&version)
	return version, err
}

func refuseNewer(version, known int) error {
	if version > known {
		return fmt.Errorf("the key tables have version %d and this forebay knows up to %d: use a newer forebay", version, known)
	}
	return nil
}
