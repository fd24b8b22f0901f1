package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"forebay/router/auth"
)

const columns = "key_sha256, project, requests_per_second, burst, strict, origins, expires_at, revoked_at"

// keyRow reads rows of columns. It is reused from row to row: a hundred thousand
// of them should not each take a dozen allocations. Its columns take whatever a
// table without the constraints of ours may hold, so that one row cannot end a read.
type keyRow struct {
	digest               []byte
	project              pgtype.Text
	rate                 pgtype.Float8
	burst                pgtype.Int8
	strict               pgtype.Bool
	origins              []pgtype.Text
	expiresAt, revokedAt pgtype.Timestamptz
	into                 []any
}

// newKeyRow reads what follows columns into more.
func newKeyRow(more ...any) *keyRow {
	r := &keyRow{}
	r.into = append([]any{&r.digest, &r.project, &r.rate, &r.burst, &r.strict, &r.origins, &r.expiresAt, &r.revokedAt}, more...)
	return r
}

// read takes a row in. An error ends the whole read: the table has another shape.
func (r *keyRow) read(row pgx.CollectableRow) error {
	*r = keyRow{into: r.into}
	err := row.Scan(r.into...)
	var column pgx.ScanArgError
	if errors.As(err, &column) {
		return fmt.Errorf("the table has another shape: column %s: %w", column.FieldName, column.Err)
	}
	return err
}

// scan reads a row, and does not judge what it says.
func (r *keyRow) scan(row pgx.CollectableRow) (auth.Key, error) {
	if err := r.read(row); err != nil {
		return auth.Key{}, err
	}
	key, _ := r.key()
	return key, nil
}

// key is what the row says; the error tells why it is no valid key.
func (r *keyRow) key() (key auth.Key, err error) {
	copy(key.Digest[:], r.digest)
	key.ID = key.Digest.ID()
	key.Project, key.RequestsPerSecond, key.Burst, key.Strict = r.project.String, r.rate.Float64, int(r.burst.Int64), r.strict.Bool
	for _, origin := range r.origins {
		if !origin.Valid {
			err = errors.New("origins has a NULL")
		}
		key.Origins = append(key.Origins, origin.String)
	}
	key.Origins = auth.ParseOrigins(key.Origins)
	var wrong [2]error
	key.ExpiresAt, wrong[0] = timeOf("expires_at", r.expiresAt)
	key.RevokedAt, wrong[1] = timeOf("revoked_at", r.revokedAt)
	if len(r.digest) != len(key.Digest) {
		err = fmt.Errorf("key_sha256 has %d bytes, not %d", len(r.digest), len(key.Digest))
	}
	return key, errors.Join(err, wrong[0], wrong[1], key.Validate())
}

func timeOf(column string, t pgtype.Timestamptz) (time.Time, error) {
	if t.InfinityModifier != pgtype.Finite {
		return time.Time{}, fmt.Errorf("%s is %s: leave it NULL, or write a time", column, t.InfinityModifier)
	}
	return t.Time, nil
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
	var first error
	row := newKeyRow(&hash)
	for rows.Next() {
		if err := row.read(rows); err != nil {
			return keySet{}, err
		}
		if count++; count > auth.MaxKeys {
			return keySet{}, fmt.Errorf("forebay_api_keys has more than the %d keys that a node takes", auth.MaxKeys)
		}
		sum.Add(&sum, term.SetInt64(hash))
		key, err := row.key()
		if err != nil {
			if refused++; refused == 1 {
				first = fmt.Errorf("key %s (project %q): %w", key.ID, key.Project, err)
			}
			continue
		}
		set.keys = append(set.keys, key)
	}
	if refused > 0 {
		set.refused = fmt.Errorf("%d of %d rows of forebay_api_keys are not used, the others are; the first: %w", refused, count, first)
	}
	set.content = joinFingerprint(count, sum.String())
	return set, rows.Err()
}
