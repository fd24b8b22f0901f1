package wal

import (
	"context"
	"io"
	"os"
)

// headerReadSize is how much is read at a time when payloads are passed over.
const headerReadSize = 8 << 10

// Digests calls fn with the header and the digests of each block from the one
// that holds the seq from, up to the durable end at the time of the call, in
// order. It reads headers alone and passes over payloads, so it does not tell
// whether a payload is damaged; blocks whose header is damaged are left out.
// The digests belong to fn. It ends early with fn's error or ctx's.
func (l *Log) Digests(ctx context.Context, from uint64, fn func(Header, []uint64) error) error {
	segments := l.view()
	end := l.DurableSeq()
	i, err := l.search(segments, func(h *Header) bool { return h.FirstSeq > from })
	if err != nil {
		return err
	}
	for _, s := range segments[i:] {
		err := l.segmentDigests(ctx, s, from, end, fn)
		if l.deleted(s, err) {
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) segmentDigests(ctx context.Context, s *segment, from, end uint64, fn func(Header, []uint64) error) error {
	return l.eachHeader(ctx, s, func(b *rawBlock) error {
		switch {
		case b.FirstSeq > end:
			return io.EOF
		case b.LastSeq() < from:
			return nil
		}
		return fn(l.dated(b.Header), parseDigests(nil, &b.Header, b.head))
	})
}

// eachHeader calls fn for the blocks of a segment in order, with their headers
// alone. It ends with fn's error; io.EOF is none.
func (l *Log) eachHeader(ctx context.Context, s *segment, fn func(*rawBlock) error) error {
	size, _ := l.extent(s)
	if size == 0 {
		return nil
	}
	file, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer file.Close()
	scan := l.newScanner(s, file, size)
	scan.headers, scan.ahead = true, headerReadSize
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, _, err := scan.next()
		if err == nil {
			err = fn(&b)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
