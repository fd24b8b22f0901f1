package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/julienschmidt/httprouter"

	"forebay/router"
)

// Names of the events of a stream of drops.
const (
	dropEvent   = "drop"   // a router.Drop
	missedEvent = "missed" // a Missed
)

// Missed tells that an operator could not be told of some drops, since they
// came faster than they were read.
type Missed struct {
	Drops uint64 `json:"drops"`
}

// maxDrops bounds one answer; no more are kept.
const maxDrops = 1000

// DropFilter selects drops; a zero field selects all.
type DropFilter struct {
	Project string
	Reason  string
	Since   time.Time
}

func newDropFilter(r *http.Request) (f DropFilter, err error) {
	q := r.URL.Query()
	f = DropFilter{Project: q.Get("project"), Reason: q.Get("reason")}
	f.Since, err = timeParam(r, "since")
	return f, err
}

// timeParam reads ?NAME=TIME; a zero time if there is none.
func timeParam(r *http.Request, name string) (time.Time, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, refuse(http.StatusBadRequest, "%s=%q is not a time like 2026-11-23T10:00:00Z", name, text)
	}
	return t, nil
}

func (f DropFilter) takes(d router.Drop) bool {
	return (f.Project == "" || f.Project == d.Project) && (f.Reason == "" || f.Reason == d.Reason) && !d.Time.Before(f.Since)
}

// last are the last n of those that are selected.
func (f DropFilter) last(all []router.Drop, n uint64) (wanted []router.Drop) {
	for _, d := range all {
		if f.takes(d) {
			wanted = append(wanted, d)
		}
	}
	return wanted[max(0, len(wanted)-int(min(n, maxDrops))):]
}

func (f DropFilter) query() string {
	q := url.Values{}
	if f.Project != "" {
		q.Set("project", f.Project)
	}
	if f.Reason != "" {
		q.Set("reason", f.Reason)
	}
	if !f.Since.IsZero() {
		q.Set("since", f.Since.UTC().Format(time.RFC3339Nano))
	}
	return "?" + q.Encode()
}

// dropped returns what the front door has dropped of late, or why it cannot be
// told.
func (a *api) dropped() (Drops, error) {
	if a.Drops == nil {
		return nil, refuse(http.StatusUnprocessableEntity, "the node is stopped: drops are only described while it runs")
	}
	return a.Drops, nil
}

// drops answers with the last drops as JSON lines, the oldest first:
// ?project=&reason=&since=&limit=.
func (a *api) drops(w http.ResponseWriter, r *http.Request, _ httprouter.Params) {
	a.lines(w, r, func(line func(any) error) error {
		drops, err := a.dropped()
		if err != nil {
			return err
		}
		filter, err := newDropFilter(r)
		if err != nil {
			return err
		}
		limit, err := number(r, "limit", maxDrops)
		if err != nil {
			return err
		}
		for _, d := range filter.last(drops.Drops(maxDrops), limit) {
			if err := line(d); err != nil {
				return err
			}
		}
		return nil
	})
}

// streamDrops sends drops as they happen, after the last ones there were:
// ?project=&reason=&last=, of which none unless told.
func (a *api) streamDrops(ctx context.Context, r *http.Request, s *stream) error {
	drops, err := a.dropped()
	if err != nil {
		return err
	}
	filter, err := newDropFilter(r)
	if err != nil {
		return err
	}
	last, err := number(r, "last", 0)
	if err != nil {
		return err
	}
	watched, stop, ok := drops.WatchDrops()
	if !ok {
		return refuse(http.StatusServiceUnavailable, "drops are watched by as many operators as can be: end one of their streams")
	}
	defer stop()
	next := uint64(0)
	if last > 0 {
		// What happens between the two calls is both among the last ones and watched.
		past := drops.Drops(maxDrops)
		for _, d := range filter.last(past, last) {
			if err := s.write(dropEvent, d); err != nil {
				return err
			}
		}
		if len(past) > 0 {
			next = past[len(past)-1].Number + 1
		}
	}
	return follow(ctx, s, dropEvent, watched, func(d router.Drop) bool {
		if d.Number < next {
			return false
		}
		if next != 0 && d.Number != next {
			// A connection that fails here fails at the next write, too.
			_ = s.write(missedEvent, Missed{Drops: d.Number - next})
		}
		next = d.Number + 1
		return filter.takes(d)
	})
}

// Drops calls fn for the last drops, at most 1,000, the oldest first.
func (c *Client) Drops(ctx context.Context, f DropFilter, fn func(router.Drop) error) error {
	return eachLine(ctx, c, "/admin/v1/drops"+f.query(), fn)
}

// WatchDrops calls fn for the last drops there were and every one from now on,
// and missed when some came too fast to be told of, until ctx ends, the node
// stops or one of them returns an error.
func (c *Client) WatchDrops(ctx context.Context, f DropFilter, last int, fn func(router.Drop) error, missed func(Missed) error) error {
	return c.stream(ctx, fmt.Sprintf("/admin/v1/drops/stream%s&last=%d", f.query(), last), func(name string, data []byte) error {
		switch name {
		case dropEvent:
			return decodeEvent(data, fn)
		case missedEvent:
			return decodeEvent(data, missed)
		}
		return nil // of a later version
	})
}

func decodeEvent[T any](data []byte, fn func(T) error) error {
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		return fmt.Errorf("read an event of the node: %w", err)
	}
	return fn(v)
}
