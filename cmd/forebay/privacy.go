package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"forebay/node/admin"
)

func newPrivacy(g *globals) *cobra.Command {
	c := &cobra.Command{Use: "privacy", Short: "Try the privacy rules on a file, or on the log's history", Args: exactArgs()}
	c.AddCommand(newPrivacyCheck(g), newPrivacyReport(g))
	return c
}

func newPrivacyReport(g *globals) *cobra.Command {
	var since time.Duration
	var q admin.PrivacyQuery
	c := &cobra.Command{
		Use: "report", Short: "Tell what the privacy detectors find in events of the log",
		Long: `Tell, by project and detector, in how many events of the log something is
found: so many would have been dropped if the detector's action were drop. Run
it before switching a detector from report to drop. Values are never shown.

The log is read a part at a time, on one core of the node at most.`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if since <= 0 {
				return usageError{fmt.Errorf("--since %s is no time to look back; write 24h", since)}
			}
			q.Since = time.Now().Add(-since)
			return g.withNode(func(c *admin.Client) error {
				r, err := c.PrivacyReport(cmd.Context(), q, g.privacyProgress())
				if err != nil {
					return err
				}
				if g.json {
					return g.printJSON(r)
				}
				return g.showPrivacyReport(r)
			})
		},
	}
	durationVar(c.Flags(), &since, "since", 24*time.Hour, "how far to look back, as far as the log is kept")
	c.Flags().StringVar(&q.Detector, "detector", "", "only this detector")
	c.Flags().StringVar(&q.Project, "project", "", "only events of this project")
	return c
}

// privacyProgress tells once a second how far a report is.
func (g *globals) privacyProgress() func(admin.PrivacyReport) {
	told := time.Now()
	return func(r admin.PrivacyReport) {
		if time.Since(told) < time.Second {
			return
		}
		told = time.Now()
		done, all := r.NextSeq-r.FirstSeq, r.LastSeq+1-r.FirstSeq
		fmt.Fprintf(g.err, "looked at %d of %d seqs (%d %%)\n", done, all, 100*done/max(all, 1))
	}
}

func (g *globals) showPrivacyReport(r admin.PrivacyReport) error {
	if r.FirstSeq > r.LastSeq {
		_, err := fmt.Fprintln(g.out, "the log holds no events of that time")
		return err
	}
	fmt.Fprintf(g.out, "seq %d to %d: looked at %d events", r.FirstSeq, r.LastSeq, r.Events)
	if r.Invalid > 0 {
		fmt.Fprintf(g.out, ", %d cannot be decoded", r.Invalid)
	}
	if r.Lost > 0 {
		fmt.Fprintf(g.out, ", %d are lost", r.Lost)
	}
	fmt.Fprintln(g.out)
	rows := [][]string{{"PROJECT", "DETECTOR", "NOW", "EVENTS", "SHARE", "FIELDS"}}
	for _, p := range r.Projects {
		if p.Found == 0 {
			continue
		}
		slices.SortFunc(p.Detectors, func(a, b admin.PrivacyDetector) int { return strings.Compare(a.Detector, b.Detector) })
		for _, d := range p.Detectors {
			rows = append(rows, []string{p.Project, d.Detector, d.Action, fmt.Sprint(d.Events), percent(d.Events, p.Events), fieldsText(d.Fields)})
		}
		rows = append(rows, []string{p.Project, "any of these", "", fmt.Sprint(p.Found), percent(p.Found, p.Events), ""})
	}
	if len(rows) == 1 {
		_, err := fmt.Fprintln(g.out, "nothing is found in them")
		return err
	}
	return g.table(rows...)
}

func percent(part, whole uint64) string {
	return fmt.Sprintf("%.2f %%", 100*float64(part)/float64(max(whole, 1)))
}

// fieldsText names the fields, most frequent first, and the first few only.
func fieldsText(fields map[string]uint64) string {
	const shown = 5
	names := slices.SortedFunc(maps.Keys(fields), func(a, b string) int {
		if fields[a] != fields[b] {
			return int(min(fields[b], 1<<31)) - int(min(fields[a], 1<<31))
		}
		return strings.Compare(a, b)
	})
	texts := make([]string, 0, shown+1)
	for i, name := range names {
		if i == shown {
			texts = append(texts, fmt.Sprintf("and %d more", len(names)-shown))
			break
		}
		texts = append(texts, fmt.Sprintf("%s %d", name, fields[name]))
	}
	return strings.Join(texts, ", ")
}
