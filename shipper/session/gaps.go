package session

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"forebay/shipper"
	"forebay/shipper/session/header"
	"forebay/wal"
)

// The state's keys of what is to be announced.
const (
	gapPrefix = "gap/"
	lostKey   = "lost"
)

// Bounds on announcements. What the log lost may concern any session, so it
// is announced to each whose events come within announceLost.
const (
	maxGapRanges  = 64      // in one header; the nearest are joined past it
	maxGaps       = 100_000 // sessions with gaps not yet announced; the oldest are forgotten past it
	forgetAtOnce  = 1000    // of them: finding the oldest takes a look at all
	announceLost  = 24 * time.Hour
	forgetGapsAge = 30 * 24 * time.Hour // a session that was silent for so long is over
)

// gap is the seqs a session did not get and has not been told of.
type gap struct {
	Ranges header.Ranges `json:"ranges"`
	At     time.Time     `json:"at"`
	Seq    uint64        `json:"seq,omitempty"` // how far the log had come, see shipper.Log
}

// lost is a stretch of the log that nobody gets.
type lost struct {
	header.Range
	At  time.Time `json:"at"`
	Seq uint64    `json:"seq,omitempty"` // how far the log had come, see shipper.Log
}

// notedClock tells how old something is, whatever the clock was set by since.
type notedClock interface {
	Noted() (at time.Time, seq uint64)
	Elapsed(at time.Time, seq uint64) time.Duration
}

// gaps are the announcements that have not been acknowledged.
type gaps struct {
	clock   notedClock
	bySess  map[header.SessionID]gap
	changed map[header.SessionID]struct{}
	lost    []lost
	ranges  header.Ranges // of lost
	news    bool          // lost is not in the state as it is here
}

func newGaps(clock notedClock) *gaps {
	return &gaps{clock: clock, bySess: map[header.SessionID]gap{}, changed: map[header.SessionID]struct{}{}}
}

// load reads one saved gap.
func (g *gaps) load(key string, value []byte) error {
	id, err := header.ParseSessionID(strings.TrimPrefix(key, gapPrefix))
	if err != nil {
		return fmt.Errorf("saved gap %q: %w", key, err)
	}
	var saved gap
	if err := json.Unmarshal(value, &saved); err != nil {
		return fmt.Errorf("saved gap %q: %w", key, err)
	}
	if g.clock.Elapsed(saved.At, saved.Seq) > forgetGapsAge {
		saved.Ranges = nil
		g.changed[id] = struct{}{}
	}
	g.bySess[id] = saved
	return nil
}

// loadLost reads the saved list of what the log lost.
func (g *gaps) loadLost(value []byte) error {
	if err := json.Unmarshal(value, &g.lost); err != nil {
		return fmt.Errorf("saved list of lost seqs: %w", err)
	}
	g.expire()
	return nil
}

// addLost notes what a batch of the feed names as lost.
func (g *gaps) addLost(holes []wal.Gap) {
	at, seq := g.clock.Noted()
	for _, hole := range holes {
		g.lost = append(g.lost, lost{header.Range{First: hole.First, Last: hole.Last}, at, seq})
		g.news = true
	}
	g.expire()
}

// expire forgets what has been announced for long enough, and the oldest of
// too many.
func (g *gaps) expire() {
	for len(g.lost) > 0 && (len(g.lost) > maxGapRanges || g.clock.Elapsed(g.lost[0].At, g.lost[0].Seq) > announceLost) {
		g.lost = g.lost[1:]
		g.news = true
	}
	g.ranges = nil
	for _, l := range g.lost {
		g.ranges = g.ranges.Add(l.First, l.Last)
	}
}

// with is a session's gaps with those of events added, which it will be told
// with its next request.
func (g *gaps) with(id header.SessionID, events []event) gap {
	k := gap{Ranges: g.bySess[id].Ranges.Clone()}
	k.At, k.Seq = g.clock.Noted()
	for _, e := range events {
		k.Ranges = k.Ranges.Add(e.seq, e.seq)
	}
	k.Ranges = k.Ranges.Join(maxGapRanges)
	return k
}

// keep notes a session's gaps, which are in the state already. Sessions that
// never go on would fill the memory: past the bound it forgets those that had
// their last gap first, and returns of how many sessions.
func (g *gaps) keep(id header.SessionID, k gap) (forgotten int) {
	g.bySess[id] = k
	if len(g.bySess) <= maxGaps {
		return 0
	}
	oldest := slices.SortedFunc(maps.Keys(g.bySess), func(a, b header.SessionID) int {
		return g.bySess[a].At.Compare(g.bySess[b].At)
	})[:forgetAtOnce]
	for _, id := range oldest {
		delete(g.bySess, id)
		g.changed[id] = struct{}{}
	}
	return len(oldest)
}

// pending is what a session has to be told before anything that is not below
// first. What lies above it comes anew after a rewind, or will be told then.
func (g *gaps) pending(id header.SessionID, first uint64) header.Ranges {
	told := g.bySess[id].Ranges.Below(first)
	for _, l := range g.ranges.Below(first) {
		told = told.Add(l.First, l.Last)
	}
	return told.Join(maxGapRanges)
}

// acknowledged takes off what a session has been told, and what it got.
func (g *gaps) acknowledged(id header.SessionID, told header.Ranges, got []event) {
	old, ok := g.bySess[id]
	if !ok {
		return
	}
	left := old.Ranges.Clone()
	if len(told) > 0 {
		left = left.From(told[len(told)-1].Last + 1)
	}
	for _, e := range got {
		left = left.Remove(e.seq)
	}
	old.Ranges = left
	g.bySess[id] = old
	g.changed[id] = struct{}{}
}

// write is the write that keeps k as one session's gaps.
func (k gap) write(id header.SessionID) shipper.Write {
	w := shipper.Write{Key: gapPrefix + id.String()}
	if len(k.Ranges) > 0 {
		w.Value, _ = json.Marshal(k) // numbers and a time of this century always can be
	}
	return w
}

// collect returns the writes that bring the state up to date.
func (g *gaps) collect() []shipper.Write {
	var writes []shipper.Write
	for id := range g.changed {
		k := g.bySess[id]
		writes = append(writes, k.write(id))
		if len(k.Ranges) == 0 {
			delete(g.bySess, id)
		}
	}
	clear(g.changed)
	if g.news {
		value, _ := json.Marshal(g.lost)
		writes = append(writes, shipper.Write{Key: lostKey, Value: value})
		g.news = false
	}
	return writes
}
