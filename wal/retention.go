package wal

import (
	"fmt"
	"time"

	"forebay/wal/durable"
)

// Retention says how much history to keep. A segment goes only if all its seqs
// are below KeepFrom and one of the limits asks for it.
type Retention struct {
	// KeepFrom is the lowest seq that somebody still needs. 0 keeps everything.
	KeepFrom uint64
	// Age is how long history is kept, see [Log.Age]; 0 = no limit.
	Age time.Duration
	// Bytes is how much the segment files may take together; 0 = no limit.
	Bytes int64
	// FreeBytes is how much space to leave on the file system; 0 = no limit.
	FreeBytes int64
}

// RetainResult says what Retain has done.
type RetainResult struct {
	Segments int   // files deleted
	Bytes    int64 // what they held
	// Excess is how many bytes the limits on Bytes and FreeBytes still ask for:
	// somebody still needs them, or they are in the newest file, which stays.
	Excess int64
}

// Retain deletes whole segment files, oldest first, as far as the policy asks
// for it and KeepFrom allows it. The newest file that holds blocks always
// stays. Make the positions that KeepFrom rests on durable before. A crash on
// the way leaves a shorter history, no hole. It also makes the reserve file
// again if that was given up and there is room.
func (l *Log) Retain(policy Retention) (RetainResult, error) {
	if l.opts.ReadOnly {
		return RetainResult{}, ErrReadOnly
	}
	l.retaining.Lock()
	defer l.retaining.Unlock()
	var done RetainResult
	if l.isClosing() {
		return done, ErrClosed
	}
	if err := l.InPlace(); err != nil {
		return done, err // files of the same names would be somebody else's
	}
	if _, err := l.Clock(); err != nil {
		policy.Age = 0 // how old anything is cannot be told before the disk has room
	}
	excess, err := l.excess(policy)
	if err != nil {
		return done, err
	}
	for {
		if l.isClosing() {
			return done, ErrClosed
		}
		segments := l.view()
		goes, err := l.dispensable(segments, policy, excess)
		if err != nil {
			return done, err
		}
		if !goes {
			break
		}
		size, err := l.deleteOldest()
		if err != nil {
			return done, fmt.Errorf("wal: delete %s: %w", segments[0].name(), err)
		}
		done.Segments++
		done.Bytes += size
		excess = max(0, excess-size)
	}
	done.Excess = excess
	if err := l.reserve.restore(); err != nil && !isDiskFull(err) {
		return done, fmt.Errorf("wal: make the reserve file: %w", err)
	}
	return done, nil
}

// excess returns how many bytes have to go.
func (l *Log) excess(policy Retention) (int64, error) {
	var excess int64
	if policy.Bytes > 0 {
		excess = max(0, l.Stats().Bytes-policy.Bytes)
	}
	if policy.FreeBytes > 0 {
		free, err := freeSpace(l.opts.Dir)
		if err != nil {
			return 0, fmt.Errorf("wal: %w", err)
		}
		excess = max(excess, policy.FreeBytes-free)
	}
	return excess, nil
}

// dispensable reports whether the oldest segment is to go.
func (l *Log) dispensable(segments []*segment, policy Retention, excess int64) (bool, error) {
	if len(segments) < 2 {
		return false, nil
	}
	// The next segment's first block tells what the oldest one ends with.
	next, err := l.firstFrom(segments, 1)
	if err != nil || next == nil {
		return false, err // nil: the oldest is the newest with blocks
	}
	if next.FirstSeq > policy.KeepFrom {
		return false, nil
	}
	old := policy.Age > 0 && l.Age(*next) > policy.Age
	return old || excess > 0, nil
}

// deleteOldest deletes the oldest segment file. Readers that have it open read
// it to its end. No new reader opens it once it is no longer listed.
func (l *Log) deleteOldest() (int64, error) {
	segments := l.view()
	oldest := segments[0]
	first, err := l.firstFrom(segments, 1)
	if err != nil {
		return 0, err
	}
	l.mu.Lock()
	before := oldestHeld{l.firstSeq.Load(), l.oldest, l.retained}
	l.segments = l.segments[1:]
	l.hold(oldestHeld{first.FirstSeq, *first, first.FirstSeq - 1})
	l.mu.Unlock()
	if err := removeIfThere(oldest.path); err != nil {
		l.mu.Lock()
		l.segments = append([]*segment{oldest}, l.segments...)
		l.hold(before)
		l.mu.Unlock()
		return 0, err
	}
	// One at a time, so that no file system can bring back an older one alone.
	return oldest.size, durable.SyncDir(l.opts.Dir)
}

// oldestHeld is what changes when the oldest segment goes.
type oldestHeld struct {
	firstSeq uint64
	head     Header
	retained uint64
}

// hold sets what the log holds from; the caller holds mu.
func (l *Log) hold(o oldestHeld) {
	l.firstSeq.Store(o.firstSeq)
	l.oldest, l.retained = o.head, o.retained
}

// retainedSeq is the last seq that Retain has deleted since open.
func (l *Log) retainedSeq() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.retained
}
