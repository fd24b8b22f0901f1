package router

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"forebay/router/event"
)

// MaxProjects is how many projects are counted by name; what comes for further
// ones is counted under OtherProjects.
const MaxProjects = 1000

// OtherProjects is where projects beyond MaxProjects are counted. Requests
// without a known key are counted under the empty name.
const OtherProjects = "(other)"

// UnknownProject is where events are counted that were accepted so shortly
// before a crash that only their number is known.
const UnknownProject = "(unknown)"

// Requests counts requests. Received = InFlight + Decoded + Dropped. The equation
// can fail, which is its use: InFlight is counted up and down by itself, not
// computed from the others, so an outcome that is counted twice or never shows.
type Requests struct {
	Received uint64            `json:"received"`
	InFlight uint64            `json:"in_flight"` // received, and neither decoded nor dropped yet
	Decoded  uint64            `json:"decoded"`
	Dropped  map[string]uint64 `json:"dropped"` // by reason
}

// Events counts the events of decoded requests. Decoded = InFlight + Accepted +
// Dropped, always: as many go in flight and leave it as were decoded, while
// Accepted and Dropped are counted event by event at the outcome.
type Events struct {
	Decoded  uint64            `json:"decoded"`
	InFlight uint64            `json:"in_flight"` // decoded, and neither accepted nor dropped yet
	Accepted uint64            `json:"accepted"`  // durable in the log
	Dropped  map[string]uint64 `json:"dropped"`   // by reason
}

// Tally is a snapshot of what became of all requests and events.
type Tally struct {
	Requests Requests `json:"requests"`
	Events   Events   `json:"events"`
	// Projects has the same by project. A request counts for its project once
	// its key is known, so Received and InFlight stay 0 here.
	Projects map[string]ProjectTally `json:"projects"`
}

// ProjectTally is what became of one project's requests and events.
type ProjectTally struct {
	Requests Requests `json:"requests"`
	Events   Events   `json:"events"`
}

// Imbalance returns by how much received requests and decoded events exceed
// what became of them. Both are 0 unless there is a bug.
func (t Tally) Imbalance() (requests, events int64) {
	r, e := t.Requests, t.Events
	requests = int64(r.Received) - int64(r.InFlight) - int64(r.Decoded) - int64(total(r.Dropped))
	events = int64(e.Decoded) - int64(e.InFlight) - int64(e.Accepted) - int64(total(e.Dropped))
	return requests, events
}

// Unbalanced says what does not add up, "" if all does: in the whole, in one
// project, or between the whole and the projects.
func (t Tally) Unbalanced() string {
	if requests, events := t.Imbalance(); requests != 0 || events != 0 {
		return fmt.Sprintf("requests %+d, events %+d", requests, events)
	}
	var sum struct{ requests, droppedRequests, events, accepted, droppedEvents uint64 }
	for name, p := range t.Projects {
		if _, events := (Tally{Events: p.Events}).Imbalance(); events != 0 {
			return fmt.Sprintf("events of project %q %+d", name, events)
		}
		sum.requests += p.Requests.Decoded
		sum.droppedRequests += total(p.Requests.Dropped)
		sum.events += p.Events.Decoded
		sum.accepted += p.Events.Accepted
		sum.droppedEvents += total(p.Events.Dropped)
	}
	for _, c := range []struct {
		what       string
		all, parts uint64
	}{
		{"decoded requests", t.Requests.Decoded, sum.requests},
		{"dropped requests", total(t.Requests.Dropped), sum.droppedRequests},
		{"decoded events", t.Events.Decoded, sum.events},
		{"accepted events", t.Events.Accepted, sum.accepted},
		{"dropped events", total(t.Events.Dropped), sum.droppedEvents},
	} {
		if c.all != c.parts {
			return fmt.Sprintf("%s: %d in the whole, %d by project", c.what, c.all, c.parts)
		}
	}
	return ""
}

func total(dropped map[string]uint64) (n uint64) {
	for _, d := range dropped {
		n += d
	}
	return n
}

// counts are the running figures behind a Tally.
type counts struct {
	received, inFlight, decoded                   uint64
	eventsDecoded, eventsInFlight, eventsAccepted uint64
	dropped                                       [event.ReasonCount]uint64
}

// tally counts under one lock, so that a snapshot is one moment.
type tally struct {
	mu       sync.Mutex
	all      counts
	projects map[string]*counts
}

func newTally() *tally { return &tally{projects: make(map[string]*counts)} }

// project returns the counts of a project; the lock is held.
func (t *tally) project(name string) *counts {
	if c, ok := t.projects[name]; ok {
		return c
	}
	if len(t.projects) >= MaxProjects && name != "" {
		name = OtherProjects
		if c, ok := t.projects[name]; ok {
			return c
		}
	}
	c := new(counts)
	t.projects[name] = c
	return c
}

// received counts a request that has arrived, and returns its number.
func (t *tally) received() (number uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all.received++
	t.all.inFlight++
	return t.all.received
}

// stage is how far a request has been counted.
type stage uint8

const (
	stageReceived stage = iota // in flight
	stageDecoded               // its events are in flight
	stageDone
)

// droppedRequest counts the outcome of a request that was not decoded; from is
// the stage that it leaves.
func (t *tally) droppedRequest(from stage, project string, reason event.Reason) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if from == stageReceived {
		t.all.inFlight--
	}
	t.all.dropped[reason]++
	t.project(project).dropped[reason]++
}

// decoded counts a request whose body was taken apart into events, and returns
// the number of the last of them.
func (t *tally) decoded(from stage, project string, events int) (number uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if from == stageReceived {
		t.all.inFlight--
	}
	for _, c := range [...]*counts{&t.all, t.project(project)} {
		c.decoded++
		c.eventsDecoded += uint64(events)
		c.eventsInFlight += uint64(events)
	}
	return t.all.eventsDecoded
}

// outcome is what became of the events of one request.
type outcome struct {
	accepted int
	dropped  [event.ReasonCount]int
}

// settled counts the outcome of a decoded request; events is how many were
// decoded.
func (t *tally) settled(from stage, project string, events int, o *outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range [...]*counts{&t.all, t.project(project)} {
		if from == stageDecoded {
			c.eventsInFlight -= uint64(events)
		}
		c.eventsAccepted += uint64(o.accepted)
		for reason, n := range o.dropped {
			c.dropped[reason] += uint64(n)
		}
	}
}

// left notes that a request is over. Unless it was counted to its end, which is
// a bug, what it leaves in flight has no outcome, and the tally is off for good.
func (t *tally) left(at stage, project string, events int) {
	if at == stageDone {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if at == stageReceived {
		t.all.inFlight--
		return
	}
	for _, c := range [...]*counts{&t.all, t.project(project)} {
		c.eventsInFlight -= uint64(events)
	}
}

// snapshot reads everything in one moment.
func (t *tally) snapshot() Tally {
	t.mu.Lock()
	all := t.all
	projects := make(map[string]counts, len(t.projects))
	for name, c := range t.projects {
		projects[name] = *c
	}
	t.mu.Unlock()
	out := Tally{Projects: make(map[string]ProjectTally, len(projects))}
	out.Requests, out.Events = all.export()
	for name, c := range projects {
		r, e := c.export()
		out.Projects[name] = ProjectTally{Requests: r, Events: e}
	}
	return out
}

func (c *counts) export() (Requests, Events) {
	r := Requests{Received: c.received, InFlight: c.inFlight, Decoded: c.decoded, Dropped: map[string]uint64{}}
	for _, reason := range event.RequestReasons() {
		r.Dropped[reason.String()] = c.dropped[reason]
	}
	e := Events{Decoded: c.eventsDecoded, InFlight: c.eventsInFlight, Accepted: c.eventsAccepted, Dropped: map[string]uint64{}}
	for _, reason := range event.EventReasons() {
		e.Dropped[reason.String()] = c.dropped[reason]
	}
	return r, e
}

// restore adds what an earlier process had counted. What was in flight then is
// left out on both sides: nobody knows what became of it.
func (t *tally) restore(saved Tally) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all.restore(saved.Requests, saved.Events)
	for _, name := range slices.Sorted(maps.Keys(saved.Projects)) {
		p := saved.Projects[name]
		t.project(name).restore(p.Requests, p.Events)
	}
}

func (c *counts) restore(r Requests, e Events) {
	c.received += r.Received - r.InFlight
	c.decoded += r.Decoded
	c.eventsDecoded += e.Decoded - e.InFlight
	c.eventsAccepted += e.Accepted
	for _, reason := range event.RequestReasons() {
		c.dropped[reason] += r.Dropped[reason.String()]
	}
	for _, reason := range event.EventReasons() {
		c.dropped[reason] += e.Dropped[reason.String()]
	}
}
