package event

import (
	"bytes"
	"time"
	"unsafe"
)

// Decoder decodes bodies, one at a time. It keeps its memory between bodies,
// which can be several times the largest body that it has seen: see Size. It is
// not safe for use by several goroutines.
type Decoder struct {
	scanner
	limits  Limits
	anyType bool
	types   map[string]struct{}
	keys    keySet
	shape   shape
	texts   []text
	names   []span // members of the envelope seen so far
	batch   Batch
	minute  minute
	now     time.Time // zero: the clock is not believed
	start   int       // where the current event starts
	sent    span      // the current event's timestamp
	seen    uint16    // the members it has had since it left the shape, a bit each
	refusal Refusal   // of the current event
}

// NewDecoder returns a decoder that holds bodies to limits. The error names a
// limit that is out of range.
func NewDecoder(limits Limits) (*Decoder, error) {
	limits, err := limits.withDefaults()
	if err != nil {
		return nil, err
	}
	d := &Decoder{limits: limits, keys: newKeySet(), types: make(map[string]struct{}, len(limits.EventTypes))}
	for _, t := range limits.EventTypes {
		d.types[t] = struct{}{}
		d.anyType = d.anyType || t == "*"
	}
	return d, nil
}

// Size returns the bytes of memory that the decoder keeps for the next body.
func (d *Decoder) Size() int {
	return cap(d.scratch) + cap(d.open) + sizeOf(d.texts) + sizeOf(d.keys.slots) + sizeOf(d.shape.names) + sizeOf(d.names) + sizeOf(d.batch.Events)
}

func sizeOf[T any](items []T) int {
	var item T
	return cap(items) * int(unsafe.Sizeof(item))
}

// Decode takes body apart and validates its events at the time now. A zero now
// says that the clock is not believed: timestamps are then not held against
// it. If the body as a whole is refused, the reason is Malformed or TooLarge
// and there is no batch. The batch holds until the next Decode, and body must
// not change before that.
func (d *Decoder) Decode(body []byte, format Format, now time.Time) (*Batch, Refusal) {
	d.reset(body, now)
	if len(body) > d.limits.BatchBytes {
		return nil, Refusal{TooLarge, "", RuleBatchBytes}
	}
	var refusal Refusal
	d.pos = markBytes(body)
	switch format {
	case Lines:
		refusal = d.lines()
	case Single:
		refusal = d.single()
	default:
		refusal = d.envelope()
	}
	if refusal.Refused() {
		return nil, refusal
	}
	return &d.batch, Refusal{}
}

var errSyntax = Refusal{Malformed, "", RuleSyntax}

func (d *Decoder) reset(body []byte, now time.Time) {
	d.src, d.pos, d.now = body, 0, now
	d.scratch = d.scratch[:0]
	d.texts = d.texts[:0]
	d.shape.names = d.shape.names[:0]
	clear(d.batch.Events)
	d.batch = Batch{Events: d.batch.Events[:0], decoder: d}
}

// markBytes is the length of the byte order mark at the start of text: Windows
// writes one before files, and files that are put together have one in the
// middle. RFC 8259 lets a reader step over it.
func markBytes(text []byte) int {
	if bytes.HasPrefix(text, []byte("\ufeff")) {
		return len("\ufeff")
	}
	return 0
}

// envelope decodes the object that carries events.
func (d *Decoder) envelope() Refusal {
	if d.space() != '{' {
		return d.notObject()
	}
	d.pos++
	if d.space() == '}' {
		return Refusal{Malformed, "events", RuleMissing}
	}
	d.names = d.names[:0]
	hasEvents := false
	for {
		name, refusal := d.memberName()
		if !refusal.Refused() {
			hasEvents = hasEvents || string(name) == "events"
			refusal = d.member(name)
		}
		if refusal.Refused() {
			return refusal
		}
		c := d.space()
		d.pos++
		if c == '}' {
			break
		}
		if c != ',' {
			return errSyntax
		}
	}
	switch {
	case !d.atEnd():
		return errSyntax
	case !hasEvents:
		return Refusal{Malformed, "events", RuleMissing}
	}
	return Refusal{}
}

// memberName reads the name and colon of a member of the envelope. A name that
// comes twice is refused: readers differ on which of the two counts.
func (d *Decoder) memberName() ([]byte, Refusal) {
	if d.space() != '"' {
		return nil, errSyntax
	}
	t, f, ok := d.str()
	if !ok || d.space() != ':' {
		return nil, errSyntax
	}
	d.pos++
	name := d.text(t)
	if rule := f.rule(); rule != "" {
		return nil, Refusal{Malformed, "", rule}
	}
	for _, n := range d.names {
		if bytes.Equal(d.text(n), name) {
			return nil, Refusal{Malformed, identifier(name), RuleDuplicateKey}
		}
	}
	if len(d.names) == maxEnvelopeMembers {
		return nil, Refusal{Malformed, "", RuleMembers}
	}
	d.names = append(d.names, t)
	return name, Refusal{}
}

// member reads the value of a member of the envelope. What it does not know it
// steps over: it is not stored.
func (d *Decoder) member(name []byte) Refusal {
	switch string(name) {
	case "events":
		return d.events()
	case "api_key":
		return d.meta(&d.batch.APIKey, "api_key")
	case "sdk_version":
		return d.meta(&d.batch.SDKVersion, "sdk_version")
	case "app_id":
		return d.meta(&d.batch.AppID, "app_id")
	}
	if !d.skip() {
		return errSyntax
	}
	return Refusal{}
}

// meta reads a short string, or null, into field.
func (d *Decoder) meta(field *[]byte, name string) Refusal {
	if c := d.space(); c != '"' {
		if !d.skip() {
			return errSyntax
		}
		if c == 'n' {
			return Refusal{}
		}
		return Refusal{Malformed, name, RuleType}
	}
	t, f, ok := d.str()
	if !ok {
		return errSyntax
	}
	if rule := f.lineRule(); rule != "" {
		return Refusal{Malformed, name, rule}
	}
	if *field = d.text(t); len(*field) > maxMetaBytes {
		return Refusal{Malformed, name, RuleStringLength}
	}
	return Refusal{}
}

// events reads the array of events.
func (d *Decoder) events() Refusal {
	if d.space() != '[' {
		if !d.skip() {
			return errSyntax
		}
		return Refusal{Malformed, "events", RuleType}
	}
	d.pos++
	if d.space() == ']' {
		d.pos++
		return Refusal{}
	}
	for {
		if len(d.batch.Events) == d.limits.BatchEvents {
			return Refusal{TooLarge, "", RuleBatchEvents}
		}
		if d.space() == '{' {
			if !d.event() {
				return errSyntax
			}
		} else {
			if !d.skip() {
				return errSyntax
			}
			d.batch.Events = append(d.batch.Events, Event{Refusal: Refusal{Invalid, "", RuleType}})
		}
		c := d.space()
		d.pos++
		if c == ']' {
			return Refusal{}
		}
		if c != ',' {
			return errSyntax
		}
	}
}

// single decodes one bare event.
func (d *Decoder) single() Refusal {
	if d.space() != '{' {
		return d.notObject()
	}
	if !d.event() || !d.atEnd() {
		return errSyntax
	}
	return Refusal{}
}

// notObject tells JSON of the wrong type from what is not JSON.
func (d *Decoder) notObject() Refusal {
	if d.skip() && d.atEnd() {
		return Refusal{Malformed, "", RuleType}
	}
	return errSyntax
}

// lines decodes one event a line. A line that is not JSON drops only itself.
func (d *Decoder) lines() Refusal {
	body := d.src
	for start := 0; start < len(body); {
		end := len(body)
		if i := bytes.IndexByte(body[start:], '\n'); i >= 0 {
			end = start + i
		}
		d.src, d.pos = body[:end], start+markBytes(body[start:end])
		start = end + 1
		if d.atEnd() {
			continue
		}
		if len(d.batch.Events) == d.limits.BatchEvents {
			return Refusal{TooLarge, "", RuleBatchEvents}
		}
		d.line()
	}
	d.src = body
	return Refusal{}
}

// line decodes the one event that is left in src.
func (d *Decoder) line() {
	n, texts := len(d.batch.Events), len(d.texts)
	refusal := Refusal{Invalid, "", RuleSyntax}
	if d.space() == '{' {
		if d.event() && d.atEnd() {
			return
		}
	} else if d.skip() && d.atEnd() {
		refusal.Rule = RuleType
	}
	d.texts = d.texts[:texts]
	d.batch.Events = append(d.batch.Events[:n], Event{Refusal: refusal})
}
