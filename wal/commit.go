package wal

import (
	"os"
	"sync"
	"sync/atomic"
	"time"

	"forebay/wal/durable"
)

const (
	minRetry = 10 * time.Millisecond
	maxRetry = time.Second

	// tailDelay is how long a reader at the tail may wait to be told of a block
	// when nothing else is committed. Readers that begin at once, with the whole
	// block to decode, take the processor from the replies to its appenders: a
	// large request was answered later by that than one that was not stored.
	tailDelay = 2 * time.Millisecond
)

// committer writes to the log, one group at a time: mostly in a goroutine of its
// own, which also recovers, but an appender that finds it idle commits its group
// itself, which spares a lone one two wake-ups. Whoever does holds turn.
type committer struct {
	*Log
	turn     sync.Mutex // guards the fields below
	appender *appender  // nil while the log is unavailable
	clock    *commitClock
	block    []byte    // the block being encoded
	unsynced bool      // with SyncInterval: there are writes since syncedAt
	syncedAt time.Time // with SyncInterval: when the last sync ended
	tails    []tornTail
	held     *os.File  // the file that a failed appender was writing, until it is restored
	asleep   bool      // readers have not been told of the newest block
	bell     *tailBell // tells them a little later
	exposed  bool      // readers may have the newest segment open
	suspect  bool      // a sync has failed since the newest segment was last rewritten
	since    time.Time // when the log became unavailable
	retry    time.Duration
}

// run commits groups until the log closes, and recovers after failures.
func (c *committer) run() {
	defer close(c.stopped)
	c.turn.Lock()
	defer c.turn.Unlock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	closing := false
	for {
		if c.appender == nil {
			closing = c.awaitRecovery(timer)
			if c.appender == nil && closing {
				c.letGo()
				return
			}
			if c.appender == nil {
				continue
			}
		}
		if g := c.queue.take(); g != nil {
			c.commitGroup(g)
			continue
		}
		if c.unsynced {
			timer.Reset(time.Until(c.syncedAt.Add(c.opts.SyncInterval)))
		}
		if closing {
			c.finish()
			return
		}
		syncDue := false
		c.turn.Unlock()
		select {
		case <-c.queue.ready:
		case <-timer.C:
			syncDue = true
		case <-c.closing:
			closing = true // after one more look at the queue, which is closed
		}
		c.turn.Lock()
		if syncDue {
			c.syncWritten()
		}
	}
}

// wake has the oldest group committed: by the caller if it is the only appender
// and nobody is committing, so it may return as late as the disk does; else by the
// committer's goroutine, while further entries join the group.
func (c *committer) wake() {
	if c.opts.SyncInterval > 0 || c.appending.Load() > 1 || !c.turn.TryLock() {
		c.queue.signal()
		return
	}
	if c.appender != nil {
		if g := c.queue.take(); g != nil {
			c.commitGroup(g)
		}
	}
	failed := c.appender == nil
	c.turn.Unlock()
	if failed || c.queue.waiting() {
		c.queue.signal()
	}
}

// commitGroup makes a group durable and wakes its waiters.
func (c *committer) commitGroup(g *group) {
	first, err := c.commit(g)
	if err != nil {
		c.wakeReaders()
		c.fail(g, err)
		return
	}
	c.retry = minRetry
	c.queue.finish(g, first, nil)
	if c.asleep && !c.queue.waiting() {
		c.asleep = false
		c.bell.ring()
	}
}

// commit encodes, writes and syncs one group as one block, and publishes it.
func (c *committer) commit(g *group) (first uint64, err error) {
	began := time.Now()
	stored, compression, err := c.queue.compressor.join(g.payload, g.chunks)
	if err != nil {
		return 0, err
	}
	at, err := c.clock.stamp(c.nextSeq(), uint64(g.events))
	if err != nil {
		return 0, err
	}
	h := Header{
		Number:      c.appender.next,
		LogID:       c.ID(),
		FirstSeq:    c.nextSeq(),
		Events:      uint32(g.events),
		EntryCount:  uint32(g.entries),
		Time:        at,
		Compression: compression,
		RawSize:     len(g.payload),
	}
	c.block = appendBlock(c.block[:0], &h, g.digests, stored)
	w, err := c.appender.write(c.block)
	if err != nil {
		return 0, err
	}
	c.wakeReaders()
	var synced time.Duration
	switch {
	case w.rolled:
		synced, err = timed(func() error { return durable.SyncDir(c.opts.Dir) })
		c.noteSynced()
	case c.opts.SyncInterval == 0 || c.unsynced && time.Since(c.syncedAt) >= c.opts.SyncInterval:
		synced, err = timed(c.appender.sync)
		c.noteSynced()
	case !c.unsynced:
		c.unsynced, c.syncedAt = true, began
	}
	if err == nil {
		err = c.appender.stays(w)
	}
	if err != nil {
		return 0, err
	}
	c.publish(&h, w, synced > 0, g)
	if c.opts.OnCommit != nil {
		c.opts.OnCommit(Commit{
			Sync: synced, Total: time.Since(began),
			Entries: g.entries, Events: g.events,
			Bytes: w.bytes, RawSize: int64(g.size),
		})
	}
	return h.FirstSeq, nil
}

func (c *committer) noteSynced() { c.unsynced, c.syncedAt = false, time.Now() }

func timed(f func() error) (time.Duration, error) {
	began := time.Now()
	err := f()
	return time.Since(began), err
}

// syncWritten makes durable what SyncInterval has put off.
func (c *committer) syncWritten() {
	if !c.unsynced || c.appender == nil {
		return
	}
	if err := c.appender.sync(); err != nil {
		c.fail(nil, err)
		return
	}
	c.noteSynced()
	c.mu.Lock()
	c.counts.Syncs++
	c.mu.Unlock()
}

// finish ends a log that closes.
func (c *committer) finish() {
	defer c.bell.stop()
	defer c.letGo()
	c.syncWritten()
	if c.appender == nil {
		if err := c.recover(); err != nil {
			c.closeErr = newUnavailable(err, c.since)
		}
	}
	if c.appender != nil {
		c.appender.close()
	}
}

// publish lets readers see a group that has become durable as a block. It leaves
// the group other buffers.
func (c *committer) publish(h *Header, w written, synced bool, g *group) {
	newest := c.newest()
	if newest.size == 0 {
		newest.setHead(h)
	}
	first := c.firstSeq.CompareAndSwap(0, h.FirstSeq)
	c.recent.keep(newest.number, newest.size, h, g)
	c.mu.Lock()
	if first {
		c.oldest = *h
	}
	newest.size += w.bytes
	if w.rolled {
		newest.sealed = true
		c.addSegment(newSegment(c.opts.Dir, c.appender.next))
	}
	c.lastNumber, c.newestBlock = h.Number, *h
	c.counts.add(h, w, synced)
	c.durable.Store(h.LastSeq()) // while mu keeps readers from the new size: neither is ahead of the other
	c.mu.Unlock()
	c.asleep = true
}

// wakeReaders tells readers at the tail what has been published. With more to
// commit that waits until the next block is on its way to disk: readers then use
// the time in which committing needs no processor.
func (c *committer) wakeReaders() {
	if c.asleep {
		c.asleep = false
		c.tail.wake()
	}
}

// tailBell wakes readers tailDelay after the first of its rings.
type tailBell struct {
	timer *time.Timer
	rung  atomic.Bool
}

func newTailBell(wake func()) *tailBell {
	t := new(tailBell)
	t.timer = time.AfterFunc(tailDelay, func() {
		t.rung.Store(false)
		wake()
	})
	t.timer.Stop()
	return t
}

func (t *tailBell) ring() {
	if t.rung.CompareAndSwap(false, true) {
		t.timer.Reset(tailDelay)
	}
}

func (t *tailBell) stop() { t.timer.Stop() }
