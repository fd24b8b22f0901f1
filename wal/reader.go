package wal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// Reader reads a log's blocks in order, from a seq to the durable end and on as
// it grows. The newest blocks it takes from the log's memory, all others from the
// files. Readers share nothing else with each other or with appends but the page
// cache: each has its own file handle and its own buffer of 256 KiB, or of one
// block where that is larger. A Reader is for one goroutine; Close may be called
// from another.
type Reader struct {
	log      *Log
	stop     chan struct{}
	stopOnce sync.Once

	mu   sync.Mutex
	next uint64 // the seq that is wanted
	seg  *segment
	file *os.File
	scan scanner
	past struct { // the last good block passed, delivered or not
		known       bool
		number, seq uint64
	}
	damage *Damage // the first damage met since that block

	spare spareBuffer
}

// spareBuffer holds the memory of a released block until the next one.
type spareBuffer struct {
	mu  sync.Mutex
	buf []byte
}

// take returns the buffer if it holds size bytes.
func (s *spareBuffer) take(size int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cap(s.buf) < size {
		return nil
	}
	buf := s.buf
	s.buf = nil
	return buf
}

// put keeps the larger one of two buffers.
func (s *spareBuffer) put(buf []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cap(buf) > cap(s.buf) {
		s.buf = buf
	}
}

// NewReader returns a reader whose first block is the one that holds the seq
// from. If that is lost or deleted, it is the next block there is, with a Gap
// that begins at from. The block may begin before from. NewReader does no input
// or output.
func (l *Log) NewReader(from uint64) *Reader {
	return &Reader{log: l, next: max(from, 1), stop: make(chan struct{})}
}

// Next returns the next block. At the end of the log it waits; a block that is
// ready is returned even if ctx has ended. Other results are ctx's error,
// ErrClosed if the reader or the log is closed, io.EOF at the end of a log
// opened with Options.ReadOnly, a *FormatError, or what the file system
// returned: after that, calling again tries the same place again.
func (r *Reader) Next(ctx context.Context) (*Block, error) {
	for {
		if b, err := r.ready(); b != nil || err != nil {
			return b, err
		}
		woken := r.log.tail.wait()
		if b, err := r.ready(); b != nil || err != nil {
			return b, err
		}
		if r.log.opts.ReadOnly {
			return nil, io.EOF
		}
		select {
		case <-woken:
		case <-r.stop:
			return nil, ErrClosed
		case <-r.log.closing:
			return nil, ErrClosed
		case <-ctx.Done():
			// A block may be ready that readers have not been told of yet.
			if b, err := r.ready(); b != nil || err != nil {
				return b, err
			}
			return nil, ctx.Err()
		}
	}
}

// Close gives up the reader's file. A Next that waits returns ErrClosed.
func (r *Reader) Close() error {
	err := ErrClosed
	r.stopOnce.Do(func() {
		close(r.stop)
		r.mu.Lock()
		defer r.mu.Unlock()
		err = r.leave()
	})
	return err
}

// ready returns the next block if there is one, else nil.
func (r *Reader) ready() (*Block, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		select {
		case <-r.stop:
			return nil, ErrClosed
		case <-r.log.closing:
			return nil, ErrClosed
		default:
		}
		if r.seg == nil {
			if more, err := r.enter(); err != nil || !more {
				return nil, err
			}
			continue // retention may have been faster: then once more
		}
		b, more, err := r.step()
		if b != nil || err != nil || !more {
			return b, err
		}
	}
}

// enter opens the segment to read next; false means that there is none yet. If
// retention deletes that segment meanwhile, none is open afterwards.
func (r *Reader) enter() (bool, error) {
	segments := r.log.view()
	if r.past.known {
		s := segmentBehind(segments, r.past.number)
		return s != nil, r.open(s)
	}
	if len(segments) == 0 {
		return false, nil
	}
	i, err := r.log.search(segments, func(h *Header) bool { return h.FirstSeq > r.next })
	if err != nil {
		return true, r.vanished(err, segments[0])
	}
	return true, r.open(segments[i])
}

// segmentBehind returns the segment that holds the first block after number, or
// nil.
func segmentBehind(segments []*segment, number uint64) *segment {
	for _, s := range segments {
		if s.number > number {
			return s
		}
	}
	return nil
}

func (r *Reader) open(s *segment) error {
	if s == nil {
		return nil
	}
	file, err := os.Open(s.path)
	if err != nil {
		return r.vanished(err, s)
	}
	r.seg, r.file = s, file
	buf := r.scan.buf
	r.scan = r.log.newScanner(s, file, 0)
	r.scan.buf = buf[:0]
	return nil
}

// vanished turns the error of a segment file that retention has just deleted
// into none: the caller looks again.
func (r *Reader) vanished(err error, s *segment) error {
	if r.log.deleted(s, err) {
		return nil
	}
	return err
}

// leave closes the segment file.
func (r *Reader) leave() error {
	r.seg = nil
	if r.file == nil {
		return nil
	}
	file := r.file
	r.file = nil
	return file.Close()
}

// step reads on by one block. It returns the block if it is wanted, and false
// if nothing more is ready.
func (r *Reader) step() (*Block, bool, error) {
	size, sealed := r.log.extent(r.seg)
	r.scan.limit = size
	raw, b := r.log.recent.get(r.seg, r.scan.offset, size, &r.spare)
	if b != nil {
		r.scan.pass(&raw)
		return r.passed(&raw, b), true, nil
	}
	raw, damage, err := r.scan.next()
	if damage != nil {
		r.pass(damage)
	}
	if err == io.EOF {
		if !sealed {
			return nil, false, nil
		}
		more, err := r.turn()
		return nil, more, err
	}
	if err != nil {
		return nil, false, err
	}
	if raw.LastSeq() >= r.next {
		b, err = raw.decode(r.spare.take(raw.RawSize), &r.log.decoder, r.scan.name)
		var why damageError
		if errors.As(err, &why) {
			r.pass(raw.undecodable(r.scan.name, why))
			return nil, true, nil
		}
		if err != nil {
			return nil, false, fmt.Errorf("wal: decode %s at offset %d: %w", r.scan.name, raw.offset, err)
		}
	}
	return r.passed(&raw, b), true, nil
}

// passed takes note of a good block that the scan has gone by, and returns it,
// with the gaps before it, if it is wanted.
func (r *Reader) passed(raw *rawBlock, b *Block) *Block {
	if raw.LastSeq() < r.next {
		b = nil
	}
	if b != nil {
		b.Gaps, b.spare = r.gapsBefore(raw), &r.spare
		b.Header = r.log.dated(b.Header)
		r.next = raw.LastSeq() + 1
	}
	r.past.known, r.past.number, r.past.seq = true, raw.Number, raw.LastSeq()
	r.damage = nil
	return b
}

// turn goes on to the segment behind the one that has been read to its end;
// false means that there is none yet.
func (r *Reader) turn() (bool, error) {
	behind := segmentBehind(r.log.view(), r.seg.number)
	if behind == nil {
		return false, nil
	}
	if err := r.leave(); err != nil {
		return false, err
	}
	return true, r.open(behind)
}

// pass takes note of damage.
func (r *Reader) pass(d *Damage) {
	r.log.incidents.damaged(r.seg.path, d)
	if r.damage == nil {
		r.damage = d
	}
}

// gapsBefore names the seqs that are missing before a block.
func (r *Reader) gapsBefore(b *rawBlock) []Gap {
	first := r.next
	if r.past.known {
		first = r.past.seq + 1
	}
	if b.FirstSeq <= first {
		return nil
	}
	g := Gap{First: first, Last: b.FirstSeq - 1, Reason: ReasonRetention}
	nothingBefore := !r.past.known && r.damage == nil && b.Number > 1
	if !nothingBefore && g.Last > r.log.retainedSeq() {
		g.Reason, g.File, g.Offset = ReasonFloor, r.scan.name, b.offset
		g.blame(r.damage, r.past.number, b.Number)
		g = r.log.incidents.gap(g)
	}
	g.First = max(g.First, r.next)
	return []Gap{g}
}
