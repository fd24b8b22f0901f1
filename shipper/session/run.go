package session

import (
	"context"
	"sync"
	"time"

	"forebay/shipper"
	"forebay/shipper/session/header"
	"forebay/wal"
)

const (
	saveEvery     = 100 * time.Millisecond // between saves of position and marks
	grace         = 2 * time.Second        // for requests in flight when the cursor stops
	maxLetters    = 100                    // events buried by one commit
	refusedInARow = 20                     // events, each alone; more is no longer bad data
	refusedOf     = 10                     // sessions, if they are of so many
)

// run is one call of Ship. All fields but the channels belong to the
// goroutine of loop, which alone decides; the others only carry:
//
//	reader ──batches──▶ ┌──────┐ ──jobs────▶ workers (one for each lane)
//	                    │ loop │ ◀─results──
//	                    └──────┘ ──commits─▶ keeper (one commit at a time)
//	                             ◀committed─
type run struct {
	sink *Sink
	o    Options
	feed *shipper.Feed

	batches   chan batch
	jobs      chan job
	results   chan result
	commits   chan commit
	committed chan error
	requests  context.Context // of all requests; ends with the grace
	hangUp    context.CancelFunc

	lanes   map[laneKey]*lane
	byFirst byFirst
	ready   fifo
	waiting byDue
	burying []*lane
	parked  map[*lane]struct{}
	unsure  bool // operators may have been told of a failure that is over
	held    int64
	queued  int       // events in the lanes
	missing []wal.Gap // of the log, at or above the low watermark
	next    uint64    // first seq not read
	left    uint64    // first letter of a fill that is left for later; 0: there is none
	eof     bool

	inFlight int
	retrying int // of these, of parked sessions
	breaker  breaker
	refused  map[header.SessionID]struct{} // sessions with an event refused alone, with no success in between
	alone    int                           // events of them
	passed   time.Time                     // when a request was taken last
	marks    *marks
	gaps     *gaps
	troubles *troubles

	position   uint64 // in the state
	reach      reach  // how far sending may go, and what is a replay
	saved      reach  // in the state
	before     uint64 // reach.Sent as it was loaded
	committing *commit
	touched    time.Time // of the first change not saved; zero: all is
	stopped    time.Time // when it was told to end
	end        error     // why
	finalSaved bool
}

// batch is what the reader hands over: a batch of the feed, sorted, or the
// error that ends it.
type batch struct {
	last      uint64 // seq
	stretches []stretch
	lost      []wal.Gap
	err       error
}

// job is one request to be sent, result what became of it.
type job struct {
	lane    *lane
	request request
	retry   bool
}

type result struct {
	job
	answer answer
}

// commit is one durable step.
type commit struct {
	letters []shipper.DeadLetter
	writes  []shipper.Write
	advance uint64
	lanes   []*lane // whose events the letters are
	reach   *reach  // among the writes
}

func newRun(s *Sink, feed *shipper.Feed) (*run, error) {
	s.setAside.Store(false) // an order is for those that are parked when it is given
	r := &run{
		sink: s, o: s.opts, feed: feed,
		batches: make(chan batch), jobs: make(chan job, s.opts.Lanes), results: make(chan result, s.opts.Lanes),
		commits: make(chan commit, 1), committed: make(chan error, 1),
		lanes: map[laneKey]*lane{}, parked: map[*lane]struct{}{}, breaker: newBreaker(s.opts.Lanes, time.Now()),
		refused: map[header.SessionID]struct{}{},
		marks:   newMarks(feed.Epoch()), gaps: newGaps(feed), troubles: newTroubles(),
		unsure: true, next: feed.Start(), position: feed.Start(),
	}
	return r, r.load()
}

// load reads what the last call of Ship saved.
func (r *run) load() error {
	if err := r.loadReach(); err != nil {
		return err
	}
	if err := r.feed.Load(gapPrefix, r.gaps.load); err != nil {
		return err
	}
	if err := r.feed.Load(lostKey, func(_ string, value []byte) error { return r.gaps.loadLost(value) }); err != nil {
		return err
	}
	err := r.feed.Load(asidePrefix, func(key string, value []byte) error {
		return r.troubles.load(asidePrefix, key, value)
	})
	if err != nil {
		return err
	}
	if err := r.feed.Load(markPrefix, r.marks.load); err != nil {
		return err
	}
	r.touch(time.Now()) // saves what loading changed
	if r.feed.Fill() {
		r.next, r.position = 0, 0
		return nil
	}
	return r.feed.Load(parkedPrefix, func(key string, value []byte) error {
		return r.troubles.load(parkedPrefix, key, value)
	})
}

// ship runs until the feed ends, ctx ends, or only an operator can help.
func (r *run) ship(ctx context.Context) error {
	var carriers sync.WaitGroup
	reading, stopReading := context.WithCancel(ctx)
	r.requests, r.hangUp = context.WithCancel(context.WithoutCancel(ctx))
	carriers.Go(func() { r.read(reading) })
	carriers.Go(r.keep)
	for range r.o.Lanes {
		carriers.Go(r.work)
	}
	err := r.loop(ctx)
	stopReading()
	r.hangUp()
	close(r.jobs)
	close(r.commits)
	carriers.Wait()
	r.publish(time.Now())
	return err
}

func (r *run) read(ctx context.Context) {
	r.feed.Detach()
	for {
		var next batch
		b, err := r.feed.Next(ctx)
		if next.err = err; err == nil {
			next.last, next.stretches, next.lost = b.Last, newStretches(b), b.Lost
			r.feed.Reuse(b)
		}
		select {
		case r.batches <- next:
		case <-ctx.Done():
			return
		}
		if next.err != nil {
			return
		}
	}
}

func (r *run) work() {
	for j := range r.jobs {
		r.results <- result{j, r.sink.client.post(r.requests, j.request)}
	}
}

func (r *run) keep() {
	for c := range r.commits {
		switch {
		case len(c.letters) > 0:
			r.committed <- r.feed.Bury(c.letters, c.writes...)
		case c.advance > 0:
			r.committed <- r.feed.Advance(c.advance, c.writes...)
		default:
			r.committed <- r.feed.Save(c.writes...)
		}
	}
}

// loop decides until there is nothing left to decide.
func (r *run) loop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var armed time.Time
	ended := ctx.Done()
	for {
		now := time.Now()
		r.obey()
		r.dispatch(now)
		r.commit(now)
		if r.finished() {
			return r.end
		}
		// A timer that goes off too early costs less than setting it each time.
		if next := r.wake(now); next.Before(armed) || !armed.After(now) {
			armed = next
			timer.Reset(next.Sub(now))
		}
		var batches chan batch
		if r.room() {
			batches = r.batches
		}
		select {
		case b := <-batches:
			r.take(b, time.Now())
		case done := <-r.results:
			r.finish(done, time.Now())
			for range len(r.results) {
				r.finish(<-r.results, time.Now())
			}
		case err := <-r.committed:
			r.settle(err, time.Now())
		case <-timer.C:
		case <-r.sink.wake:
		case <-ended:
			ended = nil
			r.stop(ctx.Err())
		}
	}
}

// stop ends the run once requests in flight have ended, or are ended.
func (r *run) stop(err error) {
	if r.end == nil {
		r.end, r.stopped = err, time.Now()
	}
}

// finished says whether nothing is left to be done.
func (r *run) finished() bool {
	if r.inFlight > 0 || r.committing != nil {
		return false
	}
	if r.end != nil {
		return r.finalSaved
	}
	return r.eof && len(r.lanes) == 0 && r.touched.IsZero()
}

// room says whether more events may be read.
func (r *run) room() bool {
	return r.end == nil && !r.eof && r.held < r.o.MaxHeldBytes && len(r.parked) < r.o.MaxParked &&
		len(r.marks.bySess) < maxMarks
}

// wake is until when nothing is to be done unless something happens.
func (r *run) wake(now time.Time) time.Time {
	next := now.Add(time.Hour)
	sooner := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	if !r.touched.IsZero() && r.committing == nil {
		sooner(r.touched.Add(saveEvery))
	}
	switch {
	case r.end != nil:
		if r.requests.Err() == nil {
			sooner(r.stopped.Add(grace))
		}
	case r.breaker.stuck(r.inFlight):
		sooner(r.breaker.grown.Add(growEvery))
	case r.inFlight < max(1, r.breaker.allowed(now)):
		if r.breaker.open && now.Before(r.breaker.until) {
			sooner(r.breaker.until)
		} else if len(r.waiting) > 0 && r.waiting[0].due.After(now) {
			sooner(r.waiting[0].due)
		}
	}
	return next
}

// low is the low watermark: all below it is done.
func (r *run) low() uint64 {
	low := r.next
	if len(r.byFirst) > 0 {
		low = r.byFirst[0].seq
	}
	if r.left > 0 {
		low = min(low, r.left)
	}
	return low
}

func (r *run) touch(now time.Time) {
	if r.touched.IsZero() {
		r.touched = now
	}
}
