package state

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
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
	case errors.Is(err, errFormat), strings.Contains(err.Error(), "unknown format major version"):
		return fmt.Errorf("state folder %s was %w of forebay: run that version, or a later one: %w", dir, ErrNewer, err)
	case isErrno && errno == syscall.ENOSPC:
		return fmt.Errorf("state folder %s cannot be opened because the disk is full: free some space and start again: %w", dir, err)
	case isErrno && errno == syscall.EIO:
		return fmt.Errorf("state folder %s cannot be read: check the disk: %w", dir, err)
	case isErrno && (errno == syscall.EACCES || errno == syscall.EPERM || errno == syscall.EROFS):
		return fmt.Errorf("state folder %s is not writable: give this user the right to write there: %w", dir, err)
	case pebble.IsCorruptionError(err), errors.Is(err, fs.ErrNotExist), errors.Is(err, pebble.ErrDBNotPristine), errors.Is(err, errIncomplete),
		strings.Contains(err.Error(), "object size mismatch"):
		return fmt.Errorf("state folder %s is %w: restore it from a backup, or move it away and start: cursors then begin at the oldest event in the log, and receivers see events again: %w", dir, ErrDamaged, err)
	}
	return fmt.Errorf("open state folder %s: %w", dir, err)
}

var (
	errIncomplete = errors.New("a part of it is missing")
	errFormat     = errors.New("its keys have format")
)

// Failed is closed when the store has failed for good; Err then says why.
func (s *Store) Failed() <-chan struct{} { return s.failed }

// Err is the *FailedError after Failed, nil before.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// fail makes cause the store's failure, if it is the first.
func (s *Store) fail(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure == nil {
		s.failure = &FailedError{Dir: s.dir, Cause: cause}
		close(s.failed)
	}
}

// freeze fails the store and never returns: Pebble must not go on from where it was called. The
// goroutine keeps whatever locks it holds, so Pebble may stand still as a whole.
func (s *Store) freeze(cause error) {
	s.fail(cause)
	s.freezeOnce.Do(func() { close(s.frozen) })
	select {}
}

// failInBackground is told of a flush or compaction that failed, which Pebble tries again without a pause. While
// a store is opened Pebble waits for that flush, for as long as the disk is full, so there it stands still.
func (s *Store) failInBackground(cause error) {
	if !s.opened.Load() {
		s.freeze(cause)
	}
	s.fail(cause)
}

// guard runs op and returns its error, or, once the channel givenUp is closed, the store's failure: op may then never
// return. A panic, which is how Pebble reports some errors while it opens a folder, is a failure too.
func (s *Store) guard(givenUp <-chan struct{}, op func() error) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				s.logger.Error("state folder: pebble panicked", "dir", s.dir, "panic", p, "stack", string(debug.Stack()))
				cause := &fatalError{text: fmt.Sprint("pebble panicked: ", p)}
				cause.err, _ = p.(error)
				s.freeze(cause)
			}
		}()
		done <- op()
	}()
	select {
	case err := <-done:
		return err
	case <-givenUp:
		return s.Err()
	}
}

// pebbleLogger passes on what Pebble logs. Its notices are of no use to an operator.
type pebbleLogger struct{ store *Store }

func (l pebbleLogger) Infof(format string, args ...any) {
	l.store.logger.Debug("pebble: " + fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.store.logger.Warn("pebble: " + fmt.Sprintf(format, args...))
}

// Fatalf is called where Pebble cannot go on, and counts on not coming back.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	cause := &fatalError{text: fmt.Sprintf(format, args...)}
	for _, arg := range args {
		if err, ok := arg.(error); ok {
			cause.err = err
		}
	}
	l.store.freeze(cause)
}

// fatalError is why Pebble cannot go on.
type fatalError struct {
	text string
	err  error // nil when Pebble gave none
}

func (e *fatalError) Error() string { return e.text }
func (e *fatalError) Unwrap() error { return e.err }
