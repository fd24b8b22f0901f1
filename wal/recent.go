package wal

import "sync"

const (
	// recentBlocks is how many of the newest blocks are kept in memory. A reader at
	// the tail is seldom further behind.
	recentBlocks = 4
	// maxRecentBlock is the largest payload that is kept. So all of them take 4 MiB,
	// and 2 MiB at most for their digests; slices that grew may be a quarter larger.
	maxRecentBlock = 1 << 20
)

// recent keeps the newest durable blocks as they were appended, so that readers
// at the tail need not check and decompress what this process has just
// compressed: with 64 appenders a reader took a tenth of the process's processor
// time for that, and takes a thirtieth now. Only a block's content comes from
// here. Where it lies, what precedes it and whether it may be seen are the
// reader's to know, as for blocks that it takes from the file.
type recent struct {
	mu     sync.RWMutex
	blocks [recentBlocks]recentBlock // a ring
	oldest int
}

type recentBlock struct {
	rawBlock
	segment uint64 // number of its file; 0: there is no block
	payload []byte
	digests []uint64
}

// keep holds the block that has become durable with its length prefix at offset
// of a segment file. It takes the group's buffers and leaves it others. While a
// reader is copying it keeps nothing rather than have the committer wait: who
// needs the block finds it in the file.
func (r *recent) keep(segment uint64, offset int64, h *Header, g *group) {
	if len(g.payload) > maxRecentBlock || !r.mu.TryLock() {
		return
	}
	defer r.mu.Unlock()
	start := offset + int64(uvarintLen(uint64(h.Size())))
	b := &r.blocks[r.oldest]
	r.oldest = (r.oldest + 1) % recentBlocks
	b.segment = segment
	b.rawBlock = rawBlock{Header: *h, prefix: offset, offset: start, end: start + int64(h.Size())}
	b.digests, g.digests = g.digests, b.digests[:0]
	if cap(g.payload) > maxRecentBlock { // it has held a larger group
		b.payload = append(b.payload[:0], g.payload...)
		return
	}
	b.payload, g.payload = g.payload, b.payload[:0]
}

// get returns the block whose length prefix is at offset of a segment file, if it
// is held and ends at the limit or before. The Block owns its memory, which may
// come from spare.
func (r *recent) get(s *segment, offset, limit int64, spare *spareBuffer) (rawBlock, *Block) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for i := range r.blocks {
		b := &r.blocks[i]
		if b.segment != s.number || b.prefix != offset || b.end > limit {
			continue
		}
		return b.rawBlock, &Block{
			Header:  b.Header,
			Digests: append([]uint64(nil), b.digests...),
			File:    s.name(),
			Offset:  b.offset,
			payload: append(spare.take(len(b.payload))[:0], b.payload...),
		}
	}
	return rawBlock{}, nil
}
