package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// role is what a server is to its cluster.
type role struct {
	standby  bool
	readOnly bool
	orphaned bool // a standby that receives nothing: neither streamed nor from an archive that it shows
}

// readRole asks the server for it. The view is open to every account, its row is
// there while a receiver runs.
func readRole(ctx context.Context, conn *pgx.Conn) (r role, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	const query = `SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on',
		pg_is_in_recovery() AND NOT EXISTS (SELECT 1 FROM pg_stat_wal_receiver WHERE pid IS NOT NULL)`
	err = conn.QueryRow(ctx, query).Scan(&r.standby, &r.readOnly, &r.orphaned)
	return r, err
}

// errRoleChanged ends a connection whose server is no longer what it was: the next
// one may have to go elsewhere.
var errRoleChanged = errors.New("the server has changed its role, connecting anew")

// checkRole asks again. A standby that receives nothing is told, since changed keys
// do not come to it.
func (s *Source) checkRole(ctx context.Context, l *link) error {
	now, err := readRole(ctx, l.conn)
	if err != nil {
		return fmt.Errorf("ask whether the server is a standby: %w", err)
	}
	s.behind = nil
	if now.orphaned {
		s.behind = errors.New("keys are read from a standby that receives nothing from a primary, so changes of keys may not come: connect to the primary (target_session_attrs=read-write with all hosts in the connection string finds it)")
	}
	if now.standby != l.role.standby || now.readOnly != l.role.readOnly {
		return errRoleChanged
	}
	return nil
}
