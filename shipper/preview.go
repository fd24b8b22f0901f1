package shipper

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxSessions bounds how many different sessions a preview tells apart, and
// maxProjects likewise; beyond it the count says "at least".
const (
	maxSessions = 200_000
	maxProjects = 10_000
)

// Preview is what moving a cursor would mean.
type Preview struct {
	Cursor     string   `json:"cursor"`
	From       uint64   `json:"from"`
	To         uint64   `json:"to"`
	Verb       string   `json:"verb"`   // rewind or skip
	Events     uint64   `json:"events"` // delivered again, or passed over
	Sessions   int      `json:"sessions"`
	Projects   []string `json:"projects"`
	Days       []string `json:"days"` // of received_at, UTC
	Bytes      int64    `json:"bytes"`
	AtLeast    bool     `json:"at_least,omitempty"` // sessions or projects were too many to tell apart
	Duplicates uint64   `json:"duplicates"`         // events that the destination has had before
	Lost       uint64   `json:"lost,omitempty"`     // damaged in the log
	NotKept    uint64   `json:"not_kept,omitempty"` // asked for, but retention has removed them
	Oldest     uint64   `json:"oldest"`             // the oldest seq that can be rewound to
	Seconds    float64  `json:"seconds,omitempty"`  // to finish at the rate of the last minute; 0 if unknown
}

// Preview reads the range between the cursor and seq to, and says what a
// rewind (to is behind) or a skip (to is ahead) would touch. It changes
// nothing. A seq that is no longer kept is taken as the oldest that is, and
// what is missing is told in NotKept.
func (c *Cursor) Preview(ctx context.Context, to uint64) (Preview, error) {
	return c.preview(ctx, c.position(), to)
}

// Touched is Preview of a move that was made: exactly what lies between where
// the cursor stood and where it went, however far it had come since somebody
// looked before.
func (c *Cursor) Touched(ctx context.Context, m Moved) (Preview, error) {
	at := c.position()
	at.Next = m.From
	if at.Undo != nil {
		at.Skipped = at.Undo.Skipped
	}
	return c.preview(ctx, at, m.To)
}

// preview is Preview of a cursor that stands at a certain place.
func (c *Cursor) preview(ctx context.Context, at position, to uint64) (Preview, error) {
	oldest, durable := max(c.log.FirstSeq(), 1), c.log.DurableSeq()
	p := Preview{Cursor: c.name, From: at.Next, Verb: "rewind", Oldest: oldest, Projects: []string{}, Days: []string{}}
	first, last := to, at.Next-1
	switch {
	case to > durable+1:
		return p, c.refuse("seq %d is past the end of the log; the furthest is %d", to, durable+1)
	case to > at.Next:
		p.Verb = "skip"
		first, last = at.Next, to-1
	case to < oldest: // and the cursor itself may stand before the oldest
		first = min(oldest, at.Next)
		p.NotKept = first - max(to, 1)
		to = first
	}
	p.To = to
	if first > last {
		return p, nil
	}
	if err := c.survey(ctx, &p, first, last); err != nil {
		return p, fmt.Errorf("preview of cursor %s: %w", c.name, err)
	}
	if p.Verb == "rewind" {
		p.Duplicates = p.Events - min(p.Events, countWithin(at.Skipped, first, last))
		c.mu.Lock()
		rate := c.rate.perSecond(time.Now())
		c.mu.Unlock()
		if rate > 0 {
			p.Seconds = float64(p.Events+durable+1-at.Next) / rate
		}
	}
	return p, nil
}

func (c *Cursor) survey(ctx context.Context, p *Preview, first, last uint64) (err error) {
	type session struct{ project, session string }
	sessions, projects, days := map[session]bool{}, map[string]bool{}, map[string]bool{}
	scan := NewScan(c.log, first, last)
	defer func() { err = errors.Join(err, scan.Close()) }()
	for {
		e, ok, err := scan.Next(ctx)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		p.Events++
		p.Bytes += int64(len(e.Raw))
		days[e.ReceivedAt.UTC().Format(time.DateOnly)] = true
		if !projects[e.Project] {
			if len(projects) < maxProjects {
				projects[strings.Clone(e.Project)] = true // a key must not hold its whole block in memory
			} else {
				p.AtLeast = true
			}
		}
		if key := (session{e.Project, e.Session}); !sessions[key] {
			if len(sessions) < maxSessions {
				sessions[session{strings.Clone(key.project), strings.Clone(key.session)}] = true
			} else {
				p.AtLeast = true
			}
		}
	}
	for _, g := range scan.Lost() {
		p.Lost += min(g.Last, last) - g.First + 1
	}
	p.Sessions = len(sessions)
	for project := range projects {
		p.Projects = append(p.Projects, project)
	}
	for day := range days {
		p.Days = append(p.Days, day)
	}
	slices.Sort(p.Projects)
	slices.Sort(p.Days)
	return nil
}
