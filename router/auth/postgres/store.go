package postgres

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"forebay/router/auth"
)

// Store changes the keys, for the operator's commands. It has one connection and
// is used by one goroutine. Each change is committed when it returns, and nodes
// hear of it.
type Store struct{ conn *pgx.Conn }

// OpenStore connects and creates or upgrades the table where needed.
func OpenStore(ctx context.Context, dsn string) (*Store, error) {
	config, err := parseDSN(dsn)
	if err != nil {
		return nil, err
	}
	conn, err := connect(ctx, config)
	if err != nil {
		return nil, err
	}
	if err := migrate(ctx, conn); err != nil {
		disconnect(conn)
		return nil, err
	}
	return &Store{conn: conn}, nil
}

// Close ends the connection.
func (s *Store) Close(ctx context.Context) error { return s.conn.Close(ctx) }

// List returns the keys, oldest first. With an error that wraps auth.ErrKeysLeftOut
// the keys are those that are valid.
func (s *Store) List(ctx context.Context) ([]auth.Key, error) {
	rows, err := s.conn.Query(ctx, "SELECT "+columns+" FROM forebay_api_keys ORDER BY created_at, key_sha256")
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", storeHint(err))
	}
	defer rows.Close()
	var keys []auth.Key
	var leftOut error
	count, refused := 0, 0
	for row := newKeyRow(); rows.Next(); count++ {
		if err := row.read(rows); err != nil {
			return nil, fmt.Errorf("list keys: %w", err)
		}
		key, err := row.key()
		if err == nil {
			keys = append(keys, key)
		} else if refused++; refused == 1 {
			leftOut = fmt.Errorf("key %s (project %q): %w", key.ID, key.Project, err)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list keys: %w", storeHint(err))
	}
	if leftOut != nil {
		return keys, fmt.Errorf("%w: %d of %d rows of forebay_api_keys, the first: %w", auth.ErrKeysLeftOut, refused, count, leftOut)
	}
	return keys, nil
}

// storeHint is hint for an account of the keys commands.
func storeHint(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == noPrivilege {
		return fmt.Errorf("%w; the keys commands want SELECT, INSERT and UPDATE on forebay_api_keys, SELECT on forebay_migrations, USAGE on the schema, and TEMPORARY on the database for import", err)
	}
	return hint(err)
}

// Create adds a key. ErrKeyExists if its digest is there already.
func (s *Store) Create(ctx context.Context, key auth.Key) error {
	if err := insert(ctx, s.conn, key); err != nil {
		return fmt.Errorf("create key: %w", storeHint(err))
	}
	return nil
}

// Import adds those keys whose digest is not there yet, all or, with an error,
// none, and returns how many it added.
func (s *Store) Import(ctx context.Context, keys []auth.Key) (added int, err error) {
	for _, key := range keys {
		if err := key.Validate(); err != nil {
			return 0, fmt.Errorf("key %s: %w", key.ID, err)
		}
	}
	err = pgx.BeginFunc(ctx, s.conn, func(tx pgx.Tx) error {
		const staging = "CREATE TEMPORARY TABLE forebay_import (LIKE forebay_api_keys INCLUDING DEFAULTS) ON COMMIT DROP"
		if _, err := tx.Exec(ctx, staging); err != nil {
			return err
		}
		source := pgx.CopyFromSlice(len(keys), func(i int) ([]any, error) { return row(keys[i]), nil })
		if _, err := tx.CopyFrom(ctx, pgx.Identifier{"forebay_import"}, strings.Split(columns, ", "), source); err != nil {
			return err
		}
		const merge = "INSERT INTO forebay_api_keys (" + columns + ") SELECT " + columns + " FROM forebay_import ON CONFLICT DO NOTHING"
		result, err := tx.Exec(ctx, merge)
		added = int(result.RowsAffected())
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("import keys: %w", storeHint(err))
	}
	return added, nil
}

// Revoke withdraws a key from now on. Reference is as in auth.ParseReference. A
// key that is revoked already stays as it is.
func (s *Store) Revoke(ctx context.Context, reference string) (auth.Key, error) {
	var revoked auth.Key
	err := pgx.BeginFunc(ctx, s.conn, func(tx pgx.Tx) error {
		key, err := lock(ctx, tx, reference)
		if err != nil {
			return err
		}
		const update = "UPDATE forebay_api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE key_sha256 = $1 RETURNING " + columns
		revoked, err = one(ctx, tx, update, key.Digest[:])
		return err
	})
	if err != nil {
		return auth.Key{}, fmt.Errorf("revoke key: %w", storeHint(err))
	}
	return revoked, nil
}

// Rotate adds a key of this digest with the settings of another, which expires
// after overlap. See auth.Rotated.
func (s *Store) Rotate(ctx context.Context, reference string, digest auth.Digest, overlap time.Duration) (expiring, next auth.Key, err error) {
	err = pgx.BeginFunc(ctx, s.conn, func(tx pgx.Tx) error {
		old, err := lock(ctx, tx, reference)
		if err != nil {
			return err
		}
		if expiring, next, err = auth.Rotated(old, digest, time.Now(), overlap); err != nil {
			return err
		}
		if err := insert(ctx, tx, next); err != nil {
			return err
		}
		const update = "UPDATE forebay_api_keys SET expires_at = $2 WHERE key_sha256 = $1 RETURNING " + columns
		expiring, err = one(ctx, tx, update, old.Digest[:], expiring.ExpiresAt)
		return err
	})
	if err != nil {
		return auth.Key{}, auth.Key{}, fmt.Errorf("rotate key: %w", storeHint(err))
	}
	return expiring, next, nil
}

// execer is a connection or a transaction.
type execer interface {
	Begin(ctx context.Context) (pgx.Tx, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func insert(ctx context.Context, db execer, key auth.Key) error {
	if err := key.Validate(); err != nil {
		return err
	}
	const sql = "INSERT INTO forebay_api_keys (" + columns + ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING RETURNING " + columns
	_, err := one(ctx, db, sql, row(key)...)
	if errors.Is(err, pgx.ErrNoRows) {
		return auth.ErrKeyExists
	}
	return err
}

// lock finds the one key that reference names, and keeps others from changing it
// until the transaction ends.
func lock(ctx context.Context, tx pgx.Tx, reference string) (auth.Key, error) {
	ref, err := auth.ParseReference(reference)
	if err != nil {
		return auth.Key{}, err
	}
	missing := len(auth.Digest{}.String()) - len(ref)
	first, err := hex.DecodeString(ref + strings.Repeat("0", missing))
	if err != nil {
		return auth.Key{}, err
	}
	last, err := hex.DecodeString(ref + strings.Repeat("f", missing))
	if err != nil {
		return auth.Key{}, err
	}
	rows, err := tx.Query(ctx, "SELECT "+columns+" FROM forebay_api_keys WHERE key_sha256 BETWEEN $1 AND $2 LIMIT 2 FOR UPDATE", first, last)
	if err != nil {
		return auth.Key{}, err
	}
	keys, err := pgx.CollectRows(rows, newKeyRow().scan)
	switch {
	case err != nil:
		return auth.Key{}, err
	case len(keys) == 0:
		return auth.Key{}, fmt.Errorf("%w: %s", auth.ErrKeyNotFound, ref)
	case len(keys) > 1:
		return auth.Key{}, fmt.Errorf("%w: %s", auth.ErrKeyAmbiguous, ref)
	}
	return keys[0], nil
}

// one runs a statement that returns a key.
func one(ctx context.Context, db execer, sql string, args ...any) (auth.Key, error) {
	rows, err := db.Query(ctx, sql, args...)
	if err != nil {
		return auth.Key{}, err
	}
	return pgx.CollectExactlyOneRow(rows, newKeyRow().scan)
}
