package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
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
shown, since the node keeps none. A running node remembers its last 1,000 drops.`,
	}
	c.AddCommand(newDropsTail(g), newDropsTop(g))
	return c
}

func newDropsTail(g *globals) *cobra.Command {
	var f admin.DropFilter
	var last int
	cmd := &cobra.Command{
		Use: "tail", Short: "Show the last drops, and further ones as they happen, until Ctrl-C", Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if last < 0 {
				return usageError{fmt.Errorf("--last %d is below 0", last)}
			}
			return g.withNode(func(c *admin.Client) error {
				err := c.WatchDrops(cmd.Context(), f, last, g.showDrop, func(m admin.Missed) error {
					_, err := fmt.Fprintf(g.err, "%s came too fast to be shown\n", count(m.Drops, "drop"))
					return err
				})
				return g.followed(cmd.Context(), err)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.Project, "project", "", "only of this project")
	flags.StringVar(&f.Reason, "reason", "", "only for this reason")
	flags.IntVar(&last, "last", 10, "begin with so many of those there were, 1,000 at most")
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
	_, err := fmt.Fprintf(g.out, "%s  %-13s %-28s %-18s project=%s key=%s sdk=%s app=%s\n", d.Time.UTC().Format("2006-01-02T15:04:05.000Z"),
		d.Reason, printable(d.Field), printable(d.Rule), printable(d.Project), printable(d.KeyID), printable(d.SDKVersion), printable(d.AppID))
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

// dropFields are what drops can be grouped by.
var dropFields = map[string]func(router.Drop) string{
	"reason":      func(d router.Drop) string { return d.Reason },
	"field":       func(d router.Drop) string { return d.Field },
	"rule":        func(d router.Drop) string { return d.Rule },
	"project":     func(d router.Drop) string { return d.Project },
	"key":         func(d router.Drop) string { return d.KeyID },
	"sdk_version": func(d router.Drop) string { return d.SDKVersion },
	"app_id":      func(d router.Drop) string { return d.AppID },
}

func newDropsTop(g *globals) *cobra.Command {
	var f admin.DropFilter
	var since time.Duration
	var by []string
	var limit int
	names := strings.Join(sortedKeys(dropFields), ", ")
	cmd := &cobra.Command{
		Use: "top", Short: "Group the last 1,000 drops, the most frequent first", Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, name := range by {
				if dropFields[name] == nil {
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
				t := dropGroups{by: by, Groups: []dropGroup{}}
				if err := c.Drops(cmd.Context(), f, func(d router.Drop) error { t.add(d); return nil }); err != nil {
					return err
				}
				t.sort(limit)
				if g.json {
					return g.printJSON(t)
				}
				return g.showGroups(t)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.Project, "project", "", "only of this project")
	flags.StringVar(&f.Reason, "reason", "", "only for this reason")
	flags.DurationVar(&since, "since", 0, "only of so long ago or later, such as 10m; 0 is all that are remembered")
	flags.StringSliceVar(&by, "by", []string{"reason", "rule", "field", "project"}, "what to group by: "+names)
	flags.IntVar(&limit, "limit", 20, "show so many groups")
	return cmd
}

// dropGroups are drops by what they have in common.
type dropGroups struct {
	by     []string
	Drops  int         `json:"drops"`          // altogether
	From   *time.Time  `json:"from,omitempty"` // of the oldest
	Groups []dropGroup `json:"groups"`
	Others int         `json:"others"` // drops of groups that are not shown
}

type dropGroup struct {
	Drops int               `json:"drops"`
	Last  time.Time         `json:"last"`
	By    map[string]string `json:"by"`
}

func (t *dropGroups) add(d router.Drop) {
	if t.Drops++; t.From == nil {
		t.From = &d.Time
	}
	by := map[string]string{}
	for _, name := range t.by {
		by[name] = dropFields[name](d)
	}
	at := slices.IndexFunc(t.Groups, func(o dropGroup) bool { return maps.Equal(o.By, by) })
	if at < 0 {
		at = len(t.Groups)
		t.Groups = append(t.Groups, dropGroup{By: by})
	}
	t.Groups[at].Drops++
	t.Groups[at].Last = d.Time
}

func (t *dropGroups) sort(limit int) {
	slices.SortStableFunc(t.Groups, func(a, b dropGroup) int {
		return cmp.Or(cmp.Compare(b.Drops, a.Drops), b.Last.Compare(a.Last))
	})
	for len(t.Groups) > limit {
		last := len(t.Groups) - 1
		t.Others += t.Groups[last].Drops
		t.Groups = t.Groups[:last]
	}
}

func (g *globals) showGroups(t dropGroups) error {
	if t.Drops == 0 {
		_, err := fmt.Fprintln(g.out, "no drops")
		return err
	}
	heading := []string{"DROPS", "LAST"}
	for _, name := range t.by {
		heading = append(heading, strings.ToUpper(name))
	}
	rows := [][]string{heading}
	for _, o := range t.Groups {
		row := []string{fmt.Sprint(o.Drops), ago(o.Last)}
		for _, name := range t.by {
			row = append(row, printable(o.By[name]))
		}
		rows = append(rows, row)
	}
	if err := g.table(rows...); err != nil {
		return err
	}
	_, err := fmt.Fprintf(g.out, "%s within %s", count(t.Drops, "drop"), ago(*t.From))
	if err == nil && t.Others > 0 {
		_, err = fmt.Fprintf(g.out, ", %d of them in groups not shown", t.Others)
	}
	if err == nil {
		_, err = fmt.Fprintln(g.out)
	}
	return err
}
