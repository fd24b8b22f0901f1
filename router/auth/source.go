package auth

import (
	"context"
	"time"
)

// Source knows the keys and keeps a directory current.
type Source interface {
	// Run fills dir and follows changes until ctx ends; then it returns nil.
	// It outlives every failure of what it reads from, leaving dir as it is.
	Run(ctx context.Context, dir *Directory) error
	// Stats tells how that is going.
	Stats() SourceStats
}

// SourceStats is the condition of a source.
type SourceStats struct {
	Source    string    // "file" or "postgres"
	Connected bool      // the source can be read: changes are being followed
	Since     time.Time // since when Connected is as it is
	LastError string    // why it is not connected, or what is wrong otherwise; empty: nothing is
	Reloads   uint64    // times a changed set was put into the directory
}

// Cache carries the keys over a restart. Node state implements it.
type Cache interface {
	// LoadKeys returns what was saved last; a zero time if that is nothing.
	LoadKeys() (Saved, error)
	// SaveKeys is durable when it returns.
	SaveKeys(Saved) error
}

// Saved is a set of keys as a Cache keeps it.
type Saved struct {
	Keys   []Key
	At     time.Time // when the set was true
	Source string    // whose it was
	Doubt  *Doubt    // that was under way; nil: none

	Unreadable error // which parts could not be read, the rest is in Keys; nil: all could
}
