package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
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
var ErrBadDSN = errors.New("PostgreSQL's connection string cannot be read, or a file that it names: write postgres://user:password@host:port/database, with special characters percent-encoded, or host=… user=… password=… dbname=…")

// readConfig reads the connection string and the files that it names.
func readConfig(dsn func() (string, error)) (*pgx.ConnConfig, error) {
	text, err := dsn()
	if err != nil {
		return nil, err
	}
	return parseDSN(text)
}

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

// sameConfig tells whether two configurations make the same connections. What
// passwords and TLS stand on has been read from its files by then.
func sameConfig(a, b *pgx.ConnConfig) bool {
	return a.Host == b.Host && a.Port == b.Port && a.Database == b.Database && a.User == b.User && a.Password == b.Password &&
		maps.Equal(a.RuntimeParams, b.RuntimeParams) && sameTLS(a.TLSConfig, b.TLSConfig) &&
		slices.EqualFunc(a.Fallbacks, b.Fallbacks, func(a, b *pgconn.FallbackConfig) bool {
			return a.Host == b.Host && a.Port == b.Port && sameTLS(a.TLSConfig, b.TLSConfig)
		})
}

func sameTLS(a, b *tls.Config) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.ServerName == b.ServerName && a.InsecureSkipVerify == b.InsecureSkipVerify && a.RootCAs.Equal(b.RootCAs) &&
		slices.EqualFunc(a.Certificates, b.Certificates, func(a, b tls.Certificate) bool {
			return slices.EqualFunc(a.Certificate, b.Certificate, slices.Equal[[]byte])
		})
}

func connect(ctx context.Context, config *pgx.ConnConfig) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, &connectError{text: describe(config, err), err: err}
	}
	return conn, nil
}

// connectError says in one line what pgx says in several, with each address tried.
type connectError struct {
	text string
	err  error
}

func (e *connectError) Error() string { return e.text }
func (e *connectError) Unwrap() error { return e.err }

// SQLSTATEs that have a remedy of their own.
const (
	badPassword       = "28P01"
	badAuthorization  = "28000"
	noDatabase        = "3D000"
	noPrivilege       = "42501"
	undefinedTable    = "42P01"
	undefinedColumn   = "42703"
	undefinedFunction = "42883"
)

func describe(config *pgx.ConnConfig, err error) string {
	at := net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))
	if len(config.Fallbacks) > 0 {
		for _, f := range config.Fallbacks {
			if other := net.JoinHostPort(f.Host, strconv.Itoa(int(f.Port))); !strings.Contains(at, other) {
				at += ", " + other
			}
		}
	}
	var refused *pgconn.PgError
	var unknown *net.DNSError
	var network *net.OpError
	switch {
	case errors.As(err, &refused):
		return fmt.Sprintf("PostgreSQL at %s refuses user %q and database %q: %s (%s); %s", at, config.User, config.Database, refused.Message, refused.Code, remedy(refused.Code))
	case errors.As(err, &unknown):
		return fmt.Sprintf("PostgreSQL's host %q cannot be resolved: %s; correct the host in the connection string, or the name service", unknown.Name, unknown.Err)
	case strings.Contains(err.Error(), "refused TLS"):
		return fmt.Sprintf("PostgreSQL at %s speaks no TLS, and the connection string wants it: enable it there, or change sslmode", at)
	case errors.As(err, &network):
		return fmt.Sprintf("PostgreSQL at %s cannot be reached: %v; correct host and port in the connection string, or start the server", at, network.Err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("PostgreSQL at %s does not answer in time: look at the server and the network between", at)
	}
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	return fmt.Sprintf("connect to PostgreSQL at %s: %s", at, strings.TrimSpace(lines[len(lines)-1]))
}

func remedy(code string) string {
	switch code {
	case badPassword, badAuthorization:
		return "correct user and password in the connection string, or pg_hba.conf"
	case noDatabase:
		return "correct the database in the connection string"
	case noPrivilege:
		return "an owner has to GRANT CONNECT ON DATABASE"
	}
	return "look at the server's log"
}

// disconnect says goodbye, if that takes no longer than a moment.
func disconnect(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = conn.Close(ctx) // nothing is lost with a connection that does not close well
}

// hint adds what to do to an error that reading the keys can meet.
func hint(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err
	}
	switch pg.Code {
	case undefinedTable:
		return fmt.Errorf("%w; any `forebay keys` command creates and upgrades the table, a search_path may hide it", err)
	case undefinedColumn:
		return fmt.Errorf("%w; the table has another shape: it needs the columns %s; rename it, and any `forebay keys` command creates the right one", err, columns)
	case noPrivilege:
		return fmt.Errorf("%w; an owner has to GRANT USAGE ON SCHEMA and GRANT SELECT ON forebay_api_keys to this account", err)
	case undefinedFunction:
		return fmt.Errorf("%w; PostgreSQL 14 or later is needed", err)
	}
	return err
}

// oneLine is the text of an error that may have several.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
