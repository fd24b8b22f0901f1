package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"forebay/node"
	"forebay/node/admin"
	"forebay/node/config"
)

// outageFlags ask how long the disk lasts.
type outageFlags struct {
	rate, eventBytes int64
	outage           time.Duration
}

// outageReport is what `config check --rate --outage` prints.
type outageReport struct {
	OK          bool    `json:"ok"` // the budget suffices
	Events      int64   `json:"events"`
	NeededBytes int64   `json:"needed_bytes"` // budget for them without compression
	BudgetBytes int64   `json:"budget_bytes"` // that of the configuration
	LogBytes    int64   `json:"log_bytes"`    // what the log takes of it already
	Measured    float64 `json:"measured_bytes_per_event,omitempty"`
	LikelyBytes int64   `json:"likely_bytes,omitempty"` // for events like those that the log holds
}

func (o *outageFlags) asked() bool { return o.rate != 0 || o.outage != 0 }

func (o *outageFlags) check() error {
	const most = 1 << 40 // events, or bytes of one
	switch {
	case !o.asked():
		return nil
	case o.rate <= 0 || o.outage <= 0:
		return usageError{errors.New("--rate and --outage go together, both above 0")}
	case o.eventBytes <= 0 || o.eventBytes > 1<<20:
		return usageError{errors.New("--event-bytes: want 1 to 1048576")}
	case float64(o.rate)*o.outage.Seconds() > most:
		return usageError{fmt.Errorf("--rate and --outage are more than %d events", int64(most))}
	}
	return nil
}

func (o *outageFlags) run(g *globals, cfg config.Config) error {
	r := outageReport{Events: int64(float64(o.rate) * o.outage.Seconds())}
	// A node that has not run yet has no log to measure.
	var held int64
	err := g.withNode(func(c *admin.Client) error {
		s, err := c.Status(context.Background())
		if err != nil {
			return err
		}
		r.LogBytes = s.Log.Bytes
		if s.Log.FirstSeq > 0 {
			held = int64(s.Log.DurableSeq - s.Log.FirstSeq + 1)
		}
		return nil
	})
	if err != nil && !errors.Is(err, node.ErrNeverRan) {
		return fmt.Errorf("measure the log: %w", err)
	}
	if r.BudgetBytes, err = node.DiskBudget(cfg, r.LogBytes); err != nil {
		return err
	}
	r.NeededBytes = node.DiskNeeded(r.Events, o.eventBytes, int64(cfg.WAL.SegmentBytes))
	r.OK = r.NeededBytes <= r.BudgetBytes
	const enough = 1000 // events, to tell a mean from
	if held >= enough {
		r.Measured = float64(r.LogBytes) / float64(held)
		r.LikelyBytes = int64(r.Measured * float64(r.Events))
	}
	if g.json {
		err = g.printJSON(r)
	} else {
		err = o.print(g, r)
	}
	if err == nil && !r.OK {
		err = fmt.Errorf("the disk budget is too small: set wal.disk_budget to %d or more, on a disk that has it", r.NeededBytes)
	}
	return err
}

func (o *outageFlags) print(g *globals, r outageReport) error {
	_, err := fmt.Fprintf(g.out, "%d events/s for %s are %d events: they need a disk budget of %s (%d bytes), at %d bytes an event and without compression\n"+
		"the budget is %s\n", o.rate, o.outage, r.Events, bytesText(r.NeededBytes), r.NeededBytes, o.eventBytes, bytesText(r.BudgetBytes))
	if err == nil && r.Measured > 0 {
		_, err = fmt.Fprintf(g.out, "the events that are in the log take %.1f bytes each, compressed: of these it would be %s\n", r.Measured, bytesText(r.LikelyBytes))
	}
	return err
}
