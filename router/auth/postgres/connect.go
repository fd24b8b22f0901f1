package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	connectTimeout = 10 * time.Second
	closeTimeout   = time.Second
)

// ErrBadDSN is returned for a connection string that cannot be read. It does not
// say more, since any part of the string may be the password.
var ErrBadDSN = errors.New("PostgreSQL's connection string cannot be read: write postgres://user:password@host:port/database, with special characters percent-encoded, or host=… user=… password=… dbname=…")

// parseDSN makes a configuration that works through a transaction pooler too.
func parseDSN(dsn string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, ErrBadDSN
	}
	// Named prepared statements do not survive a pooler that changes servers.
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "forebay"
	}
	return config, nil
}

func connect(ctx context.Context, config *pgx.ConnConfig) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	return conn, nil
}

// disconnect says goodbye, if that takes no longer than a moment.
func disconnect(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = conn.Close(ctx) // nothing is lost with a connection that does not close well
}

const (
	undefinedTable  = "42P01"
	undefinedColumn = "42703"
)

// hint adds what to do to an error that reading the keys can meet.
func hint(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && (pg.Code == undefinedTable || pg.Code == undefinedColumn) {
		return fmt.Errorf("%w; any `forebay keys` command creates and upgrades the table", err)
	}
	return err
}
