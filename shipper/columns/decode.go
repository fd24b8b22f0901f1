package columns

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"forebay/shipper"
)

var (
	errNotUTF8     = errors.New("is not UTF-8")
	errNoTimestamp = errors.New("has no timestamp")
)

// Decoder makes rows of one event after the other. What it has learnt of the last events makes it faster
// on events like them, and never changes a row; it keeps nothing of their memory. The zero value is ready.
type Decoder struct {
	order order
	clock clock
}

// values are what an event has under the known names: texts without their escapes, and the metadata as sent.
type values [fieldCount]string

// decode makes the row of e, whose Raw is raw.
func (d *Decoder) decode(row *Row, e *shipper.Event, nodeID, raw string) error {
	if !utf8.ValidString(raw) {
		return errNotUTF8
	}
	var extra, targetExtra object
	values := values{metadata: "{}"}
	s := scanner{text: raw}
	err := d.object(&s, unknown, &values, &extra, &targetExtra)
	if err == nil {
		err = s.end()
	}
	if err != nil {
		return err
	}
	if values[timestamp] == "" {
		return errNoTimestamp
	}
	at, err := d.clock.read(values[timestamp])
	if err != nil {
		return fmt.Errorf("timestamp: %w", err)
	}
	if targetExtra != nil {
		extra.add(`"target"`, targetExtra.close())
	}
	*row = Row{
		ProjectID: e.Project, SessionID: e.Session, EventType: values[eventType],
		Timestamp: time.UnixMilli(at).UTC(), ReceivedAt: e.ReceivedAt, Route: values[route],
		TargetType: values[targetType], TargetID: values[targetID],
		TargetSelector: values[targetSelector], TargetTag: values[targetTag],
		Metadata: values[metadata], Environment: values[environment], IdempotencyKey: values[idempotencyKey],
		SDKVersion: e.SDKVersion, AppID: e.AppID, NodeID: nodeID, LogID: e.LogID, Seq: e.Seq,
		Extra: extra.close(),
	}
	return nil
}

// object reads the object that begins here: an event if last is unknown, its target if last is inTarget.
// A name that comes again replaces the text that it gave before.
func (d *Decoder) object(s *scanner, last field, values *values, extra, targetExtra *object) error {
	more, err := s.open()
	for ; more && err == nil; more, err = s.next() {
		if text, found, ok := d.order.text(s, last); ok {
			values[found], last = text, found
			continue
		}
		name, found, err := d.order.name(s, last)
		if err != nil {
			return err
		}
		if found == target && s.peek() == '{' {
			if err := d.object(s, inTarget, values, targetExtra, nil); err != nil {
				return err
			}
			last = target
			continue
		}
		value, err := s.value()
		if err != nil {
			return err
		}
		if found == unknown {
			extra.add(name, value.raw)
			continue
		}
		switch kind := value.kind(); {
		case kind == 'n': // null is no value
		case found == metadata:
			values[metadata] = value.raw
		case kind == '"' && found != target:
			values[found] = value.unescaped()
		default:
			extra.add(name, value.raw)
		}
		last = found
	}
	return err
}

// object builds a JSON object of names and values as they were sent.
type object []byte

func (o *object) add(name, value string) {
	separator := byte(',')
	if *o == nil {
		separator = '{'
	}
	*o = append(*o, separator)
	*o = append(*o, name...)
	*o = append(*o, ':')
	*o = append(*o, value...)
}

// close is the finished object, empty when nothing was added.
func (o object) close() string {
	if o == nil {
		return ""
	}
	return string(o) + "}"
}
