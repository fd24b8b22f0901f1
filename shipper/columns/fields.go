package columns

import "strings"

// field is a field of an event, or of its target, that is known by its name.
type field uint8

const (
	unknown field = iota // and the place before an event's first field
	eventType
	timestamp
	sessionID
	route
	target
	metadata
	environment
	idempotencyKey
	inTarget // no field: the place before a target's first
	targetType
	targetID
	targetSelector
	targetTag
	fieldCount
)

// spelled is how a field's name mostly stands in an event, with its colon.
var spelled = [fieldCount]string{
	eventType: `"eventType":`, timestamp: `"timestamp":`, sessionID: `"sessionId":`, route: `"route":`,
	target: `"target":`, metadata: `"metadata":`, environment: `"environment":`, idempotencyKey: `"idempotencyKey":`,
	targetType: `"type":`, targetID: `"id":`, targetSelector: `"selector":`, targetTag: `"tagName":`,
}

func fieldOfEvent(name string) field {
	switch name {
	case "eventType":
		return eventType
	case "timestamp":
		return timestamp
	case "sessionId":
		return sessionID
	case "route":
		return route
	case "target":
		return target
	case "metadata":
		return metadata
	case "environment":
		return environment
	case "idempotencyKey":
		return idempotencyKey
	}
	return unknown
}

func fieldOfTarget(name string) field {
	switch name {
	case "type":
		return targetType
	case "id":
		return targetID
	case "selector":
		return targetSelector
	case "tagName":
		return targetTag
	}
	return unknown
}

// order is which known field came after which the last time. An SDK sends the same fields in the same
// order, so the next name can mostly be compared with one text, instead of being scanned and looked up.
// Any name that is not this text, byte for byte, is scanned. A target's fields stand after inTarget or
// after one another, so that those of an event are not taken for them.
type order [fieldCount]field

// name takes the next name with its colon, and is the name as it was sent and the field that it means.
// Last is the known field before it.
func (o *order) name(s *scanner, last field) (string, field, error) {
	s.peek()
	if guess := o[last]; guess != unknown && strings.HasPrefix(s.text[s.at:], spelled[guess]) {
		start := s.at
		s.at += len(spelled[guess])
		return s.text[start : s.at-1], guess, nil
	}
	name, err := s.name()
	if err != nil {
		return "", unknown, err
	}
	lookup := fieldOfEvent
	if last >= inTarget {
		lookup = fieldOfTarget
	}
	found := lookup(name.unescaped())
	if found != unknown {
		o[last] = found
	}
	return name.raw, found, nil
}

// text takes the next field with its value, and is the text: if it is the expected field, and a text
// without escapes follows at once. Most are, and of these nothing else has to be found out.
func (o *order) text(s *scanner, last field) (text string, found field, ok bool) {
	found = o[last]
	name, at := spelled[found], s.at
	if found == unknown || found == target || found == metadata || !strings.HasPrefix(s.text[at:], name) {
		return "", unknown, false
	}
	at += len(name)
	if at == len(s.text) || s.text[at] != '"' {
		return "", unknown, false
	}
	end, escaped := afterText(s.text, at+1)
	if end == 0 || escaped {
		return "", unknown, false
	}
	s.at = end
	return s.text[at+1 : end-1], found, true
}
