package clickhouse

import (
	"context"
	"errors"
	"time"
)

// Clock is the clock that stamps ReceivedAt. A table's TTL goes by the server's.
type Clock interface {
	// ClockCompared tells whether it has been compared since it was set.
	ClockCompared() bool
	// CompareClock takes what the server's clock says at this moment.
	CompareClock(name string, there time.Time) error
}

// compareClock holds the node's clock against the server's, once each time that
// the node's was set.
func (s *Sink) compareClock(ctx context.Context, srv *server) error {
	if s.opts.Clock == nil || s.opts.Clock.ClockCompared() {
		return nil
	}
	there, err := srv.now(ctx)
	if err != nil {
		return err
	}
	return s.opts.Clock.CompareClock("ClickHouse at "+srv.addr, there)
}

// now is what the server's clock says, by which a TTL goes.
func (c *server) now(ctx context.Context) (time.Time, error) {
	var seconds uint64
	if err := c.queryRow(ctx, "SELECT toUInt64(toUnixTimestamp(now()))", &seconds); err != nil {
		return time.Time{}, err
	}
	return time.Unix(int64(seconds), 0), nil
}

// CompareClock asks the first address that answers for its clock, for the node's
// to be held against it, if that has not been done since it was set.
func (s *Sink) CompareClock(ctx context.Context) error {
	var errs []error
	for _, addr := range s.opts.Addrs {
		conn, err := s.opts.dial(ctx, addr)
		if err == nil {
			srv := &server{addr: addr, conn: conn, timeout: s.opts.ReadTimeout}
			err = s.compareClock(ctx, srv)
			srv.close()
		}
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Dated implements shipper.Dated.
func (s *Sink) Dated() {}
