package admin

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/julienschmidt/httprouter"

	"forebay/node/drops"
	"forebay/router"
)

// DropMemory tells how much was dropped; *drops.Memory does.
type DropMemory interface {
	Cells(since time.Time, fn func(drops.Cell)) (forgotten uint64)
}

// What drops are grouped by: counted holds what the memory counts by, described
// what only the last drops, which are described one by one, can be told apart by.
var (
	counted = map[string]func(drops.Cell) string{
		"reason":     func(c drops.Cell) string { return c.Reason },
		"rule":       func(c drops.Cell) string { return c.Rule },
		"project":    func(c drops.Cell) string { return c.Project },
		"looks_like": func(c drops.Cell) string { return c.LooksLike },
		"minute":     func(c drops.Cell) string { return startText(c, time.Minute) },
		"hour":       func(c drops.Cell) string { return startText(c, time.Hour) },
	}
	described = map[string]func(router.Drop) string{
		"reason":      func(d router.Drop) string { return d.Reason },
		"rule":        func(d router.Drop) string { return d.Rule },
		"project":     func(d router.Drop) string { return d.Project },
		"looks_like":  func(d router.Drop) string { return d.LooksLike },
		"field":       func(d router.Drop) string { return d.Field },
		"key":         func(d router.Drop) string { return d.KeyID },
		"sdk_version": func(d router.Drop) string { return d.SDKVersion },
		"app_id":      func(d router.Drop) string { return d.AppID },
	}
)

// startText is the minute or hour that a count is of: an hour, if minutes are
// not known any more.
func startText(c drops.Cell, width time.Duration) string {
	if c.Width >= time.Hour || width >= time.Hour {
		return c.Start.Truncate(time.Hour).Format("2006-01-02T15Z")
	}
	return c.Start.Format("2006-01-02T15:04Z")
}

// DropFields are the names that drops can be grouped by.
func DropFields() []string {
	all := maps.Clone(counted)
	for name := range described {
		all[name] = nil
	}
	return slices.Sorted(maps.Keys(all))
}

// Bounds of the groups in one answer.
const (
	defaultGroups = 20
	maxGroups     = 1000
)

// DropGroups are drops by what they have in common.
type DropGroups struct {
	By        []string    `json:"by"`
	Described bool        `json:"described,omitempty"` // only of the last drops, which are described one by one
	Drops     uint64      `json:"drops"`               // altogether
	From      *time.Time  `json:"from,omitempty"`      // of the oldest, to the minute or the hour
	Groups    []DropGroup `json:"groups"`
	Others    uint64      `json:"others"`              // drops of groups that are not shown
	Forgotten uint64      `json:"forgotten,omitempty"` // drops since the node's start whose counts were given up for want of room
}

// DropGroup are those of which the fields are the same.
type DropGroup struct {
	Drops uint64            `json:"drops"`
	Last  time.Time         `json:"last"`
	By    map[string]string `json:"by"`
}

// grouping collects groups.
type grouping struct {
	DropGroups
	at map[string]int // by the values of By
}

func (g *grouping) add(value func(name string) string, n uint64, from, last time.Time) {
	if g.Drops += n; g.From == nil || from.Before(*g.From) {
		g.From = &from
	}
	values := make([]string, len(g.By))
	for i, name := range g.By {
		values[i] = value(name)
	}
	key := strings.Join(values, "\x00")
	at, known := g.at[key]
	if !known {
		at = len(g.Groups)
		g.at[key] = at
		group := DropGroup{By: map[string]string{}}
		for i, name := range g.By {
			group.By[name] = values[i]
		}
		g.Groups = append(g.Groups, group)
	}
	group := &g.Groups[at]
	if group.Drops += n; last.After(group.Last) {
		group.Last = last
	}
}

func (g *grouping) top(limit int) DropGroups {
	slices.SortFunc(g.Groups, func(a, b DropGroup) int {
		if c := cmp.Or(cmp.Compare(b.Drops, a.Drops), b.Last.Compare(a.Last)); c != 0 {
			return c
		}
		for _, name := range g.By {
			if c := cmp.Compare(a.By[name], b.By[name]); c != 0 {
				return c
			}
		}
		return 0
	})
	for _, o := range g.Groups[min(limit, len(g.Groups)):] {
		g.Others += o.Drops
	}
	g.Groups = g.Groups[:min(limit, len(g.Groups))]
	return g.DropGroups
}

// topDrops groups drops: ?by=&project=&reason=&since=&limit=.
func (a *api) topDrops(r *http.Request, _ httprouter.Params) (any, error) {
	filter, err := newDropFilter(r)
	if err != nil {
		return nil, err
	}
	limit, err := number(r, "limit", defaultGroups)
	if err != nil {
		return nil, err
	}
	g := grouping{DropGroups: DropGroups{By: []string{"reason", "rule", "project", "looks_like"}, Groups: []DropGroup{}}, at: map[string]int{}}
	if by := r.URL.Query().Get("by"); by != "" {
		g.By = strings.Split(by, ",")
	}
	slots := 0
	for _, name := range g.By {
		switch {
		case counted[name] == nil && described[name] == nil:
			return nil, refuse(http.StatusBadRequest, "drops cannot be grouped by %q, only by %s", name, strings.Join(DropFields(), ", "))
		case counted[name] == nil:
			g.Described = true
		case described[name] == nil:
			slots++
		}
	}
	if g.Described && slots > 0 {
		return nil, refuse(http.StatusBadRequest, "what drops are counted by in minutes and hours is reason, rule, project and looks_like: leave out the others, or minute and hour")
	}
	if g.Described {
		err = a.groupDescribed(&g, filter)
	} else {
		g.Forgotten = a.DropMemory.Cells(filter.Since, func(c drops.Cell) {
			if (filter.Project == "" || filter.Project == c.Project) && (filter.Reason == "" || filter.Reason == c.Reason) {
				g.add(func(name string) string { return counted[name](c) }, c.Drops, c.Start, c.Last)
			}
		})
	}
	return g.top(int(min(limit, maxGroups))), err
}

func (a *api) groupDescribed(g *grouping, filter DropFilter) error {
	all, err := a.dropped()
	if err != nil {
		return err
	}
	for _, d := range filter.last(all.Drops(maxDrops), maxDrops) {
		g.add(func(name string) string { return described[name](d) }, 1, d.Time, d.Time)
	}
	return nil
}

// TopDrops groups drops by the fields named, the most frequent first.
func (c *Client) TopDrops(ctx context.Context, f DropFilter, by []string, limit int) (g DropGroups, err error) {
	more := url.Values{"limit": {strconv.Itoa(limit)}}
	if len(by) > 0 {
		more.Set("by", strings.Join(by, ","))
	}
	return g, c.get(ctx, fmt.Sprintf("/admin/v1/drops/top%s&%s", f.query(), more.Encode()), &g)
}
