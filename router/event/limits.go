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

// MaxLimits returns the largest that each number may be, and allows every event
// type. How far a timestamp may be off has no largest and is left to its default.
func MaxLimits() Limits {
	return Limits{
		BatchEvents: 100_000, BatchBytes: 64 << 20, EventBytes: 64 << 20, StringBytes: 64 << 20,
		SessionBytes: 4096, Depth: 1000, EventTypes: []string{"*"},
	}
}

// withDefaults fills the zero fields and refuses what cannot work.
func (l Limits) withDefaults() (Limits, error) {
	d, most := DefaultLimits(), MaxLimits()
	for _, f := range []struct {
		name  string
		field *int
		byDef int
		max   int
	}{
		{"batch events", &l.BatchEvents, d.BatchEvents, most.BatchEvents},
		{"batch bytes", &l.BatchBytes, d.BatchBytes, most.BatchBytes},
		{"event bytes", &l.EventBytes, d.EventBytes, most.EventBytes},
		{"string bytes", &l.StringBytes, d.StringBytes, most.StringBytes},
		{"session bytes", &l.SessionBytes, d.SessionBytes, most.SessionBytes},
		{"depth", &l.Depth, d.Depth, most.Depth},
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
