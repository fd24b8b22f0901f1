package postgres

import (
	"context"
	"fmt"
	"math/big"
	"time"

	"github.com/jackc/pgx/v5"

	"forebay/router/auth"
)

const columns = "key_sha256, project, requests_per_second, burst, strict, origins, expires_at, revoked_at"

// collectKey is scanKey for a row of nothing but columns.
func collectKey(row pgx.CollectableRow) (auth.Key, error) { return scanKey(row) }

// scanKey reads a row of columns, and what follows them into more. It does not
// judge what the row says.
func scanKey(row pgx.CollectableRow, more ...any) (auth.Key, error) {
	var key auth.Key
	var digest []byte
	var expiresAt, revokedAt *time.Time
	into := []any{&digest, &key.Project, &key.RequestsPerSecond, &key.Burst, &key.Strict, &key.Origins, &expiresAt, &revokedAt}
	if err := row.Scan(append(into, more...)...); err != nil {
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

// The fingerprint of the table changes with any change of it, also one that no
// trigger saw, and is the same on each of its replicas. It costs the server a scan
// and the network nothing. PostgreSQL has had the function since version 14.
const (
	rowHash          = "hash_record_extended(t, 0)"
	fingerprintQuery = "SELECT count(*), coalesce(sum(" + rowHash + "), 0)::text FROM forebay_api_keys t"
	loadQuery        = "SELECT " + columns + ", " + rowHash + " FROM forebay_api_keys t"
)

func fingerprint(ctx context.Context, conn *pgx.Conn) (string, error) {
	var count int
	var sum string
	err := conn.QueryRow(ctx, fingerprintQuery).Scan(&count, &sum)
	return joinFingerprint(count, sum), err
}

func joinFingerprint(rows int, sum string) string { return fmt.Sprintf("%d:%s", rows, sum) }

// keySet is the whole table at one moment.
type keySet struct {
	content string // its fingerprint
	keys    []auth.Key
	refused error // why some rows are not in keys; nil: all are
}

// load reads the table, and its fingerprint with it, so that they are of the same
// moment. Rows that are no valid keys are left out: one bad row, entered by hand,
// must not keep others from being revoked.
func load(ctx context.Context, conn *pgx.Conn) (keySet, error) {
	rows, err := conn.Query(ctx, loadQuery)
	if err != nil {
		return keySet{}, err
	}
	defer rows.Close()
	var set keySet
	var sum big.Int
	count, refused := 0, 0
	for rows.Next() {
		var hash int64
		key, err := scanKey(rows, &hash)
		if err != nil {
			return keySet{}, err
		}
		if count++; count > auth.MaxKeys {
			return keySet{}, fmt.Errorf("forebay_api_keys has more than the %d keys that a node takes", auth.MaxKeys)
		}
		sum.Add(&sum, big.NewInt(hash))
		if err := key.Validate(); err != nil {
			refused++
			set.refused = fmt.Errorf("%d rows of forebay_api_keys are not used; one is key %s: %w", refused, key.ID, err)
			continue
		}
		set.keys = append(set.keys, key)
	}
	set.content = joinFingerprint(count, sum.String())
	return set, rows.Err()
}
