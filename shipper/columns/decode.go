package columns

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

var (
	errNotUTF8     = errors.New("is not UTF-8")
	errNoTimestamp = errors.New("has no timestamp")
)

// decode fills in what comes from the event itself.
func (r *Row) decode(raw string) error {
	if !utf8.ValidString(raw) {
		return errNotUTF8
	}
	var extra, targetExtra object
	timestamp := ""
	s := scanner{text: raw}
	err := s.object(func(name token) error {
		field := name.unescaped()
		if field == "target" && s.peek() == '{' {
			return r.target(&s, &targetExtra)
		}
		value, err := s.value()
		if err != nil {
			return err
		}
		var column *string
		switch field {
		case "sessionId": // the record has it already
			if kind := value.kind(); kind == '"' || kind == 'n' {
				return nil
			}
		case "eventType":
			column = &r.EventType
		case "timestamp":
			column = &timestamp
		case "route":
			column = &r.Route
		case "environment":
			column = &r.Environment
		case "idempotencyKey":
			column = &r.IdempotencyKey
		case "metadata":
			if value.kind() != 'n' {
				r.Metadata = value.raw
			}
			return nil
		case "target":
			if value.kind() == 'n' {
				return nil
			}
		}
		store(column, name, value, &extra)
		return nil
	})
	if err == nil {
		err = s.end()
	}
	if err != nil {
		return err
	}
	if targetExtra != nil {
		extra.add(`"target"`, targetExtra.close())
	}
	r.Extra = extra.close()
	if timestamp == "" {
		return errNoTimestamp
	}
	at, err := time.Parse(time.RFC3339, timestamp)
	if err != nil {
		return fmt.Errorf("timestamp: %w", err)
	}
	r.Timestamp = time.UnixMilli(at.UnixMilli()).UTC()
	return nil
}

func (r *Row) target(s *scanner, extra *object) error {
	return s.object(func(name token) error {
		value, err := s.value()
		if err != nil {
			return err
		}
		var column *string
		switch name.unescaped() {
		case "type":
			column = &r.TargetType
		case "id":
			column = &r.TargetID
		case "selector":
			column = &r.TargetSelector
		case "tagName":
			column = &r.TargetTag
		}
		store(column, name, value, extra)
		return nil
	})
}

// store puts a text into its column and anything else into extra.
func store(column *string, name, value token, extra *object) {
	switch {
	case column != nil && value.kind() == '"':
		*column = value.unescaped()
	case column != nil && value.kind() == 'n':
	default:
		extra.add(name.raw, value.raw)
	}
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
