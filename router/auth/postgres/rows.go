package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"forebay/router/auth"
)

const columns = "key_sha256, project, requests_per_second, burst, strict, origins, expires_at, revoked_at"

// scanKey reads a row of columns. It does not judge what the row says.
func scanKey(row pgx.CollectableRow) (auth.Key, error) {
	var key auth.Key
	var digest []byte
	var expiresAt, revokedAt *time.Time
	err := row.Scan(&digest, &key.Project, &key.RequestsPerSecond, &key.Burst, &key.Strict, &key.Origins, &expiresAt, &revokedAt)
	if err != nil {
		return auth.Key{}, err
	}
	copy(key.Digest[:], digest)
	key.ID = key.Digest.ID()
	if expiresAt != nil {
		key.ExpiresAt = *expiresAt
	}
	if revokedAt != nil {
		key.RevokedAt = *revokedAt
	}
	return key, nil
}

// row is the key as arguments in the order of columns.
func row(key auth.Key) []any {
	origins := key.Origins
	if origins == nil {
		origins = []string{} // an empty array, not NULL
	}
	return []any{key.Digest[:], key.Project, key.RequestsPerSecond, key.Burst, key.Strict, origins,
		nullable(key.ExpiresAt), nullable(key.RevokedAt)}
}

func nullable(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// fingerprintQuery changes with any change of the table, also one that no trigger
// saw, and is the same on each of its replicas. It costs the server a scan and the
// network nothing.
const fingerprintQuery = "SELECT count(*) || ':' || coalesce(sum(hashtextextended(t::text, 0)), 0) FROM forebay_api_keys t"

func fingerprint(ctx context.Context, q querier) (content string, err error) {
	err = q.QueryRow(ctx, fingerprintQuery).Scan(&content)
	return content, err
}

// keySet is the whole table at one moment.
type keySet struct {
	content string // its fingerprint
	keys    []auth.Key
	refused error // why some rows are not in keys; nil: all are
}

// load reads the table and its fingerprint from one snapshot.
func load(ctx context.Context, conn *pgx.Conn) (set keySet, err error) {
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, conn, snapshot, func(tx pgx.Tx) error {
		if set.content, err = fingerprint(ctx, tx); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, "SELECT "+columns+" FROM forebay_api_keys")
		if err != nil {
			return err
		}
		set.keys, set.refused, err = collectValid(rows)
		return err
	})
	return set, err
}

// collectValid leaves out rows that are no valid keys: one bad row, entered by
// hand, must not keep the others from being revoked.
func collectValid(rows pgx.Rows) (keys []auth.Key, refused, err error) {
	defer rows.Close()
	count := 0
	for rows.Next() {
		key, err := scanKey(rows)
		if err != nil {
			return nil, nil, err
		}
		if err := key.Validate(); err != nil {
			count++
			refused = fmt.Errorf("%d rows of forebay_api_keys are not used; one is key %s: %w", count, key.ID, err)
			continue
		}
		if len(keys) == auth.MaxKeys {
			return nil, nil, fmt.Errorf("forebay_api_keys has more than the %d keys that a node takes", auth.MaxKeys)
		}
		keys = append(keys, key)
	}
	return keys, refused, rows.Err()
}
