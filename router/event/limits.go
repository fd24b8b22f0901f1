package event

import (
	"fmt"
	"time"
)

// Limits are the bounds that the decoder and validation hold a body to. A zero
// field takes its default; see DefaultLimits for the numbers.
type Limits struct {
	BatchEvents  int           // events of one request
	BatchBytes   int           // bytes of one request's body after decompression
	EventBytes   int           // bytes of one event as it was sent
	StringBytes  int           // bytes of one string or key, escapes decoded
	SessionBytes int           // bytes of a sessionId
	Depth        int           // nesting of an event's objects and arrays; the event itself is 1
	MaxAhead     time.Duration // how far a timestamp may be ahead of the clock
	MaxAge       time.Duration // how old a timestamp may be
	EventTypes   []string      // the allow-list; "*" allows every type
}

const (
	maxNumberBytes     = 100 // a double needs 25
	maxMetaBytes       = 256 // sdk_version, app_id and api_key
	maxEnvelopeMembers = 64  // members of a body, its events included
	keyLookBytes       = 64 << 10
)

// DefaultLimits returns the limits that hold where the operator set none.
func DefaultLimits() Limits {
	return Limits{
		BatchEvents:  100,
		BatchBytes:   500 << 10,
		EventBytes:   10 << 10,
		StringBytes:  10_000,
		SessionBytes: 256,
		Depth:        10,
		MaxAhead:     24 * time.Hour,
		MaxAge:       30 * 24 * time.Hour,
		EventTypes: []string{
			"click", "scroll", "input", "input_focus", "input_blur", "form_submit", "navigation", "error",
			"unhandled_rejection", "network", "performance", "loading",
		},
	}
}

// withDefaults fills the zero fields and refuses what cannot work.
func (l Limits) withDefaults() (Limits, error) {
	d := DefaultLimits()
	for _, f := range []struct {
		name  string
		field *int
		byDef int
		max   int
	}{
		{"batch events", &l.BatchEvents, d.BatchEvents, 100_000},
		{"batch bytes", &l.BatchBytes, d.BatchBytes, 64 << 20},
		{"event bytes", &l.EventBytes, d.EventBytes, 64 << 20},
		{"string bytes", &l.StringBytes, d.StringBytes, 64 << 20},
		{"session bytes", &l.SessionBytes, d.SessionBytes, 4096},
		{"depth", &l.Depth, d.Depth, 1000},
	} {
		if *f.field == 0 {
			*f.field = f.byDef
		}
		if *f.field < 1 || *f.field > f.max {
			return Limits{}, fmt.Errorf("event: %s is %d, want 1 to %d", f.name, *f.field, f.max)
		}
	}
	if l.MaxAhead == 0 {
		l.MaxAhead = d.MaxAhead
	}
	if l.MaxAge == 0 {
		l.MaxAge = d.MaxAge
	}
	if l.MaxAhead < 0 || l.MaxAge < 0 {
		return Limits{}, fmt.Errorf("event: the timestamp limits are %v ahead and %v old, want both above 0", l.MaxAhead, l.MaxAge)
	}
	if len(l.EventTypes) == 0 {
		l.EventTypes = d.EventTypes
	}
	return l, nil
}
