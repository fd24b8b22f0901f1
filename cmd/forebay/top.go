package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"forebay/node/admin"
)

// topProjects is how many projects top shows.
const topProjects = 10

func newTop(g *globals) *cobra.Command {
	var every time.Duration
	var times int
	cmd := &cobra.Command{
		Use: "top", Short: "Watch what comes in, is dropped and goes out, until Ctrl-C", Args: exactArgs(),
		Long: `Watch what comes in, what is dropped and why, and what goes out, as rates since
the picture before. With --json it prints the status, a line each time.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if every <= 0 || times < 0 {
				return usageError{errors.New("--every has to be above 0, and --times not below")}
			}
			c, err := g.running()
			if err != nil {
				return err
			}
			var t top
			return g.live(cmd.Context(), every, times, func(g *globals) error {
				s, err := c.Status(cmd.Context())
				if err != nil {
					return err
				}
				if g.json {
					return g.printLine(s)
				}
				return t.show(g, s)
			})
		},
	}
	durationVar(cmd.Flags(), &every, "every", 2*time.Second, "how long between two pictures")
	cmd.Flags().IntVar(&times, "times", 0, "end after so many pictures; 0 is never")
	return cmd
}

// top is what a picture is compared with: the one before.
type top struct {
	before  admin.Status
	at      time.Time
	seconds float64 // since it; 0 if there is none
}

// show draws the status with the rates since the picture before.
func (t *top) show(g *globals, s admin.Status) error {
	now := time.Now()
	t.seconds = 0
	if !t.at.IsZero() && s.StartedAt.Equal(t.before.StartedAt) { // a node that was restarted counts on, but from what it had saved
		t.seconds = now.Sub(t.at).Seconds()
	}
	defer func() { t.before, t.at = s, now }()
	line, _ := verdict(s)
	r, e, was := s.Ledger.Requests, s.Ledger.Events, t.before.Ledger
	fmt.Fprintf(g.out, "%s  %s, up %s\n%s\n\n", now.Format(time.TimeOnly), s.NodeID, ago(s.StartedAt), strings.Join(wrap(line, max(minText, t.width(g))), "\n"))
	rows := [][]string{
		{"requests", t.rate(r.Received, was.Requests.Received), "dropped", t.reasons(r.Dropped, was.Requests.Dropped)},
		{"accepted", t.rate(e.Accepted, was.Events.Accepted), "dropped", t.reasons(e.Dropped, was.Events.Dropped)},
		{"log", fmt.Sprintf("seq %d", s.Log.DurableSeq), "disk", fmt.Sprintf("%s of %s%s", bytesText(s.Log.Bytes), bytesText(s.Log.BudgetBytes), fullText(s.Log))},
	}
	if err := g.table(rows...); err != nil {
		return err
	}
	fmt.Fprintln(g.out)
	if err := g.showCursors(s.Cursors); err != nil {
		return err
	}
	if len(s.Replays) > 0 {
		fmt.Fprintln(g.out)
		if err := g.showReplays(s.Replays); err != nil {
			return err
		}
	}
	fmt.Fprintln(g.out)
	return g.table(t.projects(s.Ledger)...)
}

func (t *top) width(g *globals) int {
	if columns, _ := terminalSize(g.out); columns > 0 {
		return columns
	}
	return 1 << 20
}

// rate is how much of something came in a second, "-" if there is no picture
// before.
func (t *top) rate(now, before uint64) string {
	if t.seconds == 0 || now < before {
		return "-"
	}
	return fmt.Sprintf("%.0f/s", float64(now-before)/t.seconds)
}

// reasons are the reasons for which something was dropped since the picture
// before, the most frequent first.
func (t *top) reasons(now, before map[string]uint64) string {
	since := map[string]uint64{}
	for reason, n := range now {
		if n > before[reason] {
			since[reason] = n - before[reason]
		}
	}
	if t.seconds == 0 || len(since) == 0 {
		return t.rate(0, 0)
	}
	var parts []string
	for _, reason := range slices.SortedFunc(maps.Keys(since), func(a, b string) int {
		return cmp.Or(cmp.Compare(since[b], since[a]), strings.Compare(a, b))
	}) {
		parts = append(parts, reason+" "+t.rate(since[reason], 0))
	}
	return strings.Join(parts, ", ")
}

// projects are those that sent or lost the most since the picture before, or
// ever if there is none.
func (t *top) projects(l admin.Ledger) [][]string {
	since := func(name string) uint64 {
		n := l.Projects[name].Events.Decoded
		if t.seconds > 0 {
			n -= min(n, t.before.Ledger.Projects[name].Events.Decoded)
		}
		return n
	}
	names := slices.SortedFunc(maps.Keys(l.Projects), func(a, b string) int {
		return cmp.Or(cmp.Compare(since(b), since(a)), strings.Compare(a, b))
	})
	rows := [][]string{{"PROJECT", "REQUESTS", "ACCEPTED", "DROPPED"}}
	for _, name := range names[:min(len(names), topProjects)] {
		p, was := l.Projects[name], t.before.Ledger.Projects[name]
		rows = append(rows, []string{
			name, t.rate(p.Requests.Decoded, was.Requests.Decoded), t.rate(p.Events.Accepted, was.Events.Accepted),
			t.reasons(p.Events.Dropped, was.Events.Dropped),
		})
	}
	return rows
}

// fullText says when the disk is full, if that is in sight.
func fullText(l admin.LogStatus) string {
	switch {
	case l.Full:
		return ", full: new events are dropped"
	case l.FullIn > 0:
		return ", full in " + seconds(l.FullIn)
	}
	return ""
}
