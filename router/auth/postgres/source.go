// Package postgres keeps API keys in PostgreSQL, in the table forebay_api_keys.
//
// A Source is for the node: it reads the whole table into the directory, hears of
// changes by LISTEN, and looks itself every half minute besides, since LISTEN
// hears nothing behind a transaction pooler or on a replica. No request ever waits
// for PostgreSQL. While it is away the node goes on with the keys it has, also
// over a restart, by way of a Cache; the directory says how old they are and stops
// believing them in the end.
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
	"strings"
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
	// saveInterval is how far the cached copy's age may be behind the truth.
	saveInterval = 10 * time.Minute
)

// Options set a Source up.
type Options struct {
	DSN           string        // postgres://… or key=value; never logged
	Cache         auth.Cache    // carries the keys over a restart; nil: nothing does
	SweepInterval time.Duration // 0: DefaultSweepInterval
	Logger        *slog.Logger
}

// Source reads the keys from PostgreSQL and follows their changes.
type Source struct {
	config   *pgx.ConnConfig
	cache    auth.Cache
	sweep    time.Duration
	logger   *slog.Logger
	restored bool      // the cache was read
	content  string    // fingerprint of the table as it is in the directory
	saved    time.Time // when what is in the cache was true
	refused  error     // rows that are no valid keys
	unsaved  error     // why the cache is not as it should be

	mu    sync.Mutex
	stats auth.SourceStats
}

// NewSource checks the connection string. It connects to nothing yet.
func NewSource(opts Options) (*Source, error) {
	config, err := parseDSN(opts.DSN)
	if err != nil {
		return nil, err
	}
	if opts.SweepInterval <= 0 {
		opts.SweepInterval = DefaultSweepInterval
	}
	return &Source{
		config: config, cache: opts.Cache, sweep: opts.SweepInterval, logger: opts.Logger,
		stats: auth.SourceStats{Source: "postgres", Since: time.Now()},
	}, nil
}

// Load fills the directory from the cache, so that a node can start without
// PostgreSQL. Run, called after it, goes on from there. An error means that the
// cache cannot be read; without a cache, or with an empty one, nothing happens.
func (s *Source) Load(dir *auth.Directory) error {
	s.restored = true
	if s.cache == nil {
		return nil
	}
	keys, at, err := s.cache.LoadKeys()
	if err != nil {
		return fmt.Errorf("read the cached keys: %w", err)
	}
	if at.IsZero() {
		return nil
	}
	s.saved = at
	if err := dir.ReplaceAt(keys, at); err != nil {
		return fmt.Errorf("cached keys: %w", err)
	}
	s.logger.Info("keys loaded", "source", "cache", "keys", dir.Len(), "age", dir.Age().Round(time.Second))
	return nil
}

// Run keeps the directory current until ctx ends, then returns nil.
func (s *Source) Run(ctx context.Context, dir *auth.Directory) error {
	if !s.restored {
		if err := s.Load(dir); err != nil {
			s.logger.Error("starting without cached keys", "err", err)
		}
	}
	backoff := minBackoff
	for {
		worked, err := s.follow(ctx, dir)
		if ctx.Err() != nil {
			s.save(dir)
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

// follow lives as long as one connection. Worked tells whether it could read.
func (s *Source) follow(ctx context.Context, dir *auth.Directory) (worked bool, err error) {
	changed := false
	config := s.config.Copy()
	config.OnNotification = func(*pgconn.PgConn, *pgconn.Notification) { changed = true }
	conn, err := connect(ctx, config)
	if err != nil {
		return false, err
	}
	defer disconnect(conn)
	if err := s.listen(ctx, conn); err != nil {
		return false, fmt.Errorf("listen for changed keys: %w", err)
	}
	for {
		begin := time.Now()
		told := changed
		changed = false // before looking: what comes meanwhile asks for another look
		if err := s.refresh(ctx, conn, dir, told); err != nil {
			return worked, err
		}
		worked = true
		if !pause(ctx, max(minPause, time.Since(begin))) {
			return worked, ctx.Err()
		}
		if changed {
			continue
		}
		if err := s.awaitChange(ctx, conn); err != nil {
			return worked, fmt.Errorf("wait for changed keys: %w", err)
		}
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
		s.logger.Warn("PostgreSQL sends no notifications, changed keys are seen by the sweep alone", "every", s.sweep, "err", err)
		return nil
	}
	return err
}

// awaitChange returns on a notification or when it is time for a sweep.
func (s *Source) awaitChange(ctx context.Context, conn *pgx.Conn) error {
	// Up to a tenth earlier, so that nodes started together do not sweep together.
	waiting, cancel := context.WithTimeout(ctx, s.sweep-rand.N(s.sweep/10+1))
	defer cancel()
	err := conn.PgConn().WaitForNotification(waiting)
	if err != nil && waiting.Err() != nil && ctx.Err() == nil && !conn.IsClosed() {
		return nil // time for a sweep; running out of time leaves the connection usable
	}
	return err
}

// refresh brings the directory up to the table. Told of a change it reads the
// table at once; otherwise it asks first whether there was one.
func (s *Source) refresh(ctx context.Context, conn *pgx.Conn, dir *auth.Directory, told bool) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	if !told && s.content != "" {
		content, err := fingerprint(ctx, conn)
		if err != nil {
			return fmt.Errorf("look for changed keys: %w", hint(err))
		}
		if content == s.content {
			s.confirm(dir)
			return nil
		}
	}
	set, err := load(ctx, conn, dir.Len()+1)
	if err != nil {
		return fmt.Errorf("read the keys: %w", hint(err))
	}
	if set.content == s.content {
		s.confirm(dir)
		return nil
	}
	if err := dir.Replace(set.keys); err != nil {
		return err
	}
	s.content, s.refused = set.content, set.refused
	s.mu.Lock()
	s.stats.Reloads++
	s.mu.Unlock()
	s.logger.Info("keys loaded", "source", "postgres", "keys", dir.Len())
	s.save(dir)
	s.report(nil)
	return nil
}

// confirm notes that the directory is as the table.
func (s *Source) confirm(dir *auth.Directory) {
	dir.Confirm()
	if time.Since(s.saved) > saveInterval {
		s.save(dir)
	}
	s.report(nil)
}

// save puts the directory's keys into the cache, with the time at which they were true.
func (s *Source) save(dir *auth.Directory) {
	keys, at := dir.Keys()
	if s.cache == nil || at.IsZero() || at.Equal(s.saved) {
		return
	}
	s.unsaved = nil
	if err := s.cache.SaveKeys(keys, at); err != nil {
		s.unsaved = fmt.Errorf("the keys are not kept for a restart: %w", err)
		return
	}
	s.saved = at
}

// report keeps what is wrong, and logs it when it is something else. Lost is why
// there is no connection, nil if there is one.
func (s *Source) report(lost error) {
	err := errors.Join(lost, s.refused, s.unsaved)
	text := ""
	if err != nil {
		text = strings.Join(strings.Fields(err.Error()), " ") // pgx breaks its errors into lines
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
