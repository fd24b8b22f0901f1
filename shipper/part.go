package shipper

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"forebay/wal"
)

// partStride is how many seqs one batch of a replay may pass over. It keeps
// the saved position close behind where few events match, and commits rare.
const partStride = 100_000

// Filter selects events. An empty list selects all; an event has to be in
// each of the others.
type Filter struct {
	Projects []string `json:"projects,omitempty"`
	Sessions []string `json:"sessions,omitempty"`
	Types    []string `json:"types,omitempty"` // of event, such as click
}

// maxFilter bounds each list of a filter, maxFilterText each of its values.
const (
	maxFilter     = 100
	maxFilterText = 1024
)

// match returns what tells whether an event is selected; typeOf reads an
// event's type.
func (f Filter) match(typeOf func(raw []byte) string) func(*Event) bool {
	has := func(list []string, value string) bool { return len(list) == 0 || slices.Contains(list, value) }
	return func(e *Event) bool {
		return has(f.Projects, e.Project) && has(f.Sessions, e.Session) &&
			(len(f.Types) == 0 || slices.Contains(f.Types, typeOf(e.Raw)))
	}
}

// part is what of the log a replay delivers: its cursor ends behind it. A nil
// part is all of the log, without end.
type part struct {
	last  uint64 // durable when the replay began
	match func(*Event) bool
	pace  pace
}

// over tells whether nothing of the part is at seq next or beyond.
func (p *part) over(next uint64) bool { return p != nil && next > p.last }

// filter keeps what of a stretch of the log belongs to the part. What is not
// selected is gone from events, and counts as nothing.
func (p *part) filter(events []Event, lost []wal.Gap) ([]Event, []wal.Gap) {
	if p == nil {
		return events, lost
	}
	events = slices.DeleteFunc(events, func(e Event) bool { return e.Seq > p.last || !p.match(&e) })
	lost = slices.DeleteFunc(lost, func(g wal.Gap) bool { return g.First > p.last })
	for i := range lost {
		lost[i].Last = min(lost[i].Last, p.last)
	}
	return events, lost
}

// closePart ends the batch that take has filled with all that was read. It is
// full at the end of the part, and when it has come far without finding much.
func (f *Feed) closePart(b *Batch) (full bool) {
	if read := min(f.end-1, f.part.last); read >= b.First {
		b.Last = read
	}
	return b.Last >= f.part.last || b.Last >= b.First+partStride
}

// nextBlock is the next block of the log for the feed, nil at the end of its
// part. All of a part is in the log: it waits for nothing.
func (f *Feed) nextBlock(ctx context.Context) (*wal.Block, error) {
	if f.part == nil {
		return f.reader.Next(ctx)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	block, err := f.reader.Next(onlyReady())
	if errors.Is(err, context.Canceled) {
		return nil, nil
	}
	return block, err
}

// pace spaces batches so that no more than so many events go out a second,
// one batch ahead.
type pace struct {
	perSecond int // 0: no limit

	mu   sync.Mutex
	next time.Time // when the next batch may go
}

// wait returns once a batch may go out, or ctx's error.
func (p *pace) wait(ctx context.Context) error {
	p.mu.Lock()
	d := time.Until(p.next)
	p.mu.Unlock()
	if d <= 0 {
		return nil
	}
	return Sleep(ctx, d)
}

// spend notes that n events go out now.
func (p *pace) spend(n int) {
	if p.perSecond == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); p.next.Before(now) {
		p.next = now
	}
	p.next = p.next.Add(time.Duration(n) * time.Second / time.Duration(p.perSecond))
}
