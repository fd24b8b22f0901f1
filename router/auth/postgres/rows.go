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

// keyRow reads rows of columns. It is reused from row to row: a hundred thousand
// of them should not each take a dozen allocations.
type keyRow struct {
	key                  auth.Key
	digest               []byte
	expiresAt, revokedAt *time.Time
	into                 []any
}

// newKeyRow reads what follows columns into more.
func newKeyRow(more ...any) *keyRow {
	r := &keyRow{}
	r.into = append([]any{&r.digest, &r.key.Project, &r.key.RequestsPerSecond, &r.key.Burst, &r.key.Strict, &r.key.Origins,
		&r.expiresAt, &r.revokedAt}, more...)
	return r
}

// scan does not judge what the row says.
func (r *keyRow) scan(row pgx.CollectableRow) (auth.Key, error) {
	r.key = auth.Key{}
	if err := row.Scan(r.into...); err != nil {
		return auth.Key{}, err
	}
	copy(r.key.Digest[:], r.digest)
	r.key.ID = r.key.Digest.ID()
	if r.expiresAt != nil {
		r.key.ExpiresAt = *r.expiresAt
	}
	if r.revokedAt != nil {
		r.key.RevokedAt = *r.revokedAt
	}
	return r.key, nil
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
// must not keep others from being revoked. Expected is about how many there are.
func load(ctx context.Context, conn *pgx.Conn, expected int) (keySet, error) {
	rows, err := conn.Query(ctx, loadQuery)
	if err != nil {
		return keySet{}, err
	}
	defer rows.Close()
	set := keySet{keys: make([]auth.Key, 0, expected)}
	var hash int64
	var sum, term big.Int
	count, refused := 0, 0
	row := newKeyRow(&hash)
	for rows.Next() {
		key, err := row.scan(rows)
		if err != nil {
			return keySet{}, err
		}
		if count++; count > auth.MaxKeys {
			return keySet{}, fmt.Errorf("forebay_api_keys has more than the %d keys that a node takes", auth.MaxKeys)
		}
		sum.Add(&sum, term.SetInt64(hash))
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
