package wal

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"
)

// fail closes the log for appends. g, if there is one, is the group whose
// commit failed.
func (c *committer) fail(g *group, cause error) {
	c.letGo()
	c.held, c.appender.file = c.appender.file, nil
	c.appender.close()
	c.appender = nil
	c.unsynced = false
	c.suspect = c.suspect || !onlyWriteFailed(cause)
	c.since = time.Now()
	c.mu.Lock()
	c.failures++
	c.mu.Unlock()
	failure := newUnavailable(cause, c.since)
	c.logger.Error("the log is closed for appends and tries to recover", slog.Any("error", cause))
	c.queue.refuse(failure)
	if g == nil {
		g = c.queue.take()
	}
	for ; g != nil; g = c.queue.take() {
		c.queue.finish(g, 0, failure)
	}
	c.giveUpReserve(cause)
}

// awaitRecovery waits a little and tries to recover. It reports whether the log
// is closing.
func (c *committer) awaitRecovery(timer *time.Timer) (closing bool) {
	timer.Reset(c.retry)
	select {
	case <-timer.C:
	case <-c.closing:
		closing = true
	}
	c.retry = min(2*c.retry, maxRetry)
	err := c.recover()
	if err == nil {
		c.logger.Info("the log takes appends again", slog.Duration("after", time.Since(c.since)))
		c.queue.refuse(nil)
		return closing
	}
	c.giveUpReserve(err)
	c.logger.Debug("the log cannot recover yet", slog.Any("error", err))
	failure := newUnavailable(err, c.since)
	c.queue.refuse(failure)
	if closing {
		c.closeErr = failure
	}
	return closing
}

// recover brings the newest segment back to exactly the blocks that readers may
// see, seals it, starts an empty one behind it, and opens that for appends. It
// can be tried again after any error.
func (c *committer) recover() error {
	if err := c.InPlace(); err != nil {
		return err
	}
	newest := c.newest()
	if err := c.bringBack(newest); err != nil {
		return fmt.Errorf("restore %s: %w", newest.name(), err)
	}
	if err := c.removeStrays(newest.number); err != nil {
		return err
	}
	if err := c.cutTails(); err != nil {
		return err
	}
	if err := c.cut(newest); err != nil {
		return fmt.Errorf("restore %s: %w", newest.name(), err)
	}
	next := newest
	if newest.size > 0 || c.exposed {
		next = newSegment(c.opts.Dir, max(newest.number, c.lastNumber)+1)
		if err := createEmpty(next.path); err != nil {
			return fmt.Errorf("start a segment: %w", err)
		}
	}
	if err := c.reserve.restore(); err != nil {
		return fmt.Errorf("make the reserve file: %w", err)
	}
	appender, err := startAppender(c.opts.Dir, next.number, c.opts.SegmentBytes)
	if err != nil {
		return err
	}
	c.letGo()
	c.appender = appender
	if next != newest {
		c.mu.Lock()
		newest.sealed = true
		if newest.size == 0 {
			c.segments = c.segments[:len(c.segments)-1]
		}
		c.addSegment(next)
		c.mu.Unlock()
		c.tail.wake()
		if newest.size == 0 {
			c.discardEmpty(newest)
		}
	}
	return nil
}

// discardEmpty deletes a segment that never came to hold a block. Readers may
// wait at its start, in a file that is no longer the one of this name, which is
// why it cannot be used again.
func (c *committer) discardEmpty(s *segment) {
	if err := removeIfThere(s.path); err != nil {
		c.logger.Warn("an empty segment file stays behind", slog.Any("error", err))
	}
}

// removeStrays deletes the segment files behind the newest one that readers
// know: they are empty, and left by a roll or a recovery that failed.
func (c *committer) removeStrays(newest uint64) error {
	found, err := listDir(c.opts.Dir)
	if err != nil {
		return err
	}
	for _, info := range found.segments {
		number, _ := parseSegmentName(info.Name())
		if number <= newest {
			continue
		}
		path := filepath.Join(c.opts.Dir, info.Name())
		if info.Size() > 0 {
			return fmt.Errorf("%s holds %d bytes that this log has not written: move it away", path, info.Size())
		}
		if err := removeIfThere(path); err != nil {
			return err
		}
	}
	return nil
}

// cutTails saves and cuts the torn tails that Open has found.
func (c *committer) cutTails() error {
	for len(c.tails) > 0 {
		s, tail := c.tails[0].segment, &c.tails[0].damage
		c.logger.Warn("cutting a torn tail", slog.String("file", tail.File), slog.Int64("offset", tail.Offset),
			slog.Int64("bytes", tail.Bytes), slog.String("reason", tail.Reason))
		if err := c.incidents.save(s.path, tail); err != nil {
			return fmt.Errorf("save the torn tail of %s before cutting it: %w", s.name(), err)
		}
		if err := truncateFile(s.path, tail.Offset); err != nil {
			return err
		}
		c.tails = c.tails[1:]
	}
	return nil
}

// cut takes everything behind the durable position off a segment file. After a
// failed sync the file cannot be trusted to be on the disk as it reads, so what
// is durable is copied to a new file instead.
func (c *committer) cut(s *segment) error {
	if !c.suspect {
		err := truncateFile(s.path, s.size)
		if err != nil {
			c.suspect = true
		}
		return err
	}
	c.letGo() // from here on a copy has its name, whatever fails behind that
	if err := keepPrefix(s.path, s.size); err != nil {
		return err
	}
	c.suspect = false
	return nil
}

// giveUpReserve frees the reserve if the disk is full, so that recovery and
// retention have room to work.
func (c *committer) giveUpReserve(cause error) {
	if !isDiskFull(cause) {
		return
	}
	if err := c.reserve.release(); err != nil && !errors.Is(err, errNoReserve) {
		c.logger.Error("cannot give up the reserve file", slog.Any("error", err))
	}
}
