package wal

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	// clockJump is how far the wall clock may move against the monotonic clock, or
	// stand off a destination's, before that is taken for a jump.
	clockJump = time.Hour
	// clockTolerance is how far the clock may stand before the newest block at a start.
	clockTolerance = time.Minute
	// clockAhead is how far ahead of all that is known a clock is believed at once.
	clockAhead = 5 * 365 * 24 * time.Hour
	// clockSettle is how long a clock that contradicts what is known must go on
	// steadily before it is believed after all.
	clockSettle = 10 * time.Minute
)

// commitClock stamps blocks. Between two steps its times never run backwards.
//
// A clock that is before the program was built is not believed. One that
// contradicts the newest block, or a destination's clock, or that is years ahead of
// all that is known, is not until it has gone on steadily for clockSettle. A clock that is believed
// and jumps ahead is followed at once: what is too young is kept. One that jumps back is not
// until it has stayed there for clockSettle: until then time goes on as the
// monotonic clock says.
type commitClock struct {
	log    *Log
	now    func() time.Time
	built  time.Time
	settle time.Duration

	mu      sync.Mutex
	last    time.Time     // the last time given out since the last step
	next    uint64        // the seq of a step that is made now
	first   uint64        // of the first block since the last step
	shift   time.Duration // by how much the time then was past all that was known to have come
	wall    time.Time     // time is this …
	mono    time.Time     // … at this monotonic time
	since   time.Time     // monotonic time since when the clock contradicts what is known; zero: it does not
	jumped  time.Duration // by how much it has jumped, without being followed
	doubt   doubt
	moved   time.Duration // by how much it was set last, if more than time servers correct
	movedAt time.Time
	led     string // the destination whose clock counts; "": this machine's
	other   reference
	unsaved *step // the first one, for which the disk had no room
}

// doubt is why a clock is not believed.
type doubt struct {
	reason string // "": it is believed
	firm   bool   // steady going on does not end it
	apart  bool   // it is that of a destination that contradicts
}

// reference is a destination's clock, as it was compared last.
type reference struct {
	name     string
	at       time.Time // its time …
	mono     time.Time // … at this monotonic time
	compared bool      // since the last step
}

// time is that of the reference at a monotonic time.
func (r *reference) time(mono time.Time) time.Time { return r.at.Add(mono.Sub(r.mono)) }

// start takes up the log where it ended. It is called once, before anything is
// stamped.
func (c *commitClock) start(newest time.Time, next uint64) error {
	wall, mono := c.read()
	c.wall, c.mono, c.next, c.first = wall, mono, next, next
	known := c.log.readSteps()
	doubted := known.doubted()
	c.doubt = c.judge(wall, newest.Add(-known.trailing()), newest.IsZero())
	s := step{Seq: next, Doubted: c.doubt.reason != ""}
	off := wall.Sub(newest)
	switch {
	case newest.IsZero() && c.built.IsZero():
	case newest.IsZero() && s.Doubted: // so that what it stamps is not taken for known
		s.By = wall.Sub(c.built).Milliseconds()
	case newest.IsZero():
		c.shift = wall.Sub(c.built)
	case doubted || s.Doubted:
		s.By = off.Milliseconds()
	case off > clockJump:
		s.Idle, c.shift = off.Milliseconds(), off
	default:
		c.last, c.shift = newest, off
	}
	if s.Doubted {
		c.since = mono
		c.log.logger.Warn("the clock is not believed", slog.String("reason", c.doubt.reason))
	}
	err := c.save(s)
	if isDiskFull(err) {
		c.unsaved, err = &s, nil // nothing is appended before it is there
	}
	return err
}

// read is the wall clock, in whole milliseconds, and the monotonic one.
func (c *commitClock) read() (wall, mono time.Time) {
	return c.now().Round(0).UTC().Truncate(time.Millisecond), time.Now()
}

// believed is the time at a monotonic time.
func (c *commitClock) believed(mono time.Time) time.Time {
	return c.wall.Add(mono.Sub(c.mono)).Truncate(time.Millisecond)
}

// judge says what speaks against a clock, given the time that is known to have
// come.
func (c *commitClock) judge(wall, known time.Time, none bool) doubt {
	says := "the clock says " + wall.Format(time.RFC3339)
	if none || known.Before(c.built) {
		known = c.built
	}
	switch {
	case wall.Before(c.built):
		return doubt{reason: says + ", but this program was built at " + c.built.UTC().Format(time.RFC3339), firm: true}
	case wall.Year() >= 2100:
		return doubt{reason: says, firm: true} // a DateTime of ClickHouse ends in 2106
	case wall.Before(known.Add(-clockTolerance)):
		return doubt{reason: says + ", but the log's newest event is from " + known.UTC().Format(time.RFC3339)}
	case !known.IsZero() && wall.Sub(known) > clockAhead:
		return doubt{reason: says + ", years after the log's newest event and the program were made: " + known.UTC().Format(time.RFC3339)}
	}
	return doubt{}
}

// stamp returns the commit time of a block that is committed now. Where the
// clock has been set, that is durable before it returns.
func (c *commitClock) stamp(first, events uint64) (time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = first
	if err := c.look(); err != nil {
		return time.Time{}, err
	}
	if s := c.log.readSteps(); len(s) > 0 && s[len(s)-1].Seq > first { // the block before has failed
		if err := c.log.saveSteps(s.with(step{Seq: first, Doubted: s.doubted()})); err != nil {
			return time.Time{}, err
		}
		c.first = first
	}
	c.next = first + events
	if t := c.believed(time.Now()); t.After(c.last) {
		c.last = t
	}
	return c.last, nil
}

// look follows the wall clock, and makes the step that it asks for, if any.
func (c *commitClock) look() error { return c.lookAt(c.read()) }

// lookAt is look, with the clocks as they were read.
func (c *commitClock) lookAt(wall, mono time.Time) error {
	if c.unsaved != nil {
		if err := c.save(*c.unsaved); err != nil {
			return err
		}
		c.unsaved = nil
	}
	at := c.believed(mono)
	jump := wall.Sub(at)
	if c.doubt.reason != "" {
		return c.lookDoubtful(wall, mono, at)
	}
	switch {
	case jump.Abs() <= clockJump:
		if jump.Abs() > clockTolerance {
			c.moved, c.movedAt = jump, mono
		}
		c.wall, c.mono, c.led, c.since, c.jumped = wall, mono, "", time.Time{}, 0
		return nil
	case c.led != "":
		return nil // this machine's clock is known to be wrong
	case c.since.IsZero() || (c.jumped-jump).Abs() > clockJump:
		c.since, c.jumped = mono, jump
	}
	d := c.judge(wall, at, false)
	if d.firm || d.reason != "" && mono.Sub(c.since) < c.settle {
		return nil
	}
	return c.set(wall, mono, step{By: jump.Milliseconds()}, doubt{})
}

// lookDoubtful is look for a clock that is not believed.
func (c *commitClock) lookDoubtful(wall, mono, at time.Time) error {
	if jump := wall.Sub(at); jump.Abs() > clockJump { // it has been set: judged anew
		return c.set(wall, mono, step{By: jump.Milliseconds()}, c.verdict(wall, mono, at))
	}
	c.wall, c.mono = wall, mono
	there := c.other.time(mono).Truncate(time.Millisecond)
	switch {
	case mono.Sub(c.since) < c.settle:
		return nil
	case c.other.name != "" && there.Sub(wall) > clockJump && !there.Before(c.built):
		err := c.set(there, mono, step{By: there.Sub(wall).Milliseconds()}, doubt{})
		if err == nil {
			c.led, c.other.compared = c.other.name, true
		}
		return err
	case c.doubt.firm:
		return nil
	}
	err := c.set(wall, mono, step{}, doubt{})
	c.other.compared = err == nil && c.other.name != "" // it has been overruled
	return err
}

// verdict judges a clock while it is doubted.
func (c *commitClock) verdict(wall, mono, at time.Time) doubt {
	d := c.judge(wall, at.Add(-c.log.readSteps().trailing()), false)
	if d.reason == "" && c.other.name != "" {
		d = c.contradicted(wall, mono)
	}
	return d
}

// contradicted is the doubt that the reference's clock raises.
func (c *commitClock) contradicted(wall, mono time.Time) doubt {
	there := c.other.time(mono)
	if there.Sub(wall).Abs() <= clockJump {
		return doubt{}
	}
	return doubt{apart: true, reason: fmt.Sprintf("the clock says %s, but that of %s says %s",
		wall.Format(time.RFC3339), c.other.name, there.UTC().Format(time.RFC3339))}
}

// compare holds the clock against that of a destination.
func (c *commitClock) compare(name string, there time.Time) error {
	if err := c.look(); err != nil {
		return err
	}
	wall, mono := c.read()
	at := c.believed(mono)
	first := !c.other.compared
	c.other = reference{name: name, at: there.Round(0).UTC(), mono: mono, compared: true}
	off := there.Sub(at).Abs() > clockJump
	switch {
	case c.led != "" && off: // it has been set itself
		return c.set(wall, mono, step{By: wall.Sub(at).Milliseconds()}, c.verdict(wall, mono, at))
	case c.doubt.reason != "" && !c.doubt.firm && !off:
		return c.set(wall, mono, step{}, doubt{})
	case c.doubt.reason == "" && first && off && c.since.IsZero():
		return c.set(wall, mono, step{Seq: c.first, By: c.shift.Milliseconds()}, c.contradicted(wall, mono)) // and what it has stamped
	}
	return nil
}

// set goes on from a time, with a step before it. If that cannot be saved,
// nothing has changed.
func (c *commitClock) set(now, mono time.Time, s step, d doubt) error {
	s.Seq, s.Doubted = cmp.Or(s.Seq, c.next), d.reason != ""
	if err := c.save(s); err != nil {
		return err
	}
	c.wall, c.mono, c.last, c.first, c.shift = now, mono, time.Time{}, s.Seq, 0
	c.doubt, c.since, c.jumped, c.led = d, time.Time{}, 0, ""
	c.moved, c.movedAt = time.Duration(s.By)*time.Millisecond, mono
	c.other.compared = c.other.compared && s.Doubted
	level, text := slog.LevelInfo, "the clock has been set"
	if s.Doubted {
		c.since, level, text = mono, slog.LevelWarn, "the clock is not believed"
	}
	c.log.logger.Log(context.Background(), level, text, slog.Time("now", now),
		slog.Duration("by", time.Duration(s.By)*time.Millisecond), slog.String("reason", d.reason))
	return nil
}

// save makes a step durable. Those of blocks that are gone stay: what else was
// noted at that time still has to be dated.
func (c *commitClock) save(s step) error {
	known := c.log.readSteps().with(s)
	return c.log.saveSteps(known[max(len(known)-maxSteps, 0):])
}
