package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"forebay/node/admin"
	"forebay/router"
)

func newDrops(g *globals) *cobra.Command {
	c := &cobra.Command{
		Use: "drops", Short: "Look at what the front door drops, and why", Args: exactArgs(),
		Long: `Look at what the front door drops, and why. Senders are not told; this is where
it shows: the reason, the field and the rule, and who sent it. Values are not
shown, since the node keeps none. A running node describes its last 1,000 drops,
shared fairly between projects, and counts those of the last week.`,
	}
	c.AddCommand(newDropsTail(g), newDropsTop(g))
	return c
}

func newDropsTail(g *globals) *cobra.Command {
	var f admin.DropFilter
	var last int
	var all bool
	cmd := &cobra.Command{
		Use: "tail", Short: "Show the last drops, and further ones as they happen, until Ctrl-C", Args: exactArgs(),
		Long: `Show the last drops, and further ones as they happen, until Ctrl-C. Of those of
one project, reason and rule that come within a second, the first 10 are shown
and the others counted; --all and --json show each.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if last < 0 {
				return usageError{fmt.Errorf("--last %d is below 0", last)}
			}
			return g.withNode(func(c *admin.Client) error {
				show, end := g.showDrop, func() error { return nil }
				if !all && !g.json {
					flood := newDropFlood(g.showDrop, g.showMore)
					show, end = flood.add, flood.run(cmd.Context())
				}
				err := c.WatchDrops(cmd.Context(), f, last, show, func(m admin.Missed) error {
					_, err := fmt.Fprintf(g.err, "%s came too fast to be shown\n", count(m.Drops, "drop"))
					return err
				})
				return g.followed(cmd.Context(), errors.Join(err, end()))
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.Project, "project", "", "only of this project")
	flags.StringVar(&f.Reason, "reason", "", "only for this reason")
	flags.IntVar(&last, "last", 10, "begin with so many of those there were, 1,000 at most")
	flags.BoolVar(&all, "all", false, "show every drop, also of a flood")
	return cmd
}

// followed is what a command returns that shows things until it is stopped: no
// error if it was the operator who stopped it.
func (g *globals) followed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	if err == nil {
		return errors.New("the node has ended the stream: it stops, or the connection broke")
	}
	return err
}

// showDrop prints a drop on a line of its own: what is not known is a hyphen.
func (g *globals) showDrop(d router.Drop) error {
	if g.json {
		return g.printLine(d)
	}
	like := ""
	if d.LooksLike != "" {
		like = " looks_like=" + printable(d.LooksLike)
	}
	_, err := fmt.Fprintf(g.out, "%s  %-13s %-28s %-18s project=%s key=%s sdk=%s app=%s%s\n", d.Time.UTC().Format("2006-01-02T15:04:05.000Z"),
		d.Reason, printable(d.Field), printable(d.Rule), printable(d.Project), printable(d.KeyID), printable(d.SDKVersion), printable(d.AppID), like)
	return err
}

// printable is a text that a sender has chosen, in a form that cannot command a
// terminal, and "-" for none.
func printable(text string) string {
	if text == "" {
		return "-"
	}
	quoted := fmt.Sprintf("%+q", text)
	if plain := quoted[1 : len(quoted)-1]; plain == text && !strings.Contains(text, " ") {
		return text
	}
	return quoted
}

func newDropsTop(g *globals) *cobra.Command {
	var f admin.DropFilter
	var since time.Duration
	var by []string
	var limit int
	names := strings.Join(admin.DropFields(), ", ")
	cmd := &cobra.Command{
		Use: "top", Short: "Group what was dropped in the last week, the most frequent first", Args: exactArgs(),
		Long: `Group what was dropped in the last week, the most frequent first. The node
counts drops by project, reason and rule in minutes, and past a day in hours.
By field, key, sdk_version or app_id only the last 1,000 drops can be grouped.
looks_like tells whose SDK a request seems to come from that brings no events of
this node's form.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, name := range by {
				if !slices.Contains(admin.DropFields(), name) {
					return usageError{fmt.Errorf("--by %q: there are %s", name, names)}
				}
			}
			if since < 0 || limit < 1 {
				return usageError{errors.New("--since must not be below 0, and --limit must be above")}
			}
			if since > 0 {
				f.Since = time.Now().Add(-since)
			}
			return g.withNode(func(c *admin.Client) error {
				t, err := c.TopDrops(cmd.Context(), f, by, limit)
				if err != nil {
					return err
				}
				if g.json {
					return g.printJSON(t)
				}
				return g.showGroups(t, len(by) == 0)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.Project, "project", "", "only of this project")
	flags.StringVar(&f.Reason, "reason", "", "only for this reason")
	durationVar(flags, &since, "since", 0, "only of so long ago or later, such as 24h; 0 is all that are remembered")
	flags.StringSliceVar(&by, "by", nil, "what to group by, without it reason, rule and project: "+names)
	flags.IntVar(&limit, "limit", 20, "show so many groups, 1,000 at most")
	return cmd
}

// showGroups prints groups of drops; of the columns that nobody asked for,
// looks_like is left out if it says nothing.
func (g *globals) showGroups(t admin.DropGroups, short bool) error {
	if t.Drops == 0 {
		_, err := fmt.Fprintln(g.out, "no drops")
		return err
	}
	if short && !slices.ContainsFunc(t.Groups, func(o admin.DropGroup) bool { return o.By["looks_like"] != "" }) {
		t.By = slices.DeleteFunc(t.By, func(name string) bool { return name == "looks_like" })
	}
	heading := []string{"DROPS", "LAST"}
	for _, name := range t.By {
		heading = append(heading, strings.ToUpper(name))
	}
	rows := [][]string{heading}
	for _, o := range t.Groups {
		row := []string{fmt.Sprint(o.Drops), ago(o.Last)}
		for _, name := range t.By {
			row = append(row, printable(o.By[name]))
		}
		rows = append(rows, row)
	}
	if err := g.table(rows...); err != nil {
		return err
	}
	what := count(t.Drops, "drop")
	if t.Described {
		what += " of the last 1,000"
	}
	_, err := fmt.Fprintf(g.out, "%s within %s", what, ago(*t.From))
	if err == nil && t.Others > 0 {
		_, err = fmt.Fprintf(g.out, ", %d of them in groups not shown", t.Others)
	}
	if err == nil && t.Forgotten > 0 {
		_, err = fmt.Fprintf(g.out, "; %d more were given up for want of room", t.Forgotten)
	}
	if err == nil {
		_, err = fmt.Fprintln(g.out)
	}
	return err
}
