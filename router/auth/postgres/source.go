// Package postgres keeps API keys in PostgreSQL, in the table forebay_api_keys.
//
// A Source is for the node: it reads the whole table into the directory, hears of
// changes by LISTEN, and looks itself every half minute besides, since LISTEN
// hears nothing behind a transaction pooler or on a replica. No request ever waits
// for PostgreSQL. While it is away the node goes on with the keys it has; the
// directory says how old they are and stops believing them in the end. No
// connection lasts: the connection string, the files that it names and the names of
// hosts are looked at again.
//
// A Store is for the operator's commands. It also creates and upgrades the table:
// a node only reads, so its account needs no more than SELECT on it.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"forebay/router/auth"
)

// DefaultSweepInterval is how often the table is looked at without a notification.
const DefaultSweepInterval = 30 * time.Second

const (
	// queryTimeout ends a connection that answers no more.
	queryTimeout = 60 * time.Second
	minBackoff   = 100 * time.Millisecond
	maxBackoff   = 10 * time.Second
	// minPause is left between two looks at the table however many notifications
	// come; it is longer if a look takes longer, so that at most half the time goes into it.
	minPause = 10 * time.Millisecond
	// defaultMaxAge is how long a connection is kept at most: a name that points to
	// another server by now is followed then.
	defaultMaxAge = 5 * time.Minute
)

// Options set a Source up.
type Options struct {
	// DSN reads the connection string, postgres://… or key=value; never logged. It is
	// asked before each connection and at each look, and so are the files that the
	// string names.
	DSN           func() (string, error)
	SweepInterval time.Duration // 0: DefaultSweepInterval
	MaxAge        time.Duration // of a connection; 0: 5 minutes
	Logger        *slog.Logger
}

// Source reads the keys from PostgreSQL and follows their changes.
type Source struct {
	dsn     func() (string, error)
	sweep   time.Duration
	maxAge  time.Duration
	logger  *slog.Logger
	content string // fingerprint of the table as it was offered to the directory
	deaf    bool   // the server sends no notifications, which was said
	refused error  // rows that are no valid keys
	behind  error  // the server is a standby that hears nothing
	stuck   error  // why the connection could not be replaced

	mu    sync.Mutex
	stats auth.SourceStats
}

// NewSource checks the connection string. It connects to nothing yet.
func NewSource(opts Options) (*Source, error) {
	if _, err := readConfig(opts.DSN); err != nil {
		return nil, err
	}
	if opts.SweepInterval <= 0 {
		opts.SweepInterval = DefaultSweepInterval
	}
	if opts.MaxAge <= 0 {
		opts.MaxAge = defaultMaxAge
	}
	return &Source{
		dsn: opts.DSN, sweep: opts.SweepInterval, maxAge: opts.MaxAge, logger: opts.Logger,
		stats: auth.SourceStats{Source: "postgres", Since: time.Now()},
	}, nil
}

// Run keeps the directory current until ctx ends, then returns nil.
func (s *Source) Run(ctx context.Context, dir *auth.Directory) error {
	backoff := minBackoff
	for {
		worked, err := s.follow(ctx, dir)
		if ctx.Err() != nil {
			return nil
		}
		s.report(err)
		if worked {
			backoff = minBackoff
		}
		// Half to all of it, so that nodes do not come back in step.
		if !pause(ctx, backoff/2+rand.N(backoff/2)) {
			return nil
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// Stats tells how the source is doing. It is safe for concurrent use.
func (s *Source) Stats() auth.SourceStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// link is a connection with what it was made from.
type link struct {
	conn    *pgx.Conn
	config  *pgx.ConnConfig
	ends    time.Time // when it is replaced
	role    role
	changed bool // a notification has come since the last look
}

// open connects as the connection string says now.
func (s *Source) open(ctx context.Context) (*link, error) {
	config, err := readConfig(s.dsn)
	if err != nil {
		return nil, err
	}
	l := &link{config: config}
	own := config.Copy()
	own.OnNotification = func(*pgconn.PgConn, *pgconn.Notification) { l.changed = true }
	if l.conn, err = connect(ctx, own); err != nil {
		return nil, err
	}
	// Up to a fifth less, so that nodes do not connect in step.
	l.ends = time.Now().Add(s.maxAge - rand.N(s.maxAge/5+1))
	err = s.listen(ctx, l.conn)
	if err != nil {
		err = fmt.Errorf("listen for changed keys: %w", err)
	} else if l.role, err = readRole(ctx, l.conn); err != nil {
		err = fmt.Errorf("ask whether the server is a standby: %w", err)
	}
	if err != nil {
		disconnect(l.conn)
		return nil, err
	}
	return l, nil
}

// follow lives until a connection is lost. One that has become old, or that the
// connection string would no longer make, is replaced by another; if that cannot
// be made, it goes on. Worked tells whether it could read.
func (s *Source) follow(ctx context.Context, dir *auth.Directory) (worked bool, err error) {
	s.stuck = nil
	l, err := s.open(ctx)
	if err != nil {
		return false, err
	}
	defer func() { disconnect(l.conn) }()
	for {
		begin := time.Now()
		told := l.changed
		l.changed = false // before looking: what comes meanwhile asks for another look
		if err := s.refresh(ctx, l, dir, told); err != nil {
			return worked, err
		}
		worked = true
		if !pause(ctx, max(minPause, time.Since(begin))) {
			return worked, ctx.Err()
		}
		if !l.changed {
			if err := s.awaitChange(ctx, l); err != nil {
				return worked, fmt.Errorf("wait for changed keys: %w", err)
			}
		}
		if config, err := readConfig(s.dsn); err == nil && sameConfig(config, l.config) && time.Now().Before(l.ends) {
			s.stuck = nil
			continue
		}
		next, err := s.open(ctx)
		if err != nil {
			l.ends = time.Now().Add(s.sweep)
			s.stuck = fmt.Errorf("the connection is to be replaced and no new one can be made, so the old one serves: %w", err)
			continue
		}
		disconnect(l.conn)
		s.stuck, l = nil, next
	}
}

// listen asks for notifications. A server that refuses, such as a replica, is
// left to the sweep.
func (s *Source) listen(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	_, err := conn.Exec(ctx, "LISTEN forebay_api_keys")
	var refusal *pgconn.PgError
	if errors.As(err, &refusal) && !conn.IsClosed() {
		if s.deaf {
			return nil
		}
		s.deaf = true
		s.logger.Warn("PostgreSQL sends no notifications, changed keys are seen by the sweep alone", "every", s.sweep.String(), "err", err)
		return nil
	}
	s.deaf = s.deaf && err != nil
	return err
}

// awaitChange returns on a notification, when it is time for a sweep, or when the
// connection is to be replaced.
func (s *Source) awaitChange(ctx context.Context, l *link) error {
	// Up to a tenth earlier, so that nodes started together do not sweep together.
	sweep := s.sweep - rand.N(s.sweep/10+1)
	waiting, cancel := context.WithTimeout(ctx, max(minPause, min(sweep, time.Until(l.ends))))
	defer cancel()
	err := l.conn.PgConn().WaitForNotification(waiting)
	if err != nil && waiting.Err() != nil && ctx.Err() == nil && !l.conn.IsClosed() {
		return nil // time for a sweep; running out of time leaves the connection usable
	}
	return err
}

// refresh brings the directory up to the table. Told of a change it reads the
// table at once; otherwise it asks first whether there was one, and whether the
// server is still what it was.
func (s *Source) refresh(ctx context.Context, l *link, dir *auth.Directory, told bool) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	if !told {
		if err := s.checkRole(ctx, l); err != nil {
			return err
		}
	}
	if !told && s.content != "" {
		content, err := fingerprint(ctx, l.conn)
		if err != nil {
			return fmt.Errorf("look for changed keys: %w", hint(err))
		}
		if content == s.content {
			s.confirm(dir)
			return nil
		}
	}
	set, err := load(ctx, l.conn, dir.Len()+1)
	if err != nil {
		return fmt.Errorf("read the keys: %w", hint(err))
	}
	s.refused = set.refused
	if set.content == s.content {
		s.confirm(dir)
		return nil
	}
	if err := dir.Offer(set.keys); err != nil {
		return err
	}
	s.content = set.content
	s.mu.Lock()
	s.stats.Reloads++
	s.mu.Unlock()
	s.logger.Info("keys loaded", "source", "postgres", "keys", len(set.keys))
	s.report(nil)
	return nil
}

// confirm notes that the table is as it was offered to the directory.
func (s *Source) confirm(dir *auth.Directory) {
	dir.Confirm()
	s.report(nil)
}

// report keeps what is wrong, and logs it when it is something else. Lost is why
// there is no connection, nil if there is one.
func (s *Source) report(lost error) {
	err := errors.Join(lost, s.refused, s.behind, s.stuck)
	text := ""
	if err != nil {
		text = oneLine(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if connected := lost == nil; connected != s.stats.Connected {
		s.stats.Connected, s.stats.Since = connected, time.Now()
		if connected {
			s.logger.Info("keys are followed in PostgreSQL")
		}
	}
	if text != "" && text != s.stats.LastError {
		s.logger.Error("keys from PostgreSQL", "err", text)
	}
	s.stats.LastError = text
}

// pause tells whether the time passed before ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
