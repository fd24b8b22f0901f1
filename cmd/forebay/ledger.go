package main

import (
	"cmp"
	"fmt"
	"slices"

	"forebay/node/admin"
)

// shownProjects is how many projects the ledger shows by name; --json has all.
const shownProjects = 20

// showLedger prints what came in and what became of it, at the front door, by
// project and at each cursor.
func (g *globals) showLedger(s admin.Status) error {
	l := s.Ledger
	r, e := l.Requests, l.Events
	fmt.Fprintf(g.out, "\nrequests: %d received = %d in flight + %d decoded + %s dropped\n", r.Received, r.InFlight, r.Decoded, dropped(r.Dropped))
	fmt.Fprintf(g.out, "events:   %d decoded  = %d in flight + %d accepted + %s dropped\n", e.Decoded, e.InFlight, e.Accepted, dropped(e.Dropped))
	if !l.Balanced {
		fmt.Fprintln(g.out, "THE LEDGER DOES NOT BALANCE: keep this output with --json, and report it")
	}
	if l.Uncertain > 0 {
		fmt.Fprintf(g.out, "uncertain: <= %d requests and <= %d dropped events, which crashes left out of these counts\n", l.UncertainRequests, l.UncertainEvents)
	}
	fmt.Fprintln(g.out)
	if err := g.table(projectRows(l)...); err != nil {
		return err
	}
	fmt.Fprintln(g.out)
	return g.table(accountRows(s)...)
}

// projectRows are the projects with the most events.
func projectRows(l admin.Ledger) [][]string {
	names := slices.SortedFunc(slices.Values(sortedKeys(l.Projects)), func(a, b string) int {
		return cmp.Or(cmp.Compare(l.Projects[b].Events.Decoded, l.Projects[a].Events.Decoded), cmp.Compare(a, b))
	})
	rows := [][]string{{"PROJECT", "REQUESTS DROPPED", "EVENTS", "ACCEPTED", "DROPPED"}}
	for i, name := range names {
		if i == shownProjects {
			return append(rows, []string{fmt.Sprintf("(%d more: --json)", len(names)-i)})
		}
		p := l.Projects[name]
		if name == "" {
			name = "(no known key)"
		}
		rows = append(rows, []string{name, dropped(p.Requests.Dropped), fmt.Sprint(p.Events.Decoded), fmt.Sprint(p.Events.Accepted), dropped(p.Events.Dropped)})
	}
	return rows
}

// accountRows are what became of every accepted event at each cursor.
func accountRows(s admin.Status) [][]string {
	rows := [][]string{{"CURSOR", "ACCEPTED =", "SHIPPED +", "PENDING +", "DEAD +", "DISCARDED +", "EXPIRED +", "LOST +", "SKIPPED"}}
	for _, c := range s.Cursors {
		row := []string{c.Name}
		a := c.Account
		for _, n := range []uint64{a.Accepted, a.Shipped, a.Pending, a.Dead, a.Discarded, a.Expired, a.Lost, a.Skipped} {
			row = append(row, fmt.Sprint(n))
		}
		rows = append(rows, row)
	}
	return rows
}
