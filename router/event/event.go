// Package event reads what clients send: it decodes request bodies, holds them
// to limits, and validates each event.
//
// A Decoder takes a body apart in one pass. It yields every event's raw bytes,
// exactly as they were sent, the fields that have a meaning here, and every key
// and string for the privacy check. Nothing is repaired: an event that
// breaks a rule carries a Refusal that names the field and the rule, and its
// neighbours are not affected. Only a body that is not JSON, or not of the
// path's shape, is refused as a whole.
//
// The decoder is strict where parsers differ. Names that occur twice in an
// object, strings that are not Unicode, and numbers that a double cannot hold
// are refused, so that every reader of the stored bytes sees what was checked
// here. Names match exactly, upper and lower case included.
package event

import (
	"bytes"
	"strconv"
	"time"
)

// Format is how a body is laid out.
type Format uint8

const (
	// Envelope is one object with api_key, sdk_version, app_id and events.
	Envelope Format = iota
	// Lines is one event a line (NDJSON). Empty lines are stepped over.
	Lines
	// Single is one bare event.
	Single
)

// Batch is a decoded body. Its byte slices point into the body and into the
// decoder's memory: they hold until the next Decode.
type Batch struct {
	APIKey     []byte // of an Envelope, nil if absent
	SDKVersion []byte
	AppID      []byte
	Events     []Event // in the order they were sent, the refused ones included

	decoder *Decoder
}

// Event is one event of a batch. If Refusal is set, the other fields hold what
// was read before the refusal and are not to be used.
type Event struct {
	Raw     []byte // byte for byte as sent, without white space around it
	Refusal Refusal

	Type           []byte
	Timestamp      time.Time
	Session        []byte
	Route          []byte
	TargetType     []byte
	IdempotencyKey []byte // nil if absent or empty

	texts [2]int32 // its part of the decoder's texts
}

// Text is one key or string of an event.
type Text struct {
	Value []byte // decoded
	IsKey bool
	Place int // among the texts of its event, from 0, those that Texts leaves out included
	index int32
}

// text is a key or string as the decoder keeps it.
type text struct {
	span
	isKey  bool
	known  bool  // a name that this package knows, or a time
	parent int32 // index of the key under which it stands, -1 at the top
}

// Texts calls visit for every key and string of e, at any depth, in the order
// of the document, until visit returns false. It leaves out what is the same
// in all events, the names that this package knows, and the timestamp, which
// is a time and nothing else. Numbers are not visited.
func (b *Batch) Texts(e *Event, visit func(Text) bool) {
	d := b.decoder
	for i := e.texts[0]; i < e.texts[1]; i++ {
		t := &d.texts[i]
		if t.known {
			continue
		}
		if !visit(Text{Value: d.text(t.span), IsKey: t.isKey, Place: int(i - e.texts[0]), index: i}) {
			return
		}
	}
}

// Alike reports whether another event of the batch has at the place of t a text
// that Texts visits, of the same kind, and equal byte for byte.
func (b *Batch) Alike(t Text, other *Event) bool {
	i := int(other.texts[0]) + t.Place
	if i >= int(other.texts[1]) {
		return false
	}
	o := &b.decoder.texts[i]
	return !o.known && o.isKey == t.IsKey && bytes.Equal(b.decoder.text(o.span), t.Value)
}

// Path names the place of a text for operators, as in "metadata.note". With
// hide, a text that is a key shows as "(key)". Names that do not look like
// identifiers show as "?", so that a path never carries personal data.
func (b *Batch) Path(t Text, hide bool) string {
	if t.IsKey && hide {
		return b.decoder.path(b.decoder.texts[t.index].parent, "(key)")
	}
	if t.IsKey {
		return b.decoder.path(t.index, "")
	}
	return b.decoder.path(b.decoder.texts[t.index].parent, "")
}

// path joins the names from the top down to the key i, and then leaf.
func (d *Decoder) path(i int32, leaf string) string {
	if i < 0 {
		return leaf
	}
	t := &d.texts[i]
	name := identifier(d.text(t.span))
	if leaf != "" {
		name += "." + leaf
	}
	return d.path(t.parent, name)
}

// identifier returns name if it is a short identifier, else "?".
func identifier(name []byte) string {
	if len(name) == 0 || len(name) > 32 {
		return "?"
	}
	digits := 0
	for _, c := range name {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_', c == '-':
		default:
			return "?"
		}
	}
	if digits > 4 {
		return "?"
	}
	return string(name)
}

// badNumber reports whether a number's text is too long, or the number too large
// for a double.
func badNumber(number []byte, exponent bool) bool {
	if len(number) > maxNumberBytes {
		return true
	}
	if !exponent {
		return false
	}
	_, err := strconv.ParseFloat(string(number), 64)
	return err != nil
}
