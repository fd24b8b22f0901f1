package dedupe

const (
	chunkEntries = 4096
	// marksPerWindow is how finely a window is divided: an entry may stay this
	// part of the window longer than it has to, never shorter.
	marksPerWindow = 16384
)

// queue holds digests in the order of their times, 8 bytes each, in chunks that
// are let go once they are empty. Times are kept once for a run of entries.
type queue struct {
	grain  int64 // nanoseconds that one mark may span
	count  int
	chunks []*[chunkEntries]uint64
	head   int // of the first entry in the first chunk
	marks  []mark
}

// mark is the time of a run of entries.
type mark struct {
	first, latest int64 // unix nanoseconds of its first and last entry
	entries       int
}

// push adds an entry. A time before that of the last entry counts as the same.
func (q *queue) push(digest uint64, at int64) {
	tail := q.head + q.count
	if tail == len(q.chunks)*chunkEntries {
		q.chunks = append(q.chunks, new([chunkEntries]uint64))
	}
	q.chunks[tail/chunkEntries][tail%chunkEntries] = digest
	q.count++
	if n := len(q.marks); n > 0 && at-q.marks[n-1].first <= q.grain {
		last := &q.marks[n-1]
		last.latest = max(last.latest, at)
		last.entries++
		return
	}
	q.marks = append(q.marks, mark{first: at, latest: at, entries: 1})
}

// latest is a time not before that of the first entry. The queue must not be empty.
func (q *queue) latest() int64 { return q.marks[0].latest }

// front is what the next n pops return, or the first part of it.
func (q *queue) front(n int) []uint64 {
	n = min(n, q.count, chunkEntries-q.head)
	if n <= 0 {
		return nil
	}
	return q.chunks[0][q.head : q.head+n]
}

// pop removes the first entry. The queue must not be empty.
func (q *queue) pop() uint64 {
	digest := q.chunks[0][q.head]
	q.head++
	q.count--
	if q.head == chunkEntries {
		q.chunks[0] = nil
		q.chunks = q.chunks[1:]
		q.head = 0
	}
	if q.marks[0].entries--; q.marks[0].entries == 0 {
		q.marks = q.marks[1:]
	}
	return digest
}

func (q *queue) bytes() int64 {
	return int64(len(q.chunks))*chunkEntries*8 + int64(cap(q.marks))*24
}
