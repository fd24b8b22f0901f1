package router

import (
	"time"

	"forebay/router/event"
	"forebay/router/privacy"
)

// Inspector looks at events as the pipeline would, without storing or counting
// anything: at a file of an operator's, or at the log's history. It is not safe
// for use by several goroutines.
type Inspector struct {
	decoder *event.Decoder
	privacy *privacy.Checker
}

// NewInspector makes an inspector. The error names a limit that is out of range.
func NewInspector(limits event.Limits, checker *privacy.Checker) (*Inspector, error) {
	decoder, err := event.NewDecoder(limits)
	if err != nil {
		return nil, err
	}
	return &Inspector{decoder: decoder, privacy: checker}, nil
}

// StoredLimits take every event that any limits have let into the log.
func StoredLimits() event.Limits { return event.MaxLimits() }

// Place is where in an event a detector finds something. It holds no value.
type Place struct {
	Detector privacy.Detector
	Field    string // such as "metadata.note"
}

// Inspected is what an inspector finds in one event.
type Inspected struct {
	Refusal event.Refusal // if the event is invalid, and therefore not looked at
	Places  []Place       // in the order of the document, with app_id and sdk_version at one end
}

// Found is the set of detectors that find something.
func (i Inspected) Found() (found privacy.Set) {
	for _, p := range i.Places {
		found = found.With(p.Detector)
	}
	return found
}

// Inspect looks at the events of a body. It holds no timestamp against a clock.
// A body that the node would refuse whole has a refusal and no events.
func (i *Inspector) Inspect(body []byte, format event.Format) ([]Inspected, event.Refusal) {
	batch, refusal := i.decoder.Decode(body, format, time.Time{})
	if refusal.Refused() {
		return nil, refusal
	}
	about := i.about(batch.AppID, batch.SDKVersion)
	all := make([]Inspected, len(batch.Events))
	for n := range batch.Events {
		e := &batch.Events[n]
		if all[n].Refusal = e.Refusal; !e.Refusal.Refused() {
			all[n].Places = append(about[:len(about):len(about)], i.places(batch, e)...)
		}
	}
	return all, event.Refusal{}
}

// InspectStored looks at one event of the log, and at what its sender said about
// itself.
func (i *Inspector) InspectStored(raw []byte, appID, sdkVersion string) Inspected {
	all, refusal := i.Inspect(raw, event.Single)
	if refusal.Refused() {
		return Inspected{Refusal: refusal}
	}
	all[0].Places = append(all[0].Places, i.about([]byte(appID), []byte(sdkVersion))...)
	return all[0]
}

func (i *Inspector) about(appID, sdkVersion []byte) (places []Place) {
	places = appendPlaces(places, i.privacy.Find(appID, false), "app_id")
	return appendPlaces(places, i.privacy.Find(sdkVersion, false), "sdk_version")
}

func (i *Inspector) places(batch *event.Batch, e *event.Event) (places []Place) {
	batch.Texts(e, func(t event.Text) bool {
		if found := i.privacy.Find(t.Value, t.IsKey); found != 0 {
			places = appendPlaces(places, found, place(batch, t, found))
		}
		return true
	})
	return places
}

func appendPlaces(places []Place, found privacy.Set, field string) []Place {
	for d := range found.All() {
		places = append(places, Place{Detector: d, Field: field})
	}
	return places
}
