package wal

import "time"

const (
	// clockJump is how far the wall clock may move against the monotonic clock
	// before that is taken for a jump.
	clockJump = time.Hour
	// clockSettle is how long a jump must last before it is adopted.
	clockSettle = 10 * time.Minute
)

// commitClock stamps blocks. Its times never run backwards, and a wall clock
// that jumps by more than clockJump is not followed until it has stayed there
// for clockSettle: until then time goes on as the monotonic clock says. It
// belongs to one goroutine at a time.
type commitClock struct {
	now  func() time.Time
	last time.Time // the last time given out

	anchor     time.Time // wall time that was believed …
	anchoredAt time.Time // … at this monotonic time
	jumpedAt   time.Time // monotonic time at which the jump was first seen; zero: none
}

func newCommitClock(now func() time.Time, floor time.Time) *commitClock {
	return &commitClock{
		now:        now,
		last:       floor.UTC().Truncate(time.Millisecond),
		anchor:     now().Round(0),
		anchoredAt: time.Now(),
	}
}

// stamp returns the commit time of a block that is committed now.
func (c *commitClock) stamp() time.Time {
	wall, mono := c.now().Round(0), time.Now()
	believed := c.anchor.Add(mono.Sub(c.anchoredAt))
	jump := wall.Sub(believed)
	switch {
	case jump.Abs() <= clockJump:
		c.jumpedAt = time.Time{}
	case c.jumpedAt.IsZero():
		c.jumpedAt = mono
	}
	if c.jumpedAt.IsZero() || mono.Sub(c.jumpedAt) >= clockSettle {
		c.anchor, c.anchoredAt, c.jumpedAt = wall, mono, time.Time{}
		believed = wall
	}
	if t := believed.UTC().Truncate(time.Millisecond); t.After(c.last) {
		c.last = t
	}
	return c.last
}
