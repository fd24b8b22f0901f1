package shipper

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// run carries an audit out, and leaves its outcome in the report.
func (a *Audits) run(ctx context.Context, c *Cursor) {
	err := a.walk(ctx, c)
	report, _ := a.Report()
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errNodeStops): // the next process goes on
	case errors.Is(cause, errAuditStopped):
		report.State, report.Error = AuditStopped, ""
	case errors.Is(err, ErrCannotProve):
		report.State, report.Error = AuditNotOffered, shorten(err.Error())
	case err != nil:
		report.State, report.Error = AuditFailed, shorten(err.Error())
	default:
		report.State, report.Error = AuditDone, ""
	}
	report.UpdatedAt = time.Now().UTC()
	if err := a.save(report); err != nil {
		a.opts.Logger.Warn("the outcome of an audit cannot be saved", "err", err)
	}
	a.opts.Logger.Info("audit ended", "cursor", report.Cursor, "state", report.State, "from", report.From, "to", report.To,
		"compared", report.Compared, "missing", report.Missing, "healed", report.Healed, "doubles", report.Doubles, "err", report.Error)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last, a.job = &report, nil // together: who sees that it has ended may begin another
}

// walk compares stretch by stretch, and heals what is missing.
func (a *Audits) walk(ctx context.Context, c *Cursor) error {
	report, _ := a.Report()
	d, err := a.opts.Open(report.Cursor)
	if err != nil {
		return err
	}
	defer d.close()
	var since time.Time
	err = a.try(ctx, func() (err error) {
		since, err = d.Prover.Reach(ctx)
		return err
	})
	if err != nil {
		return err
	}
	report.Notes = d.notes()
	p := duty{rests: auditRests}
	for report.Next <= report.To {
		// After a rewind the cursor comes again to what it has not passed.
		last := min(report.To, c.Next()-1)
		if report.Next > last {
			report.To = report.Next - 1
			break
		}
		p.begin()
		var s stretch
		err := a.try(ctx, func() (err error) {
			s, err = d.compare(ctx, c, since, Range{report.Next, last})
			return err
		})
		if err == nil && report.Fill && len(s.Missing) > 0 {
			err = a.fill(ctx, c, d, since, s.Missing, &report)
		} else if err == nil {
			report.miss(s.Missing)
		}
		if err != nil {
			return err
		}
		report.add(s)
		if err := a.publish(report); err != nil {
			return err
		}
		if err := p.rest(ctx); err != nil {
			return err
		}
	}
	return a.publish(report)
}

// fill delivers what is missing, and compares it once more.
func (a *Audits) fill(ctx context.Context, c *Cursor, d AuditTarget, since time.Time, missing []Range, report *AuditReport) error {
	refused, err := d.heal(ctx, c, missing, a.note)
	if err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	left, err := a.again(ctx, c, d, since, missing)
	if err != nil {
		return err
	}
	healed := without(missing, left.Missing)
	report.Healed += total(healed)
	report.name(&report.Filled, healed)
	report.miss(left.Missing)
	report.Refused = append(slices.Clone(report.Refused), refused...)
	if len(report.Refused) > maxNamed {
		report.Refused, report.Truncated = report.Refused[:maxNamed], true
	}
	return nil
}

// again compares exactly the events of the ranges.
func (a *Audits) again(ctx context.Context, c *Cursor, d AuditTarget, since time.Time, only []Range) (all Findings, err error) {
	p := duty{rests: auditRests}
	for len(only) > 0 {
		var s stretch
		p.begin()
		err := a.try(ctx, func() (err error) {
			s, err = d.compare(ctx, c, since, only...)
			return err
		})
		if err == nil {
			err = p.rest(ctx)
		}
		if err != nil {
			return all, err
		}
		all.add(s.Findings)
		only = rangesFrom(only, s.next)
	}
	return all, nil
}

// try repeats what may pass by itself, with growing pauses, for auditPatience.
func (a *Audits) try(ctx context.Context, do func() error) error {
	var backoff Backoff
	for began := time.Now(); ; {
		err := do()
		var pause *PauseError
		switch {
		case err == nil:
			a.note(nil)
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &pause), errors.Is(err, ErrCannotProve):
			return err
		case time.Since(began) >= auditPatience:
			return fmt.Errorf("tried for %s: %w", auditPatience, err)
		}
		a.note(err)
		if err := backoff.Wait(ctx); err != nil {
			return err
		}
	}
}

// add joins what was found in stretches that follow each other.
func (f *Findings) add(o Findings) {
	f.Missing = union(f.Missing, o.Missing)
	f.Doubles = union(f.Doubles, o.Doubles)
	f.Lasting = union(f.Lasting, o.Lasting)
	f.Behind = append(f.Behind, o.Behind...)
}

// add counts a stretch, save what is missing of it.
func (r *AuditReport) add(s stretch) {
	r.Next = s.next
	r.Compared += s.compared
	r.TooOld += s.tooOld
	r.NotKept += s.notKept
	r.Excepted.add(s.excepted)
	r.Doubles += total(s.Doubles)
	r.name(&r.Double, s.Doubles)
	r.Lasting += total(s.Lasting)
	r.name(&r.Lasts, s.Lasting)
	r.Behind = behind(r.Behind, s.Behind)
	if len(r.Behind) > maxNamed {
		r.Behind, r.Truncated = r.Behind[:maxNamed], true
	}
}

// miss counts and names what is not there.
func (r *AuditReport) miss(ranges []Range) {
	r.Missing += total(ranges)
	r.name(&r.Holes, ranges)
}

// name adds ranges to a list of the report, as far as it may grow.
func (r *AuditReport) name(list *[]Range, ranges []Range) {
	all := union(*list, ranges)
	if len(all) > maxNamed {
		all, r.Truncated = all[:maxNamed], true
	}
	*list = all
}

// behind joins lists of sessions, each with what is missing of it in all.
func behind(list, more []Behind) []Behind {
	list = slices.Clone(list)
	for _, b := range more {
		i := slices.IndexFunc(list, func(had Behind) bool { return had.Project == b.Project && had.Session == b.Session })
		if i < 0 {
			list = append(list, b)
			continue
		}
		list[i] = Behind{b.Project, b.Session, max(list[i].Want, b.Want), b.Have, list[i].Missing + b.Missing}
	}
	return list
}

func total(ranges []Range) uint64 {
	n := uint64(0)
	for _, r := range ranges {
		n += r.Len()
	}
	return n
}
