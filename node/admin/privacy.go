package admin

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/julienschmidt/httprouter"

	"forebay/router"
	"forebay/router/privacy"
	"forebay/shipper"
)

const (
	// maxInspected is how many events one answer looks at; a caller goes on from
	// NextSeq.
	maxInspected = 10_000
	// maxFields is how many fields are counted by name, for each project and
	// detector. Others count under otherFields.
	maxFields   = 20
	otherFields = "(other)"
)

// PrivacyQuery says what of the log's history to look at, and for what.
type PrivacyQuery struct {
	Since    time.Time // received then or later
	Detector string    // empty: all
	Project  string    // empty: all
}

// PrivacyReport tells what the detectors find in events that the log holds.
type PrivacyReport struct {
	FirstSeq uint64           `json:"first_seq"` // of what was looked at
	LastSeq  uint64           `json:"last_seq"`  // of what is to be looked at: the newest when it began
	NextSeq  uint64           `json:"next_seq"`  // first not yet looked at; LastSeq+1 at the end
	Events   uint64           `json:"events"`    // looked at
	Lost     uint64           `json:"lost"`      // seqs in damaged blocks
	Invalid  uint64           `json:"invalid"`   // events that do not decode, and were not looked at
	Projects []PrivacyProject `json:"projects"`  // by name
}

// PrivacyProject is one project's part of a report.
type PrivacyProject struct {
	Project   string            `json:"project"`
	Events    uint64            `json:"events"`    // looked at
	Found     uint64            `json:"found"`     // those in which any detector finds something
	Detectors []PrivacyDetector `json:"detectors"` // those that find something
}

// PrivacyDetector is what one detector finds in one project's events.
type PrivacyDetector struct {
	Detector string            `json:"detector"`
	Action   string            `json:"action"` // as it is configured: drop or report
	Events   uint64            `json:"events"` // that would be dropped if it is drop
	Fields   map[string]uint64 `json:"fields"` // places where it finds something; at most 20 by name
}

// PrivacyReport looks at the events that the query selects, a part of the log at
// a time, and calls progress after each with what was found up to there.
func (c *Client) PrivacyReport(ctx context.Context, q PrivacyQuery, progress func(PrivacyReport)) (PrivacyReport, error) {
	v := url.Values{"since": {q.Since.Format(time.RFC3339Nano)}, "detector": {q.Detector}, "project": {q.Project}}
	var all PrivacyReport
	for {
		var part PrivacyReport
		if err := c.get(ctx, "/admin/v1/privacy/report?"+v.Encode(), &part); err != nil {
			return all, err
		}
		all.add(part)
		progress(all)
		if all.NextSeq > all.LastSeq {
			return all, nil
		}
		v.Set("from", strconv.FormatUint(all.NextSeq, 10))
		v.Set("to", strconv.FormatUint(all.LastSeq, 10))
	}
}

// add takes in the part of a report that follows.
func (r *PrivacyReport) add(part PrivacyReport) {
	if r.FirstSeq == 0 {
		r.FirstSeq, r.LastSeq = part.FirstSeq, part.LastSeq
	}
	r.NextSeq = part.NextSeq
	r.Events += part.Events
	r.Lost += part.Lost
	r.Invalid += part.Invalid
	for _, p := range part.Projects {
		mine := r.project(p.Project)
		mine.Events += p.Events
		mine.Found += p.Found
		for _, d := range p.Detectors {
			to := mine.detector(d.Detector, d.Action)
			to.Events += d.Events
			for field, n := range d.Fields {
				to.count(field, n)
			}
		}
	}
}

// project returns the part of a project, of one in the name of all others if
// there are too many.
func (r *PrivacyReport) project(name string) *PrivacyProject {
	by := func(p PrivacyProject, name string) int { return cmp.Compare(p.Project, name) }
	i, found := slices.BinarySearchFunc(r.Projects, name, by)
	if !found && len(r.Projects) >= router.MaxProjects && name != router.OtherProjects {
		return r.project(router.OtherProjects)
	}
	if !found {
		r.Projects = slices.Insert(r.Projects, i, PrivacyProject{Project: name})
	}
	return &r.Projects[i]
}

func (p *PrivacyProject) detector(name, action string) *PrivacyDetector {
	i := slices.IndexFunc(p.Detectors, func(d PrivacyDetector) bool { return d.Detector == name })
	if i < 0 {
		i = len(p.Detectors)
		p.Detectors = append(p.Detectors, PrivacyDetector{Detector: name, Action: action, Fields: map[string]uint64{}})
	}
	return &p.Detectors[i]
}

func (d *PrivacyDetector) count(field string, n uint64) {
	if _, known := d.Fields[field]; !known && len(d.Fields) >= maxFields {
		field = otherFields
	}
	d.Fields[field] += n
}

// privacyReport looks at up to maxInspected events from ?from= or ?since= on, up
// to ?to=. One part is made at a time, so that reports take one core at most.
func (a *api) privacyReport(r *http.Request, _ httprouter.Params) (any, error) {
	first, last, err := a.historyRange(r)
	if err != nil {
		return nil, err
	}
	wanted, err := wantedDetectors(r.URL.Query().Get("detector"))
	if err != nil {
		return nil, err
	}
	select {
	case a.inspecting <- struct{}{}:
		defer func() { <-a.inspecting }()
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	checker, err := a.Privacy()
	if err != nil {
		return nil, err
	}
	inspector, err := router.NewInspector(router.StoredLimits(), checker)
	if err != nil {
		return nil, err
	}
	part := PrivacyReport{FirstSeq: first, LastSeq: last, NextSeq: last + 1, Projects: []PrivacyProject{}}
	return part, a.inspect(r.Context(), &part, inspector, checker, wanted, r.URL.Query().Get("project"))
}

func (a *api) historyRange(r *http.Request) (first, last uint64, err error) {
	since, err := timeParam(r, "since")
	if err != nil {
		return 0, 0, err
	}
	if last, err = number(r, "to", a.Log.DurableSeq()); err != nil {
		return 0, 0, err
	}
	if first, err = number(r, "from", 0); err != nil {
		return 0, 0, err
	}
	if first == 0 && !since.IsZero() {
		first, err = a.Log.SeekTime(since)
	}
	return max(first, a.Log.FirstSeq()), last, err
}

// wantedDetectors is the one detector of this name, or all.
func wantedDetectors(name string) (privacy.Set, error) {
	if name == "" {
		return 1<<privacy.DetectorCount - 1, nil
	}
	d, err := privacy.ParseDetector(name)
	if err != nil {
		return 0, failure{http.StatusBadRequest, err}
	}
	return privacy.Set(0).With(d), nil
}

// inspect adds what is found in the events from part.FirstSeq on, and says where
// it ended.
func (a *api) inspect(ctx context.Context, part *PrivacyReport, inspector *router.Inspector, checker *privacy.Checker, wanted privacy.Set, project string) (err error) {
	events := shipper.NewScan(a.Log, part.FirstSeq, part.LastSeq)
	defer func() { err = errors.Join(err, events.Close()) }()
	for n := 0; ; n++ {
		e, ok, err := events.Next(ctx)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if n == maxInspected {
			part.NextSeq = e.Seq
			break
		}
		if project == "" || e.Project == project {
			part.inspected(&e, inspector.InspectStored(e.Raw, e.AppID, e.SDKVersion), wanted, checker.Drops(e.Project))
		}
	}
	for _, gap := range events.Lost() {
		if last := min(gap.Last, part.NextSeq-1); last >= gap.First {
			part.Lost += last - gap.First + 1
		}
	}
	return nil
}

// inspected counts what was found in one event.
func (r *PrivacyReport) inspected(e *shipper.Event, found router.Inspected, wanted, drops privacy.Set) {
	if found.Refusal.Refused() {
		r.Invalid++
		return
	}
	r.Events++
	p := r.project(e.Project)
	p.Events++
	if found.Found()&wanted == 0 {
		return
	}
	p.Found++
	var counted privacy.Set
	for _, place := range found.Places {
		if !wanted.Has(place.Detector) {
			continue
		}
		action := "report"
		if drops.Has(place.Detector) {
			action = "drop"
		}
		d := p.detector(place.Detector.String(), action)
		if !counted.Has(place.Detector) {
			counted = counted.With(place.Detector)
			d.Events++
		}
		d.count(place.Field, 1)
	}
}
