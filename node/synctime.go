package node

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

// How a dying disk is told from a busy one. The 99th percentile of the syncs
// of the last five minutes is held against the node's own baseline: the median
// over the minutes before, up to a day back, of each minute's 99th percentile.
// Minutes in which the disk was found slow do not enter the baseline, so that
// a disk that stays slow does not become the rule.
const (
	syncRecent   = 5                      // minutes that are judged
	syncHistory  = 24 * 60                // minutes that the baseline looks back
	syncBaseline = 30                     // minutes of it before it is believed
	syncFewest   = 50                     // syncs in the recent minutes, fewer prove nothing
	syncPerMin   = 10                     // likewise, for a minute of the baseline
	syncFactor   = 8                      // times the baseline is slow …
	syncFloor    = 100 * time.Millisecond // … unless it is less than this
	syncCeiling  = time.Second            // slow whatever the baseline
)

// syncTimes keeps how long the log's syncs took. A zero syncTimes is ready; it
// is safe for concurrent use.
type syncTimes struct {
	mu     sync.Mutex
	begun  time.Time
	minute int64 // since begun, of the newest of recent
	recent [syncRecent]spread
	past   []time.Duration // 99th percentiles of the minutes before, oldest first
}

// spread counts durations in steps of a quarter octave from 10 µs on.
type spread [80]uint32

const spreadUnit = 10 * time.Microsecond

func (s *spread) add(d time.Duration) {
	step := 0
	if d > spreadUnit {
		step = int(4 * math.Log2(float64(d)/float64(spreadUnit)))
	}
	s[min(step, len(s)-1)]++
}

// p99 is the upper edge of the step that the 99th percentile is in, and n how
// many durations there are.
func (s *spread) p99() (d time.Duration, n uint64) {
	for _, c := range s {
		n += uint64(c)
	}
	above := n / 100 // may be longer
	for step := len(s) - 1; step >= 0; step-- {
		if uint64(s[step]) > above {
			return time.Duration(float64(spreadUnit) * math.Pow(2, float64(step+1)/4)), n
		}
		above -= uint64(s[step])
	}
	return 0, 0
}

// add notes one sync that ended now.
func (t *syncTimes) add(now time.Time, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.roll(now)
	t.recent[t.minute%syncRecent].add(took)
}

// roll moves on to the minute of now; what leaves the recent minutes enters
// the baseline unless the disk is slow.
func (t *syncTimes) roll(now time.Time) {
	if t.begun.IsZero() {
		t.begun = now
	}
	minute := int64(now.Sub(t.begun) / time.Minute)
	if minute > t.minute+syncRecent {
		t.minute, t.recent = minute-syncRecent, [syncRecent]spread{} // long idle: nothing recent
	}
	for t.minute < minute {
		slow := t.judge() != ""
		t.minute++
		leaving := &t.recent[t.minute%syncRecent]
		if d, n := leaving.p99(); n >= syncPerMin && !slow {
			t.past = append(t.past, d)
			if len(t.past) > syncHistory {
				t.past = slices.Delete(t.past, 0, 1)
			}
		}
		*leaving = spread{}
	}
}

// slow says why the disk is slow, "" if it is not.
func (t *syncTimes) slow(now time.Time) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.roll(now)
	return t.judge()
}

func (t *syncTimes) judge() string {
	var all spread
	for _, s := range t.recent {
		for i, n := range s {
			all[i] += n
		}
	}
	p99, n := all.p99()
	if n < syncFewest {
		return ""
	}
	if p99 > syncCeiling {
		return fmt.Sprintf("1 in 100 syncs of the last %d minutes took over %s", syncRecent, syncCeiling)
	}
	if len(t.past) < syncBaseline {
		return ""
	}
	past := slices.Sorted(slices.Values(t.past))
	baseline := past[len(past)/2]
	if p99 > max(syncFactor*baseline, syncFloor) {
		return fmt.Sprintf("1 in 100 syncs of the last %d minutes took %s or longer, against %s before",
			syncRecent, p99.Round(time.Millisecond), baseline.Round(10*time.Microsecond))
	}
	return ""
}

// stallAfter is how long appends may wait without a single commit before the
// disk counts as hung. A sync that hangs returns no error.
const stallAfter = 10 * time.Second

// stall sees a disk that answers nothing at all. The caller holds a lock (health.looking).
type stall struct {
	commits uint64
	since   time.Time
}

// hungSince notes the log's commits and returns since when appends wait in
// vain, the zero time if they do not.
func (s *stall) hungSince(commits uint64, pending int64, now time.Time) time.Time {
	if pending == 0 || s.since.IsZero() || commits != s.commits {
		s.commits, s.since = commits, now
		return time.Time{}
	}
	if now.Sub(s.since) < stallAfter {
		return time.Time{}
	}
	return s.since
}
