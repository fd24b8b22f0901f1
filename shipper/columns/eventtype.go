package columns

import (
	"io"
	"unsafe"
)

// EventType is the eventType of an event as it was sent, as Decode has it; empty if there is none. It
// stops at the first eventType and reads nothing after it. The text may share the memory of raw, as with View.
func EventType(raw []byte) string {
	var found string
	s := scanner{text: unsafe.String(unsafe.SliceData(raw), len(raw))}
	// An error is text that Decode refuses, or the end of the search.
	_ = s.object(func(name token) error {
		value, err := s.value()
		if err != nil || name.unescaped() != "eventType" || value.kind() != '"' {
			return err
		}
		found = value.unescaped()
		return io.EOF
	})
	return found
}
