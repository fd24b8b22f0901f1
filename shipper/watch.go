package shipper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// watchKey is where an operator's wish for a watch is kept, and provenKey how
// far the watch of a cursor came.
const watchKey = "proof/watch"

func provenKey(cursor string) string { return "proof/watch/" + cursor }

// watchRests is how many times as long as a question took the watch rests
// after it: it asks for a tenth of the time at most.
const watchRests = 9

// watchPass is within what time the second look comes by all that the log keeps,
// unless that would take more than its share of the time.
const watchPass = 30 * time.Minute

// The bounds of the time between two rounds of the watch.
const (
	LeastWatch = time.Second
	MostWatch  = 24 * time.Hour
)

// Watched is how far the watch of one cursor came: at ProvenAt all events of
// From..ProvenSeq were at the destination, or counted as what they are instead.
type Watched struct {
	Cursor    string    `json:"cursor"`
	Since     time.Time `json:"since"` // when the watch began
	From      uint64    `json:"from"`  // where
	Next      uint64    `json:"next"`  // all before were compared
	ProvenSeq uint64    `json:"proven_seq"`
	ProvenAt  time.Time `json:"proven_at,omitzero"`
	Missing   uint64    `json:"missing"`
	Holes     []Range   `json:"holes,omitempty"` // the missing
	Behind    []Behind  `json:"behind,omitempty"`
	Doubles   uint64    `json:"doubles"`
	Double    []Range   `json:"double,omitempty"`
	Again     uint64    `json:"again,omitempty"` // where the slow second look at older events is
	Top       uint64    `json:"top,omitempty"`   // the furthest that Next has been: what is beyond was delivered since ProvenAt

	NotOffered bool      `json:"not_offered,omitempty"` // the destination does not tell what it has
	Error      string    `json:"error,omitempty"`       // why the last round did not end
	Begun      time.Time `json:"-"`                     // since when this process watches
}

// Unproven is since when nothing was proven.
func (w Watched) Unproven() time.Time {
	if w.ProvenAt.After(w.Begun) {
		return w.ProvenAt
	}
	return w.Begun
}

// watch is what Audits know of it.
type watch struct {
	mu      sync.Mutex
	asked   time.Duration // by an operator; 0: not
	changed chan struct{} // closed when it is switched
	turn    int           // counts the switches: a round of before them counts for nothing
	cursors []*Cursor     // whose destinations can be audited
	proven  map[string]Watched
}

func (a *Audits) loadWatch() error {
	w := &a.watch
	w.changed, w.proven = make(chan struct{}), map[string]Watched{}
	state := a.opts.Cursors.opts.State
	saved, err := state.Get(watchKey)
	if err != nil {
		return fmt.Errorf("read whether there is a watch: %w", err)
	}
	if saved != nil {
		if err := json.Unmarshal(saved, &w.asked); err != nil {
			a.opts.Cursors.unreadable.note(watchKey, err)
			w.asked = 0
		}
	}
	for _, c := range a.opts.Cursors.All() {
		d, err := a.opts.Open(c.name)
		if err != nil {
			if !errors.Is(err, ErrRefused) {
				a.opts.Logger.Warn("what a cursor has delivered cannot be watched", "cursor", c.name, "err", err)
			}
			continue
		}
		d.close()
		w.cursors = append(w.cursors, c)
		saved, err := state.Get(provenKey(c.name))
		if err != nil {
			return fmt.Errorf("read how far the watch of cursor %s came: %w", c.name, err)
		}
		if saved == nil {
			continue
		}
		var p Watched
		if err := json.Unmarshal(saved, &p); err != nil {
			a.opts.Cursors.unreadable.note(provenKey(c.name), err)
			continue // it begins anew
		}
		w.proven[c.name] = p
	}
	return nil
}

// SetWatch has the cursors' destinations watched every so often, from the
// oldest event that the log keeps on, or as often as the configuration says,
// which may be never, if every is 0. It is kept over restarts.
func (a *Audits) SetWatch(cmd Command, every time.Duration) error {
	if every != 0 && (every < LeastWatch || every > MostWatch) {
		return fmt.Errorf("audit: %w: a watch has %s to %s between two rounds, or 0 for what the configuration says", ErrRefused, LeastWatch, MostWatch)
	}
	w := &a.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	value, err := json.Marshal(every)
	if err != nil {
		return fmt.Errorf("encode the watch: %w", err)
	}
	writes := []Write{{Key: watchKey, Value: value}}
	for _, c := range w.cursors {
		writes = append(writes, Write{Key: provenKey(c.name)})
	}
	type switched struct {
		Every string `json:"every"`
	}
	entry := TrailEntry{By: cmd.By, Why: cmd.Why, Verb: "watch"}
	err = a.opts.Cursors.trail.commit(entry, switched{w.asked.String()}, switched{every.String()}, func(entry ...Write) error {
		return a.opts.Cursors.opts.State.Commit(append(writes, entry...)...)
	})
	if err != nil {
		return fmt.Errorf("save the watch: %w", err)
	}
	w.asked = every
	w.turn++
	clear(w.proven)
	close(w.changed)
	w.changed = make(chan struct{})
	return nil
}

// Watch is how often the watch compares, 0 if there is none, and how far it
// came with each cursor, in their order.
func (a *Audits) Watch() (every time.Duration, all []Watched) {
	w := &a.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if every = w.every(a.opts.Watch); every == 0 {
		return 0, nil
	}
	for _, c := range w.cursors {
		all = append(all, w.of(c))
	}
	return every, all
}

// every is called with w.mu held.
func (w *watch) every(configured time.Duration) time.Duration {
	if w.asked > 0 {
		return w.asked
	}
	return configured
}

// runWatch watches every cursor that can be audited until ctx ends, each by
// itself.
func (a *Audits) runWatch(ctx context.Context) {
	var wg sync.WaitGroup
	for _, c := range a.watch.cursors {
		wg.Go(func() { a.watchCursor(ctx, c) })
	}
	wg.Wait()
}

// watchCursor makes a round every so often, while there is a watch.
func (a *Audits) watchCursor(ctx context.Context, c *Cursor) {
	for ctx.Err() == nil {
		p, turn, every, changed := a.beginRound(c)
		var due <-chan time.Time
		if every > 0 {
			r := round{audits: a, cursor: c, turn: turn, every: every, p: p}
			if err := r.run(ctx); ctx.Err() == nil {
				r.end(err)
			}
			due = time.After(every)
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-due:
		}
	}
}

func (a *Audits) beginRound(c *Cursor) (p Watched, turn int, every time.Duration, changed chan struct{}) {
	w := &a.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if every = w.every(a.opts.Watch); every > 0 {
		p = w.of(c)
	}
	return p, w.turn, every, w.changed
}

// of is how far the watch came with a cursor; it begins if it has not. It is
// called with w.mu held.
func (w *watch) of(c *Cursor) Watched {
	p := w.proven[c.name]
	if p.Since.IsZero() {
		oldest := c.log.FirstSeq()
		p = Watched{Cursor: c.name, Since: time.Now().UTC(), From: oldest, Next: oldest}
	}
	if p.Begun.IsZero() {
		p.Begun = time.Now().UTC()
	}
	w.proven[c.name] = p
	return p
}

// round is one look of the watch at a cursor's destination.
type round struct {
	audits *Audits
	cursor *Cursor
	turn   int
	every  time.Duration
	p      Watched
	pace   duty
	since  time.Time
	dest   AuditTarget
}

// run looks at what was wrong, at what has come since, and at a piece of what
// was proven before: rows can go later on, too.
func (r *round) run(ctx context.Context) (err error) {
	if r.dest, err = r.audits.opts.Open(r.cursor.name); err != nil {
		return err
	}
	defer r.dest.close()
	if r.since, err = r.dest.Prover.Reach(ctx); err != nil {
		return err
	}
	r.pace = duty{rests: watchRests}
	if err := r.lookAtWrong(ctx); err != nil {
		return err
	}
	old, top, before := r.p.Next, r.p.Top, r.p.ProvenAt
	for next := r.cursor.Next(); r.p.Next < next; {
		// What was delivered a moment ago is there, however old the event: the
		// destination may be quick to delete it, and that is a loss, too.
		since, last := r.since, next-1
		switch {
		case r.p.Next < top:
			last = min(last, top-1)
		case before.After(r.since):
			since = time.Time{}
		}
		s, err := r.look(ctx, since, Range{r.p.Next, last})
		if err != nil {
			return err
		}
		r.p.Next = s.next
		r.p.found(union(r.p.Holes, s.Missing), union(r.p.Double, s.Doubles), behind(r.p.Behind, s.Behind))
		if err := r.publish(); err != nil {
			return err
		}
	}
	if oldest := r.cursor.log.FirstSeq(); r.p.Again < oldest || r.p.Again >= old {
		r.p.Again = oldest
	}
	if r.dest.Once {
		return nil
	}
	return r.lookAgain(ctx, min(old, r.cursor.Next()))
}

// lookAgain looks at a piece of what was proven before, up to seq next: so much
// that all of it has its turn within watchPass.
func (r *round) lookAgain(ctx context.Context, next uint64) error {
	oldest := r.cursor.log.FirstSeq()
	share := 1.0
	if next > oldest {
		share = float64(next-oldest) * float64(r.every) / float64(watchPass)
	}
	for looked := 0.0; looked < share && r.p.Again < next; {
		s, err := r.look(ctx, r.since, Range{r.p.Again, next - 1})
		if err != nil {
			return err
		}
		looked += float64(s.next - r.p.Again)
		r.p.Again = s.next
		r.p.found(union(r.p.Holes, s.Missing), union(r.p.Double, s.Doubles), behind(r.p.Behind, s.Behind))
	}
	return nil
}

// lookAtWrong compares anew what was missing or double. What the log no longer
// keeps stays named, since nothing can prove it any more. After a rewind the
// cursor comes again to what it has not passed. A hole that has come of age
// stays one, while of what was double one may have gone for its age.
func (r *round) lookAtWrong(ctx context.Context) error {
	next, oldest := r.cursor.Next(), r.cursor.log.FirstSeq()
	r.p.Next = min(r.p.Next, next)
	holes, doubles := rangesBelow(r.p.Holes, oldest), []Range(nil)
	var sessions []Behind
	for _, kind := range []struct {
		wrong []Range
		since time.Time
	}{{r.p.Holes, time.Time{}}, {without(r.p.Double, r.p.Holes), r.since}} {
		for only := clip(kind.wrong, oldest, next-1); len(only) > 0; {
			s, err := r.look(ctx, kind.since, only...)
			if err != nil {
				return err
			}
			holes, doubles, sessions = union(holes, s.Missing), union(doubles, s.Doubles), behind(sessions, s.Behind)
			only = rangesFrom(only, s.next)
		}
	}
	r.p.found(holes, doubles, sessions)
	return nil
}

func (r *round) look(ctx context.Context, since time.Time, wanted ...Range) (stretch, error) {
	if err := r.pace.rest(ctx); err != nil {
		return stretch{}, err
	}
	r.pace.begin()
	return r.dest.compare(ctx, r.cursor, since, wanted...)
}

// found notes what is wrong as things stand.
func (p *Watched) found(holes, doubles []Range, sessions []Behind) {
	p.Missing, p.Doubles = total(holes), total(doubles)
	p.Holes, p.Double = atMost(holes), atMost(doubles)
	p.Behind = sessions[:min(len(sessions), maxNamed)]
}

// atMost joins the nearest ranges until they are not too many: what lies between
// is compared once more, too.
func atMost(ranges []Range) []Range {
	ranges = slices.Clone(ranges)
	for len(ranges) > maxRanges {
		ranges = joinNearest(ranges)
	}
	return ranges
}

// publish shows how far the round came, and saves it.
func (r *round) publish() error {
	r.p.ProvenSeq, r.p.ProvenAt = r.p.Next-1, time.Now().UTC()
	if len(r.p.Holes) > 0 {
		r.p.ProvenSeq = min(r.p.ProvenSeq, r.p.Holes[0].First-1)
	}
	r.p.Error, r.p.NotOffered, r.p.Top = "", false, max(r.p.Top, r.p.Next)
	w := &r.audits.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.turn != r.turn {
		return nil // it was switched meanwhile, and begins anew
	}
	value, err := json.Marshal(r.p)
	if err == nil {
		err = r.audits.opts.Cursors.opts.State.Commit(Write{Key: provenKey(r.cursor.name), Value: value})
	}
	if err != nil {
		return fmt.Errorf("save how far the watch came: %w", err)
	}
	w.proven[r.cursor.name] = r.p
	return nil
}

// end notes how a round ended.
func (r *round) end(err error) {
	if err == nil {
		err = r.publish()
	}
	if err == nil {
		return
	}
	w := &r.audits.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.turn != r.turn {
		return
	}
	p := w.proven[r.cursor.name]
	if text := shorten(err.Error()); errors.Is(err, ErrCannotProve) {
		p.NotOffered, p.Error = true, text
	} else {
		if p.Error == "" {
			r.audits.opts.Logger.Warn("the watch could not compare, trying again", "cursor", r.cursor.name, "err", err)
		}
		p.Error = text
	}
	w.proven[r.cursor.name] = p
}
