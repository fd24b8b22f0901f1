package router

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"forebay/router/event"
)

const (
	smallestBuffer = 4 << 10
	bufferClasses  = 8 // 4 KiB, 16 KiB, … 64 MiB
)

// buffers hands out byte buffers in size classes that grow by four, reuses
// them, and bounds the bytes that are out at a time.
type buffers struct {
	limit   int64
	out     atomic.Int64
	classes [bufferClasses]sync.Pool
}

// buffer is a byte slice on loan.
type buffer struct {
	b     []byte
	class int
}

func classSize(class int) int { return smallestBuffer << (2 * class) }

// get lends an empty buffer of at least size bytes, or nil if that would go
// over the limit or is more than the largest class holds.
func (p *buffers) get(size int) *buffer {
	class := 0
	for classSize(class) < size {
		if class++; class == bufferClasses {
			return nil
		}
	}
	if p.out.Add(int64(classSize(class))) > p.limit {
		p.out.Add(-int64(classSize(class)))
		return nil
	}
	if b, ok := p.classes[class].Get().(*buffer); ok {
		b.b = b.b[:0]
		return b
	}
	return &buffer{b: make([]byte, 0, classSize(class)), class: class}
}

// put takes a buffer back. nil is fine.
func (p *buffers) put(b *buffer) {
	if b == nil {
		return
	}
	p.out.Add(-int64(classSize(b.class)))
	if cap(b.b) == classSize(b.class) { // else append moved it away
		p.classes[b.class].Put(b)
	}
}

// grow moves b's content to a buffer of the next class. It returns nil, and
// has taken b back, if there is none or that would go over the limit.
func (p *buffers) grow(b *buffer) *buffer {
	larger := p.get(2 * classSize(b.class))
	if larger != nil {
		larger.b = append(larger.b, b.b...)
	}
	p.put(b)
	return larger
}

// keepNothing, as the bytes to keep of a body, has it read and forgotten.
const keepNothing = -1

// readBody reads src to its end, or to one byte past wireBytes, and keeps what
// it reads unless that is more than keepBytes. It goes on reading when it has
// nowhere to keep the bytes, so that a sender sees the same whatever happens
// here. ended says that the body's end was reached, after total bytes. The
// buffer is nil if there is a refusal or nothing was to be kept.
//
// Each read goes up to the next multiple of the smallest buffer's size, at the
// most, whether the bytes are kept or not: over HTTP/2 a sender is told how
// much has been read.
func (p *buffers) readBody(src io.Reader, wireBytes, keepBytes int) (body *buffer, total int, ended bool, refusal event.Refusal) {
	if keepBytes != keepNothing {
		if body = p.get(smallestBuffer); body == nil {
			refusal = event.Refusal{Reason: event.Overloaded, Rule: ruleBytes}
		}
	}
	var discard []byte // made when first needed
	for {
		if body != nil && len(body.b) == cap(body.b) {
			if body = p.grow(body); body == nil {
				refusal = event.Refusal{Reason: event.Overloaded, Rule: ruleBytes}
			}
		}
		into := discard
		if body != nil {
			into = body.b[len(body.b):cap(body.b)]
		} else if discard == nil {
			discard = make([]byte, smallestBuffer)
			into = discard
		}
		n, err := src.Read(into[:min(smallestBuffer-total%smallestBuffer, wireBytes+1-total)])
		total += n
		if body != nil {
			body.b = body.b[:len(body.b)+n]
			if len(body.b) > keepBytes {
				p.put(body)
				body, refusal = nil, event.Refusal{Reason: event.TooLarge, Rule: event.RuleBatchBytes}
			}
		}
		switch {
		case total > wireBytes:
			p.put(body)
			return nil, total, false, event.Refusal{Reason: event.TooLarge, Rule: ruleWireBytes}
		case errors.Is(err, io.EOF):
			return body, total, true, refusal
		case err != nil:
			p.put(body)
			return nil, total, false, event.Refusal{Reason: event.Malformed, Rule: ruleRead}
		}
	}
}
