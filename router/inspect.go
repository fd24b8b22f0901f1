package router

import (
	"sync/atomic"

	"forebay/router/event"
	"forebay/router/privacy"
)

// Finding counts the events in which a privacy detector found something, since
// the router was made.
type Finding struct {
	Detector string `json:"detector"`
	Dropped  uint64 `json:"dropped"`  // events refused for it
	Reported uint64 `json:"reported"` // events let through, as the operator chose
}

// findings counts by detector.
type findings struct {
	dropped, reported [privacy.DetectorCount]atomic.Uint64
}

func (f *findings) add(found, drops privacy.Set) {
	for d := range found.All() {
		if drops.Has(d) {
			f.dropped[d].Add(1)
		} else {
			f.reported[d].Add(1)
		}
	}
}

func (f *findings) list() []Finding {
	all := make([]Finding, privacy.DetectorCount)
	for d := range privacy.DetectorCount {
		all[d] = Finding{Detector: d.String(), Dropped: f.dropped[d].Load(), Reported: f.reported[d].Load()}
	}
	return all
}

// inspect refuses the events that hold personal data. What the sender says
// about itself is stored with every event, so it is inspected too.
func (r *Router) inspect(p *passage, batch *event.Batch) {
	checker := p.settings.Privacy
	drops := checker.Drops(p.key.Project)
	app, sdk := checker.Find(batch.AppID, false), checker.Find(batch.SDKVersion, false)
	var last recall
	for i := range batch.Events {
		refusal := &p.verdict.events[i].refusal
		if refusal.Refused() {
			continue
		}
		e, found := &batch.Events[i], app|sdk
		switch {
		case app&drops != 0:
			*refusal = event.Refusal{Reason: event.Privacy, Field: "app_id", Rule: rule(app & drops)}
		case sdk&drops != 0:
			*refusal = event.Refusal{Reason: event.Privacy, Field: "sdk_version", Rule: rule(sdk & drops)}
		default:
			found |= inspectEvent(checker, batch, &last, e, drops, refusal)
		}
		if found != 0 {
			r.findings.add(found, drops)
		}
	}
	if (app|sdk)&drops != 0 { // the tap shows these; it must not show them now
		p.batch.AppID, p.batch.SDKVersion = "", ""
	}
}

// recallTexts is how many texts of an event are recalled, its first ones. All
// others are looked at in every event.
const recallTexts = 256

// recall is what was found in the texts of the event that was looked at last. What
// is found in a text follows from the text alone, and most texts of a batch stand
// at the same place of the event before too. Something that was found is recalled
// as well as nothing: else a refused batch would take longer than a stored one.
type recall struct {
	event *event.Event
	found [recallTexts]privacy.Set // by place; of names that the event package knows it says nothing
	upTo  int                      // it was looked at below this place, at most recallTexts
}

// find is checker.Find, which it spares where it can.
func (r *recall) find(checker *privacy.Checker, batch *event.Batch, t event.Text) privacy.Set {
	if t.Place >= recallTexts {
		return checker.Find(t.Value, t.IsKey)
	}
	if t.Place >= r.upTo || !batch.Alike(t, r.event) {
		r.found[t.Place] = checker.Find(t.Value, t.IsKey)
	}
	return r.found[t.Place]
}

// inspectEvent looks at one event until something drops it, and returns all
// that was found. It is the one that last recalls afterwards.
func inspectEvent(checker *privacy.Checker, batch *event.Batch, last *recall, e *event.Event, drops privacy.Set, refusal *event.Refusal) (found privacy.Set) {
	upTo := 0
	batch.Texts(e, func(t event.Text) bool {
		here := last.find(checker, batch, t)
		upTo = min(t.Place+1, recallTexts)
		if here == 0 {
			return true
		}
		found |= here
		if here &= drops; here == 0 {
			return true
		}
		*refusal = event.Refusal{Reason: event.Privacy, Field: place(batch, t, here), Rule: rule(here)}
		return false
	})
	last.event, last.upTo = e, upTo
	return found
}

// place names where a text stands in which something was found. A denied key is
// one of a list, so it can be named; another key in which something was found
// cannot.
func place(batch *event.Batch, t event.Text, found privacy.Set) string {
	return batch.Path(t, !found.Has(privacy.DeniedKey))
}

// rule names the first detector of a set.
func rule(found privacy.Set) event.Rule {
	for d := range found.All() {
		return event.Rule(d.String())
	}
	return ""
}
