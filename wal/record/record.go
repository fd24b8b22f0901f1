// Package record encodes one accepted request, a batch of events of one
// project, as the bytes that the router appends to the log and the shippers
// read back.
//
// The log itself treats these bytes as opaque and protects them with its own
// checksums, so a record carries none. What it does carry is a version, so that
// a node can be upgraded over a log that still holds older records.
//
// Layout of version 1, integers as unsigned varints:
//
//	byte     version (1)
//	string   project        (length, then bytes)
//	string   SDK version
//	string   app ID
//	uvarint  number of events
//	for each event:
//	  session  0 = the session of the event before it,
//	           else length+1, then bytes
//	  raw      length, then bytes
//
// Events of one request nearly always belong to one session, which is why the
// session is written once per run of events.
package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Version is the record version that [Append] writes.
const Version = 1

// minEventBytes is the least an encoded event takes: a session reference and a
// raw length. It bounds how many events a count can promise.
const minEventBytes = 2

// ErrMalformed is returned by [Decode], wrapped with the detail, for bytes that
// are not a record.
var ErrMalformed = errors.New("record: malformed")

// VersionError is returned by [Decode] for a record written by a newer release.
// It is not damage: the release that wrote it can read it.
type VersionError struct{ Version byte }

func (e *VersionError) Error() string {
	return fmt.Sprintf("record: version %d is newer than this release reads (%d): run the release that wrote the log", e.Version, Version)
}

// Batch is one accepted request.
type Batch struct {
	Project    string
	SDKVersion string
	AppID      string
	Events     []Event
}

// Event is one accepted event.
type Event struct {
	Session string
	Raw     []byte // the event's JSON, byte for byte as received
}

// Append encodes b behind dst and returns the extended slice.
func Append(dst []byte, b *Batch) []byte {
	dst = append(dst, Version)
	dst = appendString(dst, b.Project)
	dst = appendString(dst, b.SDKVersion)
	dst = appendString(dst, b.AppID)
	dst = binary.AppendUvarint(dst, uint64(len(b.Events)))
	session, started := "", false
	for i := range b.Events {
		e := &b.Events[i]
		if started && e.Session == session {
			dst = append(dst, 0)
		} else {
			dst = binary.AppendUvarint(dst, uint64(len(e.Session))+1)
			dst = append(dst, e.Session...)
			session, started = e.Session, true
		}
		dst = binary.AppendUvarint(dst, uint64(len(e.Raw)))
		dst = append(dst, e.Raw...)
	}
	return dst
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// Decode reads the record that fills src. The Raw fields alias src; strings are
// copies. It returns a [*VersionError] for a newer record and an error wrapping
// [ErrMalformed] for anything else that is not exactly one record.
func Decode(src []byte) (Batch, error) {
	var b Batch
	if err := b.Decode(src); err != nil {
		return Batch{}, err
	}
	return b, nil
}

// Decode is [Decode] into b, for one who reads many records: it writes over
// b.Events, and keeps those strings of b that are the same. After an error b
// holds nothing of use.
func (b *Batch) Decode(src []byte) error {
	if len(src) == 0 {
		return fmt.Errorf("%w: empty", ErrMalformed)
	}
	if src[0] != Version {
		if src[0] == 0 {
			return fmt.Errorf("%w: version 0", ErrMalformed)
		}
		return &VersionError{Version: src[0]}
	}
	d := decoder{rest: src[1:]}
	b.Project = same(b.Project, d.bytes("project"))
	b.SDKVersion = same(b.SDKVersion, d.bytes("SDK version"))
	b.AppID = same(b.AppID, d.bytes("app ID"))
	b.Events = d.events(b.Events[:0])
	if d.err == nil && len(d.rest) > 0 {
		d.fail("%d bytes after the last event", len(d.rest))
	}
	return d.err
}

// same is text as a string: old, if that is the same.
func same(old string, text []byte) string {
	if old == string(text) {
		return old
	}
	return string(text)
}

// decoder consumes a record; after the first error it yields nothing more.
type decoder struct {
	rest []byte
	err  error
}

// events decodes the events behind those of into.
func (d *decoder) events(into []Event) []Event {
	count := d.uvarint("event", " count")
	if d.err != nil || count == 0 {
		return into
	}
	if count > uint64(len(d.rest)/minEventBytes) {
		d.fail("%d events in %d bytes", count, len(d.rest))
		return nil
	}
	into = slices.Grow(into, int(count))
	session := ""
	for i := range count {
		size := d.uvarint("session", " length")
		switch {
		case size > 0:
			session = same(session, d.take(size-1, "session"))
		case i == 0 && d.err == nil:
			d.fail("the first event has no session")
		}
		into = append(into, Event{Session: session, Raw: d.bytes("event")})
		if d.err != nil {
			return nil
		}
	}
	return into
}

func (d *decoder) bytes(what string) []byte {
	return d.take(d.uvarint(what, " length"), what)
}

func (d *decoder) take(n uint64, what string) []byte {
	if d.err != nil {
		return nil
	}
	if n > uint64(len(d.rest)) {
		d.fail("%s of %d bytes, %d left", what, n, len(d.rest))
		return nil
	}
	part := d.rest[:n:n]
	d.rest = d.rest[n:]
	return part
}

// uvarint takes what and of apart, which only an error puts together: an event
// is too short to allocate a text for it.
func (d *decoder) uvarint(what, of string) uint64 {
	if d.err != nil {
		return 0
	}
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.fail("%s%s", what, of)
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) fail(format string, args ...any) {
	d.err = fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}
