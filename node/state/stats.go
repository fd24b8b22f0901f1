package state

import (
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Stats is the condition of a store. Counters start at 0 with each Open.
type Stats struct {
	Commits        uint64 // that succeeded
	CommittedBytes uint64 // of keys and values
	DiskBytes      uint64 // of all files
	MemoryBytes    uint64 // of memtables and block cache
	Flushes        int64
	Compactions    int64
	DiskFull       uint64 // calls of OnDiskFull
	Failure        string // empty while the store has not failed
}

// FullSince is since when writes wait for space, the zero time when none does.
func (s *Store) FullSince() time.Time { return s.full.read() }

// Stats reads the counters. After a failure only those that need no lock of Pebble are filled in.
func (s *Store) Stats() Stats {
	stats := Stats{Commits: s.commits.Load(), CommittedBytes: s.bytes.Load(), DiskFull: s.diskFull.Load()}
	if err := s.enter(); err != nil {
		stats.Failure = err.Error()
		return stats
	}
	defer s.active.Done()
	var m *pebble.Metrics
	if err := s.guard(s.failed, func() error { m = s.db.Metrics(); return nil }); err != nil {
		stats.Failure = err.Error()
		return stats
	}
	stats.DiskBytes = m.DiskSpaceUsage()
	stats.MemoryBytes = m.MemTable.Size + uint64(max(m.BlockCache.Size, 0))
	stats.Flushes = m.Flush.Count
	stats.Compactions = m.Compact.Count
	return stats
}
