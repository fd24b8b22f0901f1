package state

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Why a state folder cannot be opened, for errors.Is.
var (
	ErrInUse   = errors.New("in use")
	ErrNewer   = errors.New("written by a newer version")
	ErrDamaged = errors.New("damaged")
)

// openError puts a remedy before the reason.
func openError(dir string, err error) error {
	var (
		errno     syscall.Errno
		pathError *fs.PathError
		failed    *FailedError
	)
	if errors.As(err, &failed) {
		err = failed.Cause
	}
	isErrno := errors.As(err, &errno)
	locked := isErrno && !errors.As(err, &pathError) && (errno == syscall.EAGAIN || errno == syscall.EACCES)
	switch {
	case locked, strings.Contains(err.Error(), "lock held by current process"):
		return fmt.Errorf("state folder %s is %w by another process: stop it, or give this node a folder of its own", dir, ErrInUse)
	case strings.Contains(err.Error(), "unknown format major version"):
		return fmt.Errorf("state folder %s was %w of forebay: run that version, or a later one: %w", dir, ErrNewer, err)
	case isErrno && errno == syscall.ENOSPC:
		return fmt.Errorf("state folder %s cannot be opened because the disk is full: free some space and start again: %w", dir, err)
	case isErrno && errno == syscall.EIO:
		return fmt.Errorf("state folder %s cannot be read: check the disk: %w", dir, err)
	case isErrno && (errno == syscall.EACCES || errno == syscall.EPERM || errno == syscall.EROFS):
		return fmt.Errorf("state folder %s is not writable: give this user the right to write there: %w", dir, err)
	case pebble.IsCorruptionError(err), errors.Is(err, fs.ErrNotExist), errors.Is(err, pebble.ErrDBNotPristine), errors.Is(err, errPanicked):
		return fmt.Errorf("state folder %s is %w: restore it from a backup, or move it away and start: cursors then begin at the oldest event in the log, and receivers see events again: %w", dir, ErrDamaged, err)
	}
	return fmt.Errorf("open state folder %s: %w", dir, err)
}

// errPanicked marks what Pebble panicked with while it opened a folder.
var errPanicked = errors.New("pebble panicked")

// Failed is closed when the store has failed for good; Err then says why.
func (s *Store) Failed() <-chan struct{} { return s.failed }

// Err is the *FailedError after Failed, nil before.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

func (s *Store) fail(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure == nil {
		s.failure = &FailedError{Dir: s.dir, Cause: cause}
		close(s.failed)
	}
}

// guard runs op, and returns without it when the store fails meanwhile: op may then never return.
func (s *Store) guard(op func() error) error {
	done := make(chan error, 1)
	go func() { done <- op() }()
	select {
	case err := <-done:
		return err
	case <-s.failed:
		return s.Err()
	}
}

// backgroundError is told of a failed flush or compaction. Pebble tries it again at once and for ever,
// which on a full disk may help and on a broken one never does. It holds Pebble's lock meanwhile, so that the
// pause, which keeps those tries from using up a core, is short.
func (s *Store) backgroundError(err error) {
	if !vfs.IsNoSpaceError(err) {
		s.fail(err)
		return
	}
	if s.background.note(err) {
		s.logger.Error("state folder: no space to write; free some", "dir", s.dir, "err", err)
	}
	time.Sleep(100 * time.Millisecond)
}

// backgroundLog keeps repeated errors from filling the node's log.
type backgroundLog struct {
	mu    sync.Mutex
	count uint64
	last  error
	said  time.Time
}

// note counts an error and reports whether to log it.
func (b *backgroundLog) note(err error) bool {
	const every = 10 * time.Second
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count++
	b.last = err
	if time.Since(b.said) < every {
		return false
	}
	b.said = time.Now()
	return true
}

func (b *backgroundLog) read() (count uint64, last error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count, b.last
}

// pebbleLogger passes on what Pebble logs. Its notices are of no use to an operator.
type pebbleLogger struct{ store *Store }

func (l pebbleLogger) Infof(format string, args ...any) {
	l.store.logger.Debug("pebble: " + fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.store.logger.Warn("pebble: " + fmt.Sprintf(format, args...))
}

// Fatalf is called where Pebble cannot go on, and counts on not coming back. The goroutine that called
// it, with whatever locks it holds, stands still for ever; the calls of this package do not wait for it.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	cause := &fatalError{text: fmt.Sprintf(format, args...)}
	for _, arg := range args {
		if err, ok := arg.(error); ok {
			cause.err = err
		}
	}
	l.store.fail(cause)
	select {}
}

// fatalError is why Pebble cannot go on.
type fatalError struct {
	text string
	err  error // nil when Pebble gave none
}

func (e *fatalError) Error() string { return e.text }
func (e *fatalError) Unwrap() error { return e.err }
