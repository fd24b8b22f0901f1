package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"forebay/shipper"
)

const (
	storedEvent = "event" // the name of an Event in a stream
	// followEvery is how often the log is looked at for those who follow it.
	followEvery = 100 * time.Millisecond
)

// EventFilter selects events of the log; an empty field selects all.
type EventFilter struct{ Project, Session string }

func (f EventFilter) takes(e shipper.Event) bool {
	return (f.Project == "" || f.Project == e.Project) && (f.Session == "" || f.Session == e.Session)
}

// streamEvents sends events as they are accepted: ?from=SEQ&project=&session=,
// from the next one unless told. They come out of the log, so that a reader who
// is slow misses none.
func (a *api) streamEvents(ctx context.Context, r *http.Request, s *stream) error {
	if a.Drops == nil {
		return refuse(http.StatusUnprocessableEntity, "the node is stopped: it accepts nothing; forebay wal cat shows what it has")
	}
	from, err := number(r, "from", a.Log.DurableSeq()+1)
	if err != nil {
		return err
	}
	f := EventFilter{Project: r.URL.Query().Get("project"), Session: r.URL.Query().Get("session")}
	if err := s.open(); err != nil {
		return err
	}
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.beat.C:
			err = s.alive()
		case <-tick.C:
			from, err = a.sendEvents(ctx, s, from, f)
		}
		if err != nil {
			return err
		}
	}
}

// sendEvents sends what is durable from a seq on, and returns where it ended.
func (a *api) sendEvents(ctx context.Context, s *stream, from uint64, f EventFilter) (next uint64, err error) {
	last := a.Log.DurableSeq()
	if last < from {
		return from, nil
	}
	events := shipper.NewScan(a.Log, from, last)
	defer func() { err = errors.Join(err, events.Close()) }()
	for {
		e, ok, err := events.Next(ctx)
		switch {
		case err != nil:
			return from, err
		case !ok:
			return last + 1, s.flush()
		case !f.takes(e):
			continue
		}
		if err := s.write(storedEvent, newEvent(e)); err != nil {
			return from, err
		}
	}
}

// WatchEvents calls fn for every event that is accepted from now on, until ctx
// ends, the node stops or fn returns an error.
func (c *Client) WatchEvents(ctx context.Context, f EventFilter, fn func(Event) error) error {
	query := url.Values{"project": {f.Project}, "session": {f.Session}}
	return c.stream(ctx, fmt.Sprintf("/admin/v1/wal/events/stream?%s", query.Encode()), func(name string, data []byte) error {
		if name != storedEvent {
			return nil // of a later version
		}
		return decodeEvent(data, fn)
	})
}
