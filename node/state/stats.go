package state

import "fmt"

// Stats is the condition of a store. Counters start at 0 with each Open.
type Stats struct {
	Commits          uint64 // that succeeded
	CommittedBytes   uint64 // of keys and values
	DiskBytes        uint64 // of all files
	MemoryBytes      uint64 // of memtables and block cache
	Flushes          int64
	Compactions      int64
	DiskFull         uint64 // calls of OnDiskFull
	BackgroundErrors uint64 // flushes and compactions that found no space
	LastError        string // the failure, else the last background error; empty when there was none
}

// Stats reads the counters. After a failure only those that need no lock of Pebble are filled in.
func (s *Store) Stats() Stats {
	stats := Stats{Commits: s.commits.Load(), CommittedBytes: s.bytes.Load(), DiskFull: s.diskFull.Load()}
	count, last := s.background.read()
	stats.BackgroundErrors = count
	if last != nil {
		stats.LastError = fmt.Sprintf("no space to write: %v", last)
	}
	if err := s.enter(); err != nil {
		stats.LastError = err.Error()
		return stats
	}
	defer s.active.Done()
	if err := s.guard(func() error { s.readMetrics(&stats); return nil }); err != nil {
		return Stats{LastError: err.Error()}
	}
	return stats
}

func (s *Store) readMetrics(stats *Stats) {
	m := s.db.Metrics()
	stats.DiskBytes = m.DiskSpaceUsage()
	stats.MemoryBytes = m.MemTable.Size + uint64(max(m.BlockCache.Size, 0))
	stats.Flushes = m.Flush.Count
	stats.Compactions = m.Compact.Count
}
