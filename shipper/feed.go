package shipper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"forebay/wal"
	"forebay/wal/record"
)

// Feed is a sink's view of the log during one call of Ship: events in log
// order from the cursor's position on, and the means to say how far it came.
// Detach, Next and Reuse are for one goroutine; all else may be called from any.
type Feed struct {
	cursor    *Cursor
	flush     Flush
	start     uint64
	epoch     uint64
	repeatsTo uint64
	fill      bool    // yields requeued dead letters instead of the log, or
	refill    *refill // events that the destination lacks; nil: no
	part      *part   // yields no more than this of the log; nil: all

	reader     *wal.Reader
	batch      *Batch       // being collected; kept when that is interrupted
	queue      []Event      // read from the log, not handed out
	lost       []wal.Gap    // likewise, in order, all before or between the queue's events
	next       uint64       // first seq not handed out
	end        uint64       // first seq not read
	left       int          // batches still to hand out; negative: no limit
	record     record.Batch // what is being read, kept for its memory
	read       []Event      // memory of queue
	spare      []Event      // memory for the next batch, see Reuse
	before     int          // events in the batch before
	detach     bool         // see Detach
	unreadable error        // a block of a newer release, which the reader has passed
	held       bool         // a block was read whose time is doubted

	mu       sync.Mutex
	advanced uint64    // all below was advanced over
	events   []Range   // seqs of events that were handed out or read again, and not advanced over
	handed   []wal.Gap // lost seqs, likewise
	seen     []Range   // both, and what a replay leaves out between them
	// letters of a fill that were handed out, and when each was buried: one
	// that is requeued or buried anew meanwhile is another.
	letters map[uint64]time.Time
}

// newFeed yields the log. It is called with c.mu held.
func newFeed(c *Cursor, p position, limit int) *Feed {
	return &Feed{
		cursor: c, flush: c.flush, start: p.Next, epoch: p.Epoch, repeatsTo: p.RepeatsTo, part: c.part,
		reader: c.log.NewReader(p.Next), next: p.Next, end: p.Next, left: limit,
	}
}

// newFillFeed yields the requeued dead letters instead of the log. It is called
// with c.mu held.
func newFillFeed(c *Cursor, p position) *Feed {
	return &Feed{cursor: c, flush: c.flush, start: p.Next, epoch: p.Epoch, fill: true, left: -1, letters: map[uint64]time.Time{}}
}

// ends tells whether the feed has an end that its sink can reach.
func (f *Feed) ends() bool { return f.fill || f.left >= 0 || f.part != nil }

func (f *Feed) close() error {
	if f.reader == nil {
		return nil
	}
	return f.reader.Close()
}

// Fill is true when the feed yields dead letters that an operator requeued, or
// events that an audit missed at the destination: events out of the order of
// the log, ascending among themselves. Advance then says that those below next
// are delivered, and moves no position.
func (f *Feed) Fill() bool { return f.fill }

// Start is the cursor's position: the first seq that the log's feed yields. A
// letter of a fill that is not below it comes in the log's feed as well, unless
// it is foreign.
func (f *Feed) Start() uint64 { return f.start }

// Epoch is the cursor's epoch; it does not change within a feed. A sink's
// saved state of another epoch is from before a rewind.
func (f *Feed) Epoch() uint64 { return f.epoch }

// RepeatsTo is the highest seq that was delivered before a rewind, 0 if none:
// events up to it are repeats on purpose.
func (f *Feed) RepeatsTo() uint64 { return f.repeatsTo }

// MaxRows is how many events a batch may have by the configuration as it is
// now: a plan may be from before that was changed.
func (f *Feed) MaxRows() int {
	if f.refill != nil {
		return f.flush.Rows
	}
	f.cursor.mu.Lock()
	defer f.cursor.mu.Unlock()
	return f.cursor.flush.Rows
}

// Cursor is the cursor's name. A feed that heals what an audit missed has a
// name of its own, never used before.
func (f *Feed) Cursor() string {
	if f.refill != nil {
		return f.refill.name
	}
	return f.cursor.name
}

// Detach copies the Raw of the events that Next returns out of their blocks,
// so that an event that waits long keeps only itself in memory, and those of its
// session beside it in the log, not up to a block of 4 MiB. It is to be called
// before Next.
func (f *Feed) Detach() { f.detach = true }

// Next returns the following stretch of the log, closed by the cursor's Flush
// limits. At the end of the log it waits. A batch may hold no events, only
// Lost ones: it is to be advanced over like any other. It returns ctx.Err()
// when ctx ends and io.EOF when the cursor wants no more from this feed; what
// was collected but not returned is not lost, the next call goes on with it.
func (f *Feed) Next(ctx context.Context) (*Batch, error) {
	if f.left == 0 {
		return nil, io.EOF
	}
	if f.refill != nil {
		return f.refill.next(ctx, f.flush)
	}
	if f.fill {
		return f.nextLetters()
	}
	if f.part != nil {
		if f.part.over(f.next) {
			return nil, io.EOF
		}
		if err := f.part.pace.wait(ctx); err != nil {
			return nil, err
		}
	}
	b, err := f.collect(ctx)
	if err != nil {
		return nil, err
	}
	if f.part != nil {
		f.part.pace.spend(len(b.Events))
	}
	f.next = b.Last + 1
	if f.left > 0 {
		f.left--
	}
	f.note(b)
	return b, nil
}

// note remembers the seqs that the sink has been told of, each by itself: what
// becomes of them is counted when the sink has advanced over them.
func (f *Feed) note(b *Batch) {
	var runs []Range
	for i := range b.Events {
		seq := b.Events[i].Seq
		if n := len(runs); n > 0 && runs[n-1].Last+1 == seq {
			runs[n-1].Last = seq
		} else {
			runs = append(runs, Range{seq, seq})
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = union(f.events, runs)
	f.handed = append(f.handed, b.Lost...)
	f.seen = insertRange(f.seen, Range{b.First, b.Last})
}

// collect waits for the first event, and then for more until the batch is
// full or old enough.
func (f *Feed) collect(ctx context.Context) (*Batch, error) {
	if f.batch == nil {
		f.flush = f.cursor.Flush() // it may have changed since the last batch
		f.batch = &Batch{First: f.next, Events: f.spare}
		f.spare = nil
	}
	b := f.batch
	full := f.take(b)
	for b.Last == 0 {
		if err := f.readBlock(ctx); err != nil {
			return nil, err
		}
		full = f.take(b)
	}
	aging, cancel := context.WithTimeout(ctx, f.flush.Age)
	defer cancel()
	for !full {
		err := f.readBlock(aging)
		if ctx.Err() != nil && err != nil {
			return nil, err
		}
		if err != nil {
			break // old enough, or the next call meets the error again
		}
		full = f.take(b)
	}
	f.batch, f.before = nil, len(b.Events)
	return b, nil
}

// Reuse gives back a batch that Next has returned, so that the memory of its
// Events serves the next one. Neither the slice nor anything in it may be used
// afterwards, save Raw and strings that were taken out of it. It is for the
// goroutine of Next; a batch that is not given back is left to the collector.
func (f *Feed) Reuse(b *Batch) {
	clear(b.Events)
	if cap(b.Events) <= 2*len(b.Events)+1024 { // else it is from a backlog that is over
		f.spare = b.Events[:0]
	}
	b.Events = nil
}

// take moves what has been read into b and says whether b is full.
func (f *Feed) take(b *Batch) (full bool) {
	for len(f.queue) > 0 || len(f.lost) > 0 {
		if len(f.lost) > 0 && (len(f.queue) == 0 || f.lost[0].First < f.queue[0].Seq) {
			b.Lost = append(b.Lost, f.lost[0])
			b.Last = f.lost[0].Last
			f.lost = f.lost[1:]
			continue
		}
		n := f.fitting(b)
		if n == 0 {
			return true
		}
		if len(b.Events) == 0 { // as many as came together the last time
			b.Events = slices.Grow(b.Events, max(n, min(f.before, f.flush.Rows)))
		}
		b.Events = append(b.Events, f.queue[:n]...)
		clear(f.queue[:n]) // lets go of the block
		f.queue = f.queue[n:]
		b.Last = b.Events[len(b.Events)-1].Seq
		if len(b.Events) >= f.flush.Rows {
			return true
		}
	}
	if f.part != nil && f.closePart(b) {
		return true
	}
	return b.Bytes >= f.flush.Bytes
}

// fitting is how many events of the queue, before the next lost seq, go into
// b, and adds their bytes to it.
func (f *Feed) fitting(b *Batch) int {
	most := min(len(f.queue), f.flush.Rows-len(b.Events))
	for n := range most {
		e := &f.queue[n]
		size := int64(len(e.Raw))
		if len(b.Events)+n > 0 && b.Bytes+size > f.flush.Bytes || len(f.lost) > 0 && f.lost[0].First < e.Seq {
			return n
		}
		b.Bytes += size
	}
	return most
}

// readBlock reads the next block of the log into the queue, which is empty.
func (f *Feed) readBlock(ctx context.Context) error {
	if f.unreadable != nil {
		return f.unreadable
	}
	if f.held {
		return f.heldBack(f.end)
	}
	block, err := f.nextBlock(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("read the log at seq %d: %w", f.end, err)
	}
	if block == nil { // seqs that the log stepped over, and nothing behind them
		f.lost = append(f.lost, wal.Gap{First: f.end, Last: f.part.last, Reason: wal.ReasonFloor})
		f.end = f.part.last + 1
		return nil
	}
	if block.Doubted && f.cursor.dated() {
		f.held = true
		return f.heldBack(block.FirstSeq)
	}
	events, lost, err := unpack(block, &f.record, f.end, f.read, f.lost)
	if err != nil {
		f.unreadable = err // the reader has passed the block
		return err
	}
	f.queue, f.lost = f.part.filter(events, lost)
	f.read = f.queue[:0]
	f.end = block.FirstSeq + uint64(block.Events)
	if f.detach {
		detach(f.queue)
		block.Release()
	}
	return nil
}

// Read returns exactly the events of first..last again, for a plan that has
// to be repeated or checked. The range must have been handed out before, by
// this feed or one before it; what has been damaged since is in Lost.
func (f *Feed) Read(ctx context.Context, first, last uint64) (*Batch, error) {
	if f.refill != nil {
		return f.refill.read(ctx, f.cursor.log, first, last)
	}
	if f.fill {
		return f.readLetters(first, last)
	}
	b, err := f.readRange(ctx, first, last)
	if err != nil {
		return nil, fmt.Errorf("read seqs %d to %d again: %w", first, last, err)
	}
	f.note(b)
	return b, nil
}

// readRange reads a stretch of the log again, and keeps what the feed's part
// selects.
func (f *Feed) readRange(ctx context.Context, first, last uint64) (*Batch, error) {
	b, err := readRange(ctx, f.cursor.log, first, last)
	if err != nil || f.part == nil {
		return b, err
	}
	b.Events, b.Lost = f.part.filter(b.Events, b.Lost)
	b.Bytes = 0
	for i := range b.Events {
		b.Bytes += int64(len(b.Events[i].Raw))
	}
	return b, nil
}

// readSkipped looks at what a sink advances over although it has not taken it
// from this feed, since it found that it had been delivered before.
func (f *Feed) readSkipped(next uint64) error {
	if next <= f.start || next > f.cursor.log.DurableSeq()+1 {
		return nil
	}
	f.mu.Lock()
	known := f.seen
	from := max(f.start, f.advanced)
	f.mu.Unlock()
	if next <= from {
		return nil
	}
	for _, r := range without([]Range{{from, next - 1}}, known) {
		b, err := f.readRange(onlyReady(), r.First, r.Last)
		if err != nil {
			return fmt.Errorf("read seqs %d to %d, which are delivered: %w", r.First, r.Last, err)
		}
		f.note(b)
	}
	return nil
}

func readRange(ctx context.Context, log Log, first, last uint64) (_ *Batch, err error) {
	if first > last || last > log.DurableSeq() {
		return nil, fmt.Errorf("no such range (the log's last seq is %d)", log.DurableSeq())
	}
	r := log.NewReader(first)
	defer func() { err = errors.Join(err, r.Close()) }()
	b := &Batch{First: first, Last: last}
	var batch record.Batch
	for at := first; at <= last; {
		block, err := r.Next(ctx)
		if err != nil {
			return nil, err
		}
		events, lost, err := unpack(block, &batch, at, nil, nil)
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			if e.Seq <= last {
				b.Events = append(b.Events, e)
				b.Bytes += int64(len(e.Raw))
			}
		}
		for _, g := range lost {
			if g.First <= last {
				g.Last = min(g.Last, last)
				b.Lost = append(b.Lost, g)
			}
		}
		at = block.FirstSeq + uint64(block.Events)
	}
	return b, nil
}

// Plan is the plan that was saved and not yet advanced over, nil if none.
func (f *Feed) Plan() *Plan {
	if f.refill != nil {
		return f.refill.currentPlan()
	}
	return f.cursor.plan(f.fill)
}

// SavePlan makes p durable; it replaces the plan before it. In a feed that heals
// what an audit missed it is kept in memory: the next audit asks anew.
func (f *Feed) SavePlan(p Plan) error {
	p.Epoch = f.epoch
	if p.At.IsZero() {
		p.At = time.Now().UTC()
	}
	if f.refill != nil {
		f.refill.savePlan(p)
		return nil
	}
	return f.cursor.savePlan(p, f.fill)
}

// Advance says that every event below next is done: delivered, buried or
// lost. The position, the sink's writes (keys relative, as in Save) and the
// end of the plan are one durable step. A next at or below the position only
// saves the writes. A feed that heals drops them, as it has no state.
func (f *Feed) Advance(next uint64, writes ...Write) error {
	if f.refill != nil {
		f.refill.advance()
		return nil
	}
	if f.fill {
		return f.advanceLetters(next, writes)
	}
	if err := f.readSkipped(next); err != nil {
		return err
	}
	if err := f.cursor.advance(f.epoch, next, f.passed(next), writes); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.advanced = max(f.advanced, next)
	f.events, f.seen = rangesFrom(f.events, next), rangesFrom(f.seen, next)
	f.handed = slices.DeleteFunc(f.handed, func(g wal.Gap) bool { return g.Last < next })
	return nil
}

// passed is the seqs below next, apart by what they are. An event that was
// handed out, and was gone when it was to be read again, is no event any more.
func (f *Feed) passed(next uint64) passed {
	f.mu.Lock()
	defer f.mu.Unlock()
	var over passed
	var gone []Range
	for _, g := range f.handed {
		r := Range{g.First, min(g.Last, next-1)}
		switch {
		case g.First >= next:
			continue
		case g.Reason == wal.ReasonRetention:
			over.expired = append(over.expired, r)
		default:
			over.lost = append(over.lost, r)
		}
		gone = insertRange(gone, r)
	}
	over.events = without(rangesBelow(f.events, next), gone)
	return over
}

// Save makes the sink's own small state durable: marks, parked lists. Keys
// are relative to the cursor.
func (f *Feed) Save(writes ...Write) error { return f.cursor.saveLane(writes) }

// Load calls fn for what Save and Advance kept under prefix, ascending by
// key; keys are relative as they were given.
func (f *Feed) Load(prefix string, fn func(key string, value []byte) error) error {
	return f.cursor.loadLane(prefix, fn)
}

// Report tells operators that delivery fails (err) or works again (nil).
func (f *Feed) Report(err error) {
	if f.refill != nil {
		f.refill.report(err)
		return
	}
	f.cursor.report(err)
}

// Bury keeps events that can never be delivered, and the sink's writes
// (relative keys) in the same durable step; a feed that heals names the events
// and drops the writes. The position is not moved. It returns a *PauseError, to be passed on by Ship, when there is no more room
// for dead letters or when so much is refused that something else is wrong.
func (f *Feed) Bury(letters []DeadLetter, writes ...Write) error {
	if f.refill != nil {
		f.refill.bury(letters)
		return nil
	}
	return f.cursor.bury(letters, writes, f.fill)
}
