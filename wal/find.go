package wal

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
)

// maxFindWorkers bounds how many segments Find reads at a time.
const maxFindWorkers = 4

// found is a block whose header matched.
type found struct {
	Header
	segment *segment
	offset  int64
}

// Find calls fn with the blocks that match by their header and digests, the
// newest first. It looks at the headers of the whole log, several segments at a
// time, and reads and decodes only the blocks that match, at most limit of
// them. match is called from several goroutines; the digests are valid during
// the call. Blocks that match and whose payload is damaged are returned by
// their seqs. Find ends early with fn's error or ctx's.
func (l *Log) Find(ctx context.Context, limit int, match func(Header, []uint64) bool, fn func(*Block) error) (damaged []Gap, err error) {
	segments := l.view()
	hits := make([][]found, len(segments))
	failures := make([]error, len(segments))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(maxFindWorkers, runtime.GOMAXPROCS(0), len(segments)) {
		workers.Go(func() {
			for {
				i := len(segments) - int(next.Add(1))
				if i < 0 {
					return
				}
				hits[i], failures[i] = l.findIn(ctx, segments[i], match)
			}
		})
	}
	workers.Wait()
	for i := len(segments) - 1; i >= 0; i-- {
		err := failures[i]
		for n := len(hits[i]) - 1; n >= 0 && err == nil; n-- {
			if limit--; limit < 0 {
				return damaged, nil
			}
			hit := hits[i][n]
			err = l.readFound(hit, fn)
			if why := damageError(""); errors.As(err, &why) {
				damaged = append(damaged, Gap{First: hit.FirstSeq, Last: hit.LastSeq(), Reason: string(why), File: hit.segment.name(), Offset: hit.offset})
				err = nil
			}
		}
		if l.deleted(segments[i], err) {
			continue
		}
		if err != nil {
			return damaged, err
		}
	}
	return damaged, nil
}

// findIn looks through the headers of one segment.
func (l *Log) findIn(ctx context.Context, s *segment, match func(Header, []uint64) bool) (hits []found, err error) {
	var digests []uint64
	end := l.DurableSeq()
	err = l.eachHeader(ctx, s, func(b *rawBlock) error {
		if b.FirstSeq > end {
			return io.EOF
		}
		digests = parseDigests(digests, &b.Header, b.head)
		if match(l.dated(b.Header), digests) {
			hits = append(hits, found{b.Header, s, b.offset})
		}
		return nil
	})
	return hits, err
}

// readFound reads one block and hands it to fn.
func (l *Log) readFound(f found, fn func(*Block) error) error {
	size, _ := l.extent(f.segment)
	file, err := os.Open(f.segment.path)
	if err != nil {
		return err
	}
	defer file.Close()
	scan := l.newScanner(f.segment, file, size)
	raw, err := scan.blockAt(f.offset)
	if err != nil {
		return err
	}
	b, err := raw.decode(nil, &l.decoder, scan.name)
	if err != nil {
		return err
	}
	b.Header = l.dated(b.Header)
	return fn(b)
}
