package wal

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrOverloaded is returned by Append when the appends that already wait
	// hold [Options].MaxPendingBytes. Nothing was stored; try again later.
	ErrOverloaded = errors.New("wal: too many appends are waiting for the disk")

	// ErrClosed is returned on a closed log by what would change or follow it:
	// Append, Retain, ReleaseReserve, Close, and Next of its readers; and by Next
	// and Close of a closed reader. The calls that look a thing up, such as Find
	// and SeekTime, still answer from the files.
	ErrClosed = errors.New("wal: closed")

	// ErrTooLarge is returned by Append for an entry that no block may hold:
	// more data than [Options].MaxBlockBytes, or more than 65,536 digests or
	// 1,048,576 events. Nothing was stored; it will never fit.
	ErrTooLarge = errors.New("wal: the entry is larger than a block may be")

	// ErrReadOnly is returned by Append and Retain on a log opened with
	// [Options].ReadOnly.
	ErrReadOnly = errors.New("wal: the log is open for reading only")

	// ErrLocked is returned by Open and Reidentify when another process, or
	// this one, has the log open.
	ErrLocked = errors.New("wal: the log is in use: stop the node that has it open")
)

// UnavailableError is returned by Append while the log is closed for appends
// after a write or sync that failed. What was acknowledged before stays
// readable. The log keeps trying to recover and takes appends again by itself
// once the cause is gone.
type UnavailableError struct {
	Cause error     // the error that closed the log, or the newest attempt's
	Since time.Time // when it closed
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("wal: closed for appends since %s: %v", e.Since.UTC().Format(time.RFC3339), e.Cause)
}

// Unwrap returns the cause.
func (e *UnavailableError) Unwrap() error { return e.Cause }
