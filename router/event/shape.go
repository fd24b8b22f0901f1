package event

// shape holds the names of an event of the body, in the order of the document.
// The events of one body are mostly made by the same code, with the same names
// in the same order. As long as those of the current event are the next ones of
// the shape, byte for byte and in the same objects, nothing about them needs to
// be found out again: neither what they stand for, nor that none comes twice.
// At the first that is another, the event leaves the shape and goes on without
// it, and its own names become the shape for the events that follow.
type shape struct {
	names   []shapeName
	at      int  // names of the current event that were those of the shape
	follows bool // the current event has had no other name yet
}

// shapeName is a name that was found good. It tells about every event of the
// body whose bytes are the same.
type shapeName struct {
	start, end uint32 // from the quote before it to the colon, in src
	name       span
	object     uint32 // the object it is in, counted within its event from 0
	owner      owner
	member     member
}

// shapeNamesMax bounds the memory of a shape. Names that come later in an event
// are always looked at.
const shapeNamesMax = 256

// begin has the next event follow the shape.
func (s *shape) begin() { s.at, s.follows = 0, true }

// reads reports whether the bytes at pos are those of n, colon included.
func (d *Decoder) reads(n *shapeName) bool {
	end := d.pos + int(n.end-n.start)
	return end <= len(d.src) && string(d.src[n.start:n.end]) == string(d.src[d.pos:end])
}

// leaveShape notes the names that the event has had so far, which are the first
// of the shape, so that one that comes again is found.
func (d *Decoder) leaveShape() {
	d.shape.follows = false
	d.shape.names = d.shape.names[:d.shape.at]
	for i := range d.shape.names {
		n := &d.shape.names[i]
		if n.member == memberNone {
			d.keys.add(&d.scanner, d.keys.floor+n.object, n.name)
		} else {
			d.seen |= 1 << n.member
		}
	}
}

// learn adds a name of an event that has left the shape.
func (d *Decoder) learn(n shapeName) {
	if len(d.shape.names) < shapeNamesMax {
		d.shape.names = append(d.shape.names, n)
	}
}
