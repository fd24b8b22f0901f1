package wal

import (
	"context"
	"io"
	"time"
)

// SeekTime returns the first seq whose commit time is t or later by the clock as
// it is set now (Header.Adjusted, which never runs backwards), or DurableSeq()+1 if there is none. It opens O(log n) segments and reads the
// headers of one.
func (l *Log) SeekTime(t time.Time) (uint64, error) {
	since := func(h *Header) bool { return !l.dated(*h).Adjusted.Before(t) }
	h, err := l.seek(since, since)
	if err != nil || h == nil {
		return l.nextSeq(), err
	}
	return h.FirstSeq, nil
}

// SeekAge returns the first seq whose block has at most an age, see Age, or
// DurableSeq()+1 if there is none. It costs as much as SeekTime.
func (l *Log) SeekAge(age time.Duration) (uint64, error) {
	since := func(h *Header) bool { return l.Age(*h) <= age }
	h, err := l.seek(since, since)
	if err != nil || h == nil {
		return l.nextSeq(), err
	}
	return h.FirstSeq, nil
}

// TimeOf returns the commit time, adjusted likewise, of the block that holds seq, or of the first
// one after it if that is lost or deleted, or the zero time if there is none.
// It costs as much as SeekTime: a reader would read a segment up to the block.
func (l *Log) TimeOf(seq uint64) (time.Time, error) {
	h, err := l.seek(func(h *Header) bool { return h.FirstSeq > seq }, func(h *Header) bool { return h.LastSeq() >= seq })
	if err != nil || h == nil {
		return time.Time{}, err
	}
	return l.dated(*h).Adjusted, nil
}

// seek returns the header of the first block that matches, or nil. after reports
// that a block lies behind the first match or is it; search uses it to halve.
func (l *Log) seek(after, matches func(*Header) bool) (*Header, error) {
	segments := l.view()
	if len(segments) == 0 {
		return nil, nil
	}
	i, err := l.search(segments, after)
	if err != nil {
		return nil, err
	}
	var match *Header
	for ; i < len(segments) && match == nil; i++ {
		err := l.eachHeader(context.Background(), segments[i], func(b *rawBlock) error {
			if !matches(&b.Header) {
				return nil
			}
			match = &b.Header
			return io.EOF
		})
		if err != nil && !l.deleted(segments[i], err) {
			return nil, err
		}
	}
	return match, nil
}
