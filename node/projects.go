package node

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"forebay/router"
)

// maxProjectLabels is how many projects have metrics of their own; all further
// ones share those of the project "other". The ledger and the API tell more of
// them apart. A process keeps the names that it has once shown, so that no
// counter runs backwards.
const maxProjectLabels = 100

const (
	otherProjects = "other"
	noProject     = "none" // requests without a known key
)

// projectLabels chooses the projects that are shown. It is safe for concurrent
// use.
type projectLabels struct {
	mu    sync.Mutex
	shown map[string]bool
}

// projectCounts is what the metrics say of a project.
type projectCounts struct {
	decoded, accepted              uint64
	droppedRequests, droppedEvents map[string]uint64 // by reason
}

// fold sums what is not shown by name. While there is room, the projects with
// most events get it.
func (l *projectLabels) fold(all map[string]router.ProjectTally) map[string]*projectCounts {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shown == nil {
		l.shown = map[string]bool{}
	}
	names := slices.SortedFunc(maps.Keys(all), func(a, b string) int {
		return cmp.Or(cmp.Compare(all[b].Events.Decoded, all[a].Events.Decoded), cmp.Compare(a, b))
	})
	folded := map[string]*projectCounts{}
	for _, name := range names {
		c := l.into(folded, name)
		p := all[name]
		c.decoded += p.Events.Decoded
		c.accepted += p.Events.Accepted
		for reason, n := range p.Requests.Dropped {
			c.droppedRequests[reason] += n
		}
		for reason, n := range p.Events.Dropped {
			c.droppedEvents[reason] += n
		}
	}
	return folded
}

// into is the entry that a project counts in.
func (l *projectLabels) into(folded map[string]*projectCounts, name string) *projectCounts {
	label := name
	switch {
	case name == "":
		label = noProject
	case name == router.OtherProjects:
		label = otherProjects
	case l.shown[name]:
	case len(l.shown) < maxProjectLabels:
		l.shown[name] = true
	default:
		label = otherProjects
	}
	if folded[label] == nil {
		folded[label] = &projectCounts{droppedRequests: map[string]uint64{}, droppedEvents: map[string]uint64{}}
	}
	return folded[label]
}

// projects leaves out the reasons that a project has not met.
func (e emitter) projects(all map[string]*projectCounts) {
	for name, p := range all {
		e.counter("forebay_project_events_decoded_total", "Events of decoded requests, by project.", float64(p.decoded), "project", name)
		e.counter("forebay_project_events_accepted_total", "Events on disk, by project.", float64(p.accepted), "project", name)
		for reason, n := range p.droppedRequests {
			if n > 0 {
				e.counter("forebay_project_requests_dropped_total", "Requests dropped whole, by project and reason.", float64(n), "project", name, "reason", reason)
			}
		}
		for reason, n := range p.droppedEvents {
			if n > 0 {
				e.counter("forebay_project_events_dropped_total", "Events dropped, by project and reason.", float64(n), "project", name, "reason", reason)
			}
		}
	}
}
