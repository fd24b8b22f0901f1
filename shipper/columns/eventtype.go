package columns

import "unsafe"

// EventType is the eventType of an event as it was sent, as Decode has it; empty if there is none. It
// stops at the first eventType and reads nothing after it. The text may share the memory of raw, as with View.
func EventType(raw []byte) string {
	s := scanner{text: unsafe.String(unsafe.SliceData(raw), len(raw))}
	// An error is text that Decode refuses.
	more, err := s.open()
	for more && err == nil {
		var name, value token
		if name, err = s.name(); err != nil {
			break
		}
		if value, err = s.value(); err != nil {
			break
		}
		if name.unescaped() == "eventType" && value.kind() == '"' {
			return value.unescaped()
		}
		more, err = s.next()
	}
	return ""
}
