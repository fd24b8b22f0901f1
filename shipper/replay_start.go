package shipper

import (
	"context"
	"fmt"
	"time"
)

func refuseReplay(format string, args ...any) error {
	return fmt.Errorf("replay: %w: %s", ErrRefused, fmt.Sprintf(format, args...))
}

// settle checks a spec and fills its range; it says how much of what was asked
// for the log no longer keeps.
func (rs *Replays) settle(spec ReplaySpec) (_ ReplaySpec, notKept uint64, err error) {
	log := rs.set.opts.Log
	oldest, durable := log.FirstSeq(), log.DurableSeq()
	if spec.Last == 0 || spec.Last > durable {
		spec.Last = durable
	}
	if spec.First > spec.Last {
		return spec, 0, refuseReplay("there is nothing from seq %d to %d (the newest is %d)", spec.First, spec.Last, durable)
	}
	if spec.Last < oldest {
		return spec, 0, refuseReplay("nothing up to seq %d is kept; the oldest is %d", spec.Last, oldest)
	}
	if spec.First > 0 && spec.First < oldest {
		notKept = oldest - spec.First
	}
	spec.First = max(spec.First, oldest)
	if spec.Rate < 0 || spec.Rate > maxRate {
		return spec, 0, refuseReplay("a rate is between 1 and %d events a second, or 0 for no limit", maxRate)
	}
	for _, list := range [][]string{spec.Projects, spec.Sessions, spec.Types} {
		if len(list) > maxFilter {
			return spec, 0, refuseReplay("a filter has at most %d values of a kind, not %d", maxFilter, len(list))
		}
		for _, value := range list {
			if value == "" || len(value) > maxFilterText {
				return spec, 0, refuseReplay("a filter's value has 1 to %d bytes", maxFilterText)
			}
		}
	}
	return spec, notKept, nil
}

// Preview reads the range and says what a replay would deliver. It changes
// nothing.
func (rs *Replays) Preview(ctx context.Context, spec ReplaySpec) (p ReplayPreview, err error) {
	if p.Spec, p.NotKept, err = rs.settle(spec); err != nil {
		return p, err
	}
	sink, _, err := rs.opts.Open(spec.Destination)
	if err != nil {
		return p, refuseReplay("%v", err)
	}
	closeSink(sink)
	p.SameAs = rs.opts.Live(spec.Destination)
	live := rs.set.Get(p.SameAs)
	had := func(uint64) bool { return false }
	if live != nil {
		had = live.delivered(live.position())
	}
	match := p.Spec.match(rs.opts.TypeOf)
	p.Survey, err = survey(ctx, rs.set.opts.Log, p.Spec.First, p.Spec.Last, func(e *Event) bool {
		if !match(e) {
			return false
		}
		if had(e.Seq) {
			p.Duplicates++
		}
		return true
	})
	if err != nil {
		return p, fmt.Errorf("preview of a replay: %w", err)
	}
	if p.Spec.Rate > 0 {
		p.Seconds = float64(p.Events) / float64(p.Spec.Rate)
	}
	return p, nil
}

// Start begins a replay, in an epoch of its own. That it is to be done is
// durable when it returns.
func (rs *Replays) Start(cmd Command, spec ReplaySpec) (Replay, error) {
	rs.commands.Lock()
	defer rs.commands.Unlock()
	rs.mu.Lock()
	runs, open := rs.runs, 0
	for _, r := range rs.all {
		if r.cursor != nil {
			open++
		}
	}
	rs.mu.Unlock()
	switch {
	case !runs:
		return Replay{}, refuseReplay("nothing is delivered while the node is stopped: start it, then replay")
	case open >= maxReplays:
		return Replay{}, refuseReplay("%d replays have not ended, which is as many as there may be: wait for one, or cancel it", open)
	}
	spec, _, err := rs.settle(spec)
	if err != nil {
		return Replay{}, err
	}
	if spec.Name, err = rs.name(spec.Name); err != nil {
		return Replay{}, err
	}
	sink, flush, err := rs.opts.Open(spec.Destination)
	if err != nil {
		return Replay{}, refuseReplay("%v", err)
	}
	r := &replay{sink: sink, record: replayRecord{Replay: Replay{
		ReplaySpec: spec, State: Running, By: cmd.By, Why: cmd.Why, StartedAt: time.Now().UTC(), NextSeq: spec.First,
	}}}
	if err = rs.begin(r, cmd); err == nil {
		err = rs.attach(r, flush)
	}
	if err != nil {
		closeSink(sink)
		return Replay{}, err
	}
	rs.mu.Lock()
	rs.all = append(rs.all, r)
	rs.mu.Unlock()
	rs.nudge()
	return rs.look(r)
}

// begin saves a new replay, with the position of its cursor, its epoch, and
// the operators' trail. All of its range counts as delivered before.
func (rs *Replays) begin(r *replay, cmd Command) error {
	return rs.set.nextEpoch(func(epoch uint64, counter Write) error {
		r.record.Epoch = epoch
		record, err := r.record.write()
		if err != nil {
			return err
		}
		p := position{Next: r.record.First, Epoch: epoch, RepeatsTo: r.record.Last, Counted: true}
		at, err := p.write(r.record.Name)
		if err != nil {
			return err
		}
		entry := TrailEntry{By: cmd.By, Why: cmd.Why, Verb: "replay", Cursor: r.record.Name}
		return rs.set.trail.commit(entry, nil, r.record.ReplaySpec, func(entry ...Write) error {
			if err := rs.set.opts.State.Commit(append(entry, counter, record, at)...); err != nil {
				return fmt.Errorf("save replay %s: %w", r.record.Name, err)
			}
			return nil
		})
	})
}

func (rs *Replays) nudge() {
	select {
	case rs.wake <- struct{}{}:
	default:
	}
}

// Cancel ends a replay for good, once its requests in flight have ended. What
// it has delivered stays delivered.
func (rs *Replays) Cancel(ctx context.Context, cmd Command, name string) (Replay, error) {
	rs.commands.Lock()
	defer rs.commands.Unlock()
	r, err := rs.find(name)
	if err != nil {
		return Replay{}, err
	}
	stop, ended := rs.halt(r)
	stop()
	select {
	case <-ended:
	case <-ctx.Done():
		return Replay{}, fmt.Errorf("replay %s: it has stopped reading, but requests in flight have not ended: cancel it once more: %w", name, ctx.Err())
	}
	now, err := rs.look(r)
	if err == nil && now.Over() {
		return now, refuseReplay("%s is %s already", name, now.State)
	}
	if err == nil {
		err = rs.end(r, Canceled, func(last Replay, writes []Write) error {
			entry := TrailEntry{By: cmd.By, Why: cmd.Why, Verb: "cancel", Cursor: name}
			return rs.set.trail.commit(entry, now, last, func(entry ...Write) error { return r.cursor.commit(append(entry, writes...)) })
		})
	}
	if err != nil {
		rs.mu.Lock()
		r.stop = nil // it goes on
		rs.mu.Unlock()
		rs.nudge()
		return now, err
	}
	return rs.look(r)
}

// halt returns what stops a replay, and is closed once it has stopped. One
// that nobody runs is taken, so that nobody begins to.
func (rs *Replays) halt(r *replay) (stop context.CancelFunc, ended chan struct{}) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if r.stop == nil {
		r.stop, r.ended = func() {}, make(chan struct{})
		close(r.ended)
	}
	return r.stop, r.ended
}

// Pause stops a replay as Cursor.Pause does a cursor.
func (rs *Replays) Pause(ctx context.Context, cmd Command, name string, d time.Duration) (Replay, error) {
	return rs.command(name, func(c *Cursor) error { return c.Pause(ctx, cmd, d) })
}

// Resume lets a replay go on, whoever paused it.
func (rs *Replays) Resume(ctx context.Context, cmd Command, name string) (Replay, error) {
	return rs.command(name, func(c *Cursor) error { return c.Resume(ctx, cmd) })
}

// command changes the cursor of a replay that is not over.
func (rs *Replays) command(name string, change func(*Cursor) error) (Replay, error) {
	rs.commands.Lock()
	defer rs.commands.Unlock()
	r, err := rs.find(name)
	if err != nil {
		return Replay{}, err
	}
	rs.mu.Lock()
	c := r.cursor
	rs.mu.Unlock()
	if c == nil {
		return Replay{}, refuseReplay("%s is over", name)
	}
	if err := change(c); err != nil {
		return Replay{}, err
	}
	return rs.look(r)
}
