package shipper

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
)

// maxSessions bounds how many different sessions a survey tells apart, and
// maxProjects likewise; beyond it the count says "at least".
const (
	maxSessions = 200_000
	maxProjects = 10_000
)

// Survey is what a stretch of the log holds.
type Survey struct {
	Events   uint64   `json:"events"`
	Sessions int      `json:"sessions"`
	Projects []string `json:"projects"`
	Days     []string `json:"days"` // of received_at, UTC
	Bytes    int64    `json:"bytes"`
	AtLeast  bool     `json:"at_least,omitempty"` // sessions or projects were too many to tell apart
	Lost     uint64   `json:"lost,omitempty"`     // damaged in the log
}

func newSurvey() Survey { return Survey{Projects: []string{}, Days: []string{}} }

// survey reads first..last, and counts the events that are wanted.
func survey(ctx context.Context, log Log, first, last uint64, wanted func(*Event) bool) (s Survey, err error) {
	type session struct{ project, session string }
	sessions, projects, days := map[session]bool{}, map[string]bool{}, map[string]bool{}
	scan := NewScan(log, first, last)
	defer func() { err = errors.Join(err, scan.Close()) }()
	s = newSurvey()
	for {
		e, ok, err := scan.Next(ctx)
		if err != nil {
			return s, err
		}
		if !ok {
			break
		}
		if !wanted(&e) {
			continue
		}
		s.Events++
		s.Bytes += int64(len(e.Raw))
		days[e.ReceivedAt.UTC().Format(time.DateOnly)] = true
		if !projects[e.Project] {
			if len(projects) < maxProjects {
				projects[strings.Clone(e.Project)] = true // a key must not hold its whole block in memory
			} else {
				s.AtLeast = true
			}
		}
		if key := (session{e.Project, e.Session}); !sessions[key] {
			if len(sessions) < maxSessions {
				sessions[session{strings.Clone(key.project), strings.Clone(key.session)}] = true
			} else {
				s.AtLeast = true
			}
		}
	}
	for _, g := range scan.Lost() {
		if g.First <= last {
			s.Lost += min(g.Last, last) - g.First + 1
		}
	}
	s.Sessions = len(sessions)
	s.Projects = slices.AppendSeq(s.Projects, maps.Keys(projects))
	s.Days = slices.AppendSeq(s.Days, maps.Keys(days))
	slices.Sort(s.Projects)
	slices.Sort(s.Days)
	return s, nil
}
