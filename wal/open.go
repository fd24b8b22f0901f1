package wal

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"forebay/wal/durable"
)

// Recovery says what Open found and did.
type Recovery struct {
	// Torn tails, cut off after a copy to the quarantine folder unless that is full
	// or off. A log that is only read leaves them where they are, uncopied.
	Cut []Damage `json:"cut,omitempty"`
	// Damage met in the newest segment with good blocks behind it. Only that
	// segment is scanned at open.
	Damage []Damage `json:"damage,omitempty"`
	Lost   *Gap     `json:"lost,omitempty"` // seqs used elsewhere that the log's end does not have
	// Identity that was taken from the blocks because the identity file is
	// missing.
	IdentityFromBlocks bool          `json:"identity_from_blocks,omitempty"`
	Removed            []string      `json:"removed,omitempty"` // temporary and empty files of an interrupted operation
	Moved              []string      `json:"moved,omitempty"`   // foreign files that were in the way, now in the quarantine folder
	Foreign            []string      `json:"foreign,omitempty"` // foreign files, left alone
	Scanned            int64         `json:"scanned"`           // bytes read
	Took               time.Duration `json:"took_ns"`
}

// Open takes over a log's directory: it recovers what a crash left behind,
// seals the newest segment, starts an empty one, and returns a log that takes
// appends. It reads the newest segment that holds blocks, and of the others
// only the oldest's first header.
//
// If the disk is full, Open succeeds with a log that can be read and that takes
// appends once there is space. Any other failure is returned: a *FormatError if
// a newer release wrote the log, ErrLocked if it is in use.
func Open(o Options) (*Log, error) {
	began := time.Now()
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	l, err := newLog(o)
	if err != nil {
		return nil, err
	}
	if err := l.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("wal: open %s: %w", o.Dir, err), l.lock.Close())
	}
	l.recovery.Took = time.Since(began)
	return l, nil
}

func newLog(o Options) (*Log, error) {
	if !o.ReadOnly {
		if err := durable.MakeDir(o.Dir, dirPerm); err != nil {
			return nil, fmt.Errorf("wal: %w", err)
		}
	}
	queue, err := newQueue(&o)
	if err != nil {
		return nil, err
	}
	lock, err := lockDir(o.Dir, o.ReadOnly && !o.exclusive)
	if err != nil {
		return nil, fmt.Errorf("wal: lock %s: %w", o.Dir, err)
	}
	return &Log{
		opts:      o,
		logger:    o.Logger,
		lock:      lock,
		queue:     queue,
		incidents: newIncidents(&o),
		reserve:   newReserve(&o),
		closing:   make(chan struct{}),
		stopped:   make(chan struct{}),
	}, nil
}

func (l *Log) open() error {
	found, err := l.tidy()
	if err != nil {
		return err
	}
	for _, info := range found.segments {
		number, _ := parseSegmentName(info.Name())
		s := newSegment(l.opts.Dir, number)
		s.size, s.sealed = info.Size(), true
		l.segments = append(l.segments, s)
	}
	if err := l.loadIdentity(); err != nil {
		return err
	}
	known, err := readSteps(l.opts.Dir)
	if err != nil {
		return err
	}
	l.steps.Store(&known)
	end, err := l.findEnd()
	if err != nil {
		return err
	}
	l.settle(end)
	if first, err := l.firstFrom(l.segments, 0); err != nil {
		return err
	} else if first != nil {
		l.firstSeq.Store(first.FirstSeq)
		l.oldest = *first
	}
	if l.opts.ReadOnly {
		l.queue.refuse(ErrReadOnly)
		close(l.stopped)
		return nil
	}
	return l.start(end)
}

// tidy removes what interrupted operations left and moves foreign files out of
// the appender's way.
func (l *Log) tidy() (listing, error) {
	found, err := listDir(l.opts.Dir)
	if err != nil {
		return listing{}, err
	}
	l.recovery.Foreign = found.foreign
	if l.opts.ReadOnly {
		l.recovery.Foreign = append(l.recovery.Foreign, found.hostile...)
		return found, nil
	}
	for _, name := range found.temp {
		if err := removeIfThere(filepath.Join(l.opts.Dir, name)); err != nil {
			return listing{}, err
		}
		l.recovery.Removed = append(l.recovery.Removed, name)
	}
	for _, name := range found.hostile {
		if err := l.incidents.moveIn(name); err != nil {
			return listing{}, err
		}
		l.recovery.Moved = append(l.recovery.Moved, name)
	}
	return found, nil
}

// loadIdentity reads the identity file, or makes up for a missing one.
func (l *Log) loadIdentity() error {
	known, err := readIdentity(l.opts.Dir)
	if err != nil {
		return err
	}
	if known != nil {
		l.identity = known
		return nil
	}
	if l.identity, err = l.identityFromBlocks(); err != nil {
		return err
	}
	if len(l.identity.IDs) > 0 {
		l.recovery.IdentityFromBlocks = true
		l.logger.Warn("the identity file is missing: identity taken from the blocks", slog.String("log_id", l.ID().String()))
	} else {
		l.identity.IDs = []identityEntry{{ID: newID(), FirstSeq: l.opts.Floor + 1}}
	}
	if l.opts.ReadOnly {
		return nil
	}
	return writeIdentity(l.opts.Dir, l.identity)
}

// identityFromBlocks collects the IDs that the blocks carry. A new ID always
// begins with a segment, so the first block of each tells all.
func (l *Log) identityFromBlocks() (*identity, error) {
	ids := &identity{Version: identityVersion}
	for _, s := range l.segments {
		h, _, err := l.head(s)
		if err != nil {
			return nil, err
		}
		if h != nil && !ids.has(h.LogID) {
			ids.IDs = append(ids.IDs, identityEntry{ID: h.LogID, FirstSeq: h.FirstSeq})
		}
	}
	return ids, nil
}

// scan walks all blocks of a segment and the damage between them. At the end of
// the segment visit is called with no block if there is damage there.
func (l *Log) scan(s *segment, visit func(*rawBlock, *Damage)) error {
	file, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer file.Close()
	scan := l.newScanner(s, file, s.size)
	for {
		b, damage, err := scan.next()
		switch {
		case err == nil:
			visit(&b, damage)
			continue
		case err == io.EOF && damage != nil:
			visit(nil, damage)
		}
		l.recovery.Scanned += scan.reads
		if err == io.EOF {
			return nil
		}
		return err
	}
}

// logEnd is what the newest segments say about where the log ends.
type logEnd struct {
	number uint64 // of the last good block
	good   uint64 // its last seq
	used   uint64 // the same, or the last seq of a damaged block behind it whose header can be read
	head   Header // of the last good block
	// unsealed says that the newest file holds something: the last writer did not
	// come to start another.
	unsealed bool
	tails    []tornTail
}

// tornTail is what has to be cut off a segment, after a copy is saved.
type tornTail struct {
	segment *segment
	damage  Damage
}

// findEnd finds the last good block and takes what is behind it out of the
// segments' sizes. Nothing is changed on the disk yet.
func (l *Log) findEnd() (logEnd, error) {
	var end logEnd
	for i := len(l.segments) - 1; i >= 0; i-- {
		s := l.segments[i]
		if s.size == 0 {
			continue
		}
		last := i == len(l.segments)-1
		if last && !l.opts.ReadOnly {
			end.unsealed = true
			if err := durable.SyncFile(s.path); err != nil {
				return end, fmt.Errorf("sync %s before believing it: %w", s.name(), err)
			}
		}
		if err := l.scanNewest(s, last, &end); err != nil {
			return end, err
		}
		if end.number > 0 {
			break
		}
	}
	return end, nil
}

// scanNewest scans one segment for findEnd.
func (l *Log) scanNewest(s *segment, unsealed bool, end *logEnd) error {
	var tail *Damage
	err := l.scan(s, func(b *rawBlock, damage *Damage) {
		if b == nil {
			tail = damage
			return
		}
		end.number, end.good, end.used, end.head = b.Number, b.LastSeq(), b.LastSeq(), b.Header
		if damage != nil {
			l.recovery.Damage = append(l.recovery.Damage, *damage)
			l.incidents.damaged(s.path, damage)
		}
	})
	if err != nil || tail == nil {
		return err
	}
	l.recovery.Cut = append(l.recovery.Cut, *tail)
	if !unsealed {
		// The segment was whole once, so this is not a write that was cut
		// short: the damaged blocks had been acknowledged. Their seqs must not
		// be given out again.
		seq, err := l.seqsInDamage(s, tail)
		if err != nil {
			return err
		}
		end.used = max(end.used, seq)
	}
	s.size = tail.Offset
	end.tails = append(end.tails, tornTail{s, *tail})
	return nil
}

// seqsInDamage returns the highest seq that a readable header in a damaged
// stretch names.
func (l *Log) seqsInDamage(s *segment, d *Damage) (uint64, error) {
	file, err := os.Open(s.path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	scan := l.newScanner(s, file, d.Offset+d.Bytes)
	scan.headers, scan.offset = true, d.Offset
	for {
		if _, _, err := scan.next(); err == io.EOF {
			return scan.lastSeq, nil
		} else if err != nil {
			return 0, err
		}
	}
}

// settle decides the next seq and time.
func (l *Log) settle(end logEnd) {
	durable := max(end.used, l.opts.Floor, l.identity.current().FirstSeq-1)
	if durable > end.good {
		lost := Gap{First: end.good + 1, Last: durable, Reason: ReasonFloor}
		if durable == end.used {
			tail := end.tails[len(end.tails)-1].damage
			lost.Reason, lost.File, lost.Offset = tail.Reason, tail.File, tail.Offset
		}
		lost = l.incidents.gap(lost)
		l.recovery.Lost = &lost
	}
	l.durable.Store(durable)
	l.lastNumber, l.newestBlock = end.number, end.head
}

// start opens the log for appends.
func (l *Log) start(end logEnd) error {
	if err := l.dropEmpty(end); err != nil {
		return err
	}
	clock := &commitClock{log: l, now: l.opts.Now, built: l.opts.Built, settle: l.opts.ClockSettle}
	if err := clock.start(end.head.Time, l.nextSeq()); err != nil {
		return err
	}
	c := &committer{
		Log:     l,
		clock:   clock,
		tails:   end.tails,
		suspect: end.unsealed,
		since:   time.Now(),
		retry:   minRetry,
		bell:    newTailBell(l.tail.wake),
	}
	if err := c.recover(); err != nil {
		if !isDiskFull(err) {
			return err
		}
		c.giveUpReserve(err)
		c.queue.refuse(newUnavailable(err, c.since))
		l.logger.Error("the disk is full: the log can be read, and takes appends once there is space", slog.Any("error", err))
	}
	c.exposed = true
	l.committer = c
	go c.run()
	return nil
}

// dropEmpty decides which segment recover starts from: an empty one behind the
// last good block whose name is free for the next block, else the one that
// holds the last good block. Other empty files at the end are forgotten here
// and deleted by recover.
func (l *Log) dropEmpty(end logEnd) error {
	n := len(l.segments)
	for n > 0 && l.segments[n-1].size == 0 {
		n--
	}
	empty := l.segments[n:]
	l.segments = l.segments[:n:n]
	if len(empty) > 0 && empty[0].number > end.number {
		l.segments = append(l.segments, empty[0])
		empty = empty[1:]
	}
	for _, s := range empty {
		l.recovery.Removed = append(l.recovery.Removed, s.name())
	}
	if len(l.segments) == 0 {
		first := newSegment(l.opts.Dir, 1)
		if err := createEmpty(first.path); err != nil {
			return err
		}
		l.segments = append(l.segments, first)
	}
	l.segments[len(l.segments)-1].sealed = false
	return nil
}
