package wal

import "time"

// Counts are what a log has done since it was opened.
type Counts struct {
	Entries     uint64 `json:"entries"`      // accepted appends
	Events      uint64 `json:"events"`       // seqs given to them
	Commits     uint64 `json:"commits"`      // blocks written
	Syncs       uint64 `json:"syncs"`        // syncs of segment files or, at a roll, of the directory
	Rolls       uint64 `json:"rolls"`        // segments filled
	RawBytes    uint64 `json:"raw_bytes"`    // payload before compression
	StoredBytes uint64 `json:"stored_bytes"` // bytes written to segment files
}

func (c *Counts) add(h *Header, w written, synced bool) {
	c.Entries += uint64(h.EntryCount)
	c.Events += uint64(h.Events)
	c.Commits++
	c.RawBytes += uint64(h.RawSize)
	c.StoredBytes += uint64(w.bytes)
	if synced {
		c.Syncs++
	}
	if w.rolled {
		c.Rolls++
	}
}

// Stats is a log's state at one moment.
type Stats struct {
	Counts
	FirstSeq     uint64            `json:"first_seq"`
	DurableSeq   uint64            `json:"durable_seq"`
	Segments     int               `json:"segments"`
	Bytes        int64             `json:"bytes"`       // of all segment files
	OldestTime   time.Time         `json:"oldest_time"` // of the oldest block held, see Header.Adjusted; zero: none
	NewestTime   time.Time         `json:"newest_time"` // of the newest block, likewise
	OldestAge    time.Duration     `json:"oldest_age"`  // of the oldest block held, see Age
	PendingBytes int64             `json:"pending_bytes"`
	Overloaded   uint64            `json:"overloaded"`  // appends refused with ErrOverloaded
	Unavailable  *UnavailableError `json:"-"`           // why appends are refused; nil while they are taken
	Failures     uint64            `json:"failures"`    // times the log became unavailable
	Damaged      uint64            `json:"damaged"`     // damaged stretches met since open, each counted once
	LostSeqs     uint64            `json:"lost_seqs"`   // seqs in named gaps met since open, each counted once
	Quarantined  int64             `json:"quarantined"` // bytes in the quarantine folder
	ReserveHeld  bool              `json:"reserve_held"`
}

// Stats returns the log's state. It does no input or output.
func (l *Log) Stats() Stats {
	s := Stats{
		FirstSeq:    l.FirstSeq(),
		DurableSeq:  l.DurableSeq(),
		ReserveHeld: l.reserve.held.Load(),
		Unavailable: l.queue.unavailable(),
	}
	s.PendingBytes, s.Overloaded = l.queue.load()
	s.Damaged, s.LostSeqs, s.Quarantined = l.incidents.totals()
	l.mu.RLock()
	s.Counts, s.Failures = l.counts, l.failures
	s.Segments = len(l.segments)
	for _, segment := range l.segments {
		s.Bytes += segment.size
	}
	oldest, newest := l.oldest, l.newestBlock
	l.mu.RUnlock()
	if oldest.Number > 0 {
		s.OldestTime, s.OldestAge = l.dated(oldest).Adjusted, l.Age(oldest)
	}
	if newest.Number > 0 {
		s.NewestTime = l.dated(newest).Adjusted
	}
	return s
}
