package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"forebay/node/admin"
	"forebay/shipper"
)

// drainEvery is how often a drain is looked at. Two looks in a row have to
// find everything delivered, and nothing new.
const drainEvery = time.Second

func newDrain(g *globals) *cobra.Command {
	var timeout time.Duration
	var undo bool
	var why string
	c := &cobra.Command{
		Use: "drain", Short: "Send traffic elsewhere, and wait until all is delivered", Args: exactArgs(),
		Long: `Turn the node unready, so that a load balancer sends traffic elsewhere, and
wait until everything that it has accepted is delivered; then it can be stopped
with nothing left behind but its dead letters. What still comes is accepted as
ever. --undo, or a start of the node, takes it back.

It exits with 1 if that does not come about within --timeout; the node then
stays unready.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.withNode(func(c *admin.Client) error {
				request := admin.DrainRequest{Command: command(why), Undo: undo}
				s, err := c.Drain(cmd.Context(), request)
				if err != nil {
					return err
				}
				if undo {
					if g.json {
						return g.printJSON(s)
					}
					return nil
				}
				s, err = g.awaitDrained(cmd.Context(), c, timeout)
				if err != nil {
					return err
				}
				if g.json {
					return g.printJSON(s)
				}
				return g.showDrained(s)
			})
		},
	}
	durationVar(c.Flags(), &timeout, "timeout", 5*time.Minute, "how long to wait")
	c.Flags().BoolVar(&undo, "undo", false, "let traffic come again")
	c.Flags().StringVar(&why, "why", "", "reason, for the audit trail")
	return c
}

// awaitDrained returns once two looks in a row have found all delivered.
func (g *globals) awaitDrained(ctx context.Context, c *admin.Client, timeout time.Duration) (admin.Status, error) {
	tick := time.NewTicker(drainEvery)
	defer tick.Stop()
	late := time.NewTimer(timeout)
	defer late.Stop()
	delivered, told := uint64(0), ""
	came := arrivals{}
	for first := true; ; {
		s, err := c.Status(ctx)
		if err != nil {
			return s, err
		}
		left := undelivered(s)
		switch {
		case left != "":
			first = true
		case !first && s.Log.DurableSeq == delivered:
			return s, nil
		default:
			first, delivered = false, s.Log.DurableSeq
		}
		if left != told && left != "" {
			fmt.Fprintln(g.err, "waiting:", left)
			told = left
		}
		if text := came.since(s.Drain, time.Now()); text != "" {
			fmt.Fprintln(g.err, text)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return s, ctx.Err()
		case <-late.C:
			if came.text != "" {
				left = strings.TrimPrefix(left+"; "+came.text, "; ")
			}
			return s, fmt.Errorf("not drained within %s: %s", timeout, left)
		}
	}
}

// arrivals tells that new requests come although the node drains.
type arrivals struct {
	requests uint64 // that had come at the last look
	said     time.Time
	text     string // the last look's words, "" if nothing came since the one before
}

// arrivalsEvery is how often it is said at most.
const arrivalsEvery = 10 * time.Second

// maxArrivals is how many addresses are named.
const maxArrivals = 5

// since notes what has come, and returns what is to be said now, "" for nothing.
func (a *arrivals) since(d *admin.DrainStatus, now time.Time) string {
	if d == nil || d.Requests == a.requests {
		a.text = ""
		return ""
	}
	a.requests = d.Requests
	var from []string
	for _, s := range d.From[:min(len(d.From), maxArrivals)] {
		from = append(from, fmt.Sprintf("%s (%d)", s.Addr, s.Requests))
	}
	if more := len(d.From) - maxArrivals; more > 0 || d.Others > 0 {
		from = append(from, "and others")
	}
	a.text = fmt.Sprintf("new events still come: %s since the drain began, from %s: does what stands there ask /readyz? Take the node out of its list if not",
		count(d.Requests, "request"), strings.Join(from, ", "))
	if now.Sub(a.said) < arrivalsEvery {
		return ""
	}
	a.said = now
	return a.text
}

// undelivered says what is not delivered yet, "" if all is.
func undelivered(s admin.Status) string {
	var parts []string
	if n := s.Ledger.Events.InFlight; n > 0 {
		parts = append(parts, count(n, "event")+" on the way to disk")
	}
	for _, c := range s.Cursors {
		if c.LagEvents == 0 {
			continue
		}
		part := fmt.Sprintf("cursor %s has %s to deliver", c.Name, count(c.LagEvents, "event"))
		switch {
		case c.State == shipper.Paused && c.Pause != nil:
			part += fmt.Sprintf(" and is paused by %s: %s", c.Pause.By, c.Pause.Reason)
		case c.State == shipper.Failing:
			part += " and fails: " + c.LastError
		case c.Parked != nil:
			part += ", " + parkedText(c)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}

func (g *globals) showDrained(s admin.Status) error {
	fmt.Fprintf(g.out, "drained: all is delivered, up to seq %d; the node can be stopped\n", s.Log.DurableSeq)
	for _, c := range s.Cursors {
		if c.Dead > 0 {
			fmt.Fprintf(g.out, "cursor %s has %d dead letters, which stay in the data directory: forebay dead export %s\n", c.Name, c.Dead, c.Name)
		}
	}
	return nil
}
