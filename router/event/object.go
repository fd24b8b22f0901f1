package event

// kind is the JSON type of a value.
type kind uint8

const (
	kindOther kind = iota // number, boolean, or stepped over
	kindNull
	kindString
	kindObject
	kindArray
)

// value is what the decoder tells about a value it has read.
type value struct {
	kind  kind
	text  span  // of a string
	flags flags // of a string
}

// owner is the object of an event whose members have a meaning here.
type owner uint8

const (
	ownerNone owner = iota
	ownerEvent
	ownerTarget
)

// event decodes and validates the object at pos, and adds it to the batch. It
// returns false if the object is not JSON.
func (d *Decoder) event() bool {
	d.start, d.sent, d.seen, d.refusal = d.pos, span{}, 0, Refusal{}
	d.keys.forget()
	d.shape.begin()
	first := len(d.texts)
	d.batch.Events = append(d.batch.Events, Event{})
	e := &d.batch.Events[len(d.batch.Events)-1]
	if !d.object(e, ownerEvent, 1, -1) {
		return false
	}
	e.Raw = d.src[d.start:d.pos:d.pos]
	if !d.refused() {
		d.refusal = d.validate(e)
	}
	if e.Refusal = d.refusal; e.Refusal.Refused() {
		d.texts = d.texts[:first]
	}
	e.texts = [2]int32{int32(first), int32(len(d.texts))}
	return true
}

// refuse notes the first rule that the event breaks. From then on the event is
// only stepped over, and the shape is left to those that come after it.
func (d *Decoder) refuse(field string, rule Rule) {
	d.shape.follows = false
	if !d.refused() {
		d.refusal = Refusal{Invalid, field, rule}
	}
}

// refused reports whether the event breaks a rule. It is asked for each member,
// where Refusal.Refused would copy the whole refusal.
func (d *Decoder) refused() bool { return d.refusal.Reason != None }

// object reads the object at pos, which stands at the given depth under the
// key parent.
func (d *Decoder) object(e *Event, owner owner, depth int, parent int32) bool {
	d.pos++
	if d.space() == '}' {
		d.pos++
		return true
	}
	number := d.keys.object()
	for {
		key, m, ok := d.key(owner, number, parent)
		if !ok {
			return false
		}
		inner := ownerNone
		if m == memberTarget {
			inner = ownerTarget
		}
		v, ok := d.value(e, inner, depth+1, key)
		if !ok {
			return false
		}
		if m != memberNone && v.kind != kindNull && !d.refused() {
			d.assign(e, m, v)
		}
		switch d.space() {
		case ',':
			d.pos++
		case '}':
			d.pos++
			return true
		default:
			return false
		}
	}
}

// key reads a member's name and colon. It returns the name's place in texts, or
// -1 if the event is refused, and which member the name stands for.
func (d *Decoder) key(owner owner, object uint32, parent int32) (int32, member, bool) {
	if !d.shape.follows {
		return d.newKey(owner, object, parent)
	}
	d.space()
	if s := &d.shape; s.at < len(s.names) {
		n := &s.names[s.at]
		if n.owner == owner && n.object == object-d.keys.floor && d.reads(n) {
			s.at++
			d.pos += int(n.end - n.start)
			d.texts = append(d.texts, text{span: n.name, isKey: true, known: n.member != memberNone, parent: parent})
			return int32(len(d.texts) - 1), n.member, true
		}
	}
	d.leaveShape()
	return d.newKey(owner, object, parent)
}

// newKey is key for a name about which nothing is known.
func (d *Decoder) newKey(owner owner, object uint32, parent int32) (int32, member, bool) {
	if d.refused() {
		return -1, memberNone, d.skipKey()
	}
	if d.space() != '"' {
		return -1, memberNone, false
	}
	start := d.pos
	name, f, ok := d.str()
	if !ok || d.space() != ':' {
		return -1, memberNone, false
	}
	d.pos++
	rule := f.rule()
	if rule == "" && int(name.end-name.start) > d.limits.StringBytes {
		rule = RuleStringLength
	}
	if rule != "" {
		d.refuse(d.path(parent, "(key)"), rule)
		return -1, memberNone, true
	}
	m := owner.member(d.text(name))
	d.texts = append(d.texts, text{span: name, isKey: true, known: m != memberNone, parent: parent})
	key := int32(len(d.texts) - 1)
	if d.repeated(object, name, m) {
		d.refuse(d.path(key, ""), RuleDuplicateKey)
	} else {
		d.learn(shapeName{
			start: uint32(start), end: uint32(d.pos), name: name,
			object: object - d.keys.floor, owner: owner, member: m,
		})
	}
	return key, m, true
}

// repeated reports whether the object has had the name before.
func (d *Decoder) repeated(object uint32, name span, m member) bool {
	if m == memberNone {
		return !d.keys.add(&d.scanner, object, name)
	}
	repeated := d.seen&(1<<m) != 0
	d.seen |= 1 << m
	return repeated
}

// value reads the value at pos. depth is its own if it is an object or array.
func (d *Decoder) value(e *Event, owner owner, depth int, key int32) (value, bool) {
	if d.pos-d.start > d.limits.EventBytes {
		d.refuse("", RuleEventBytes)
	}
	if d.refused() {
		return value{}, d.skip()
	}
	switch d.space() {
	case '{':
		if depth > d.limits.Depth {
			d.refuse(d.path(key, ""), RuleDepth)
			return value{}, d.skip()
		}
		return value{kind: kindObject}, d.object(e, owner, depth, key)
	case '[':
		if depth > d.limits.Depth {
			d.refuse(d.path(key, ""), RuleDepth)
			return value{}, d.skip()
		}
		return value{kind: kindArray}, d.array(e, depth, key)
	case '"':
		return d.stringValue(key)
	case 't':
		return value{}, d.literal("true")
	case 'f':
		return value{}, d.literal("false")
	case 'n':
		return value{kind: kindNull}, d.literal("null")
	}
	start := d.pos
	exponent, ok := d.number()
	if ok && badNumber(d.src[start:d.pos], exponent) {
		d.refuse(d.path(key, ""), RuleNumber)
	}
	return value{}, ok
}

// array reads the array at pos.
func (d *Decoder) array(e *Event, depth int, key int32) bool {
	d.pos++
	if d.space() == ']' {
		d.pos++
		return true
	}
	for {
		if _, ok := d.value(e, ownerNone, depth+1, key); !ok {
			return false
		}
		switch d.space() {
		case ',':
			d.pos++
		case ']':
			d.pos++
			return true
		default:
			return false
		}
	}
}

// stringValue reads the string at pos.
func (d *Decoder) stringValue(key int32) (value, bool) {
	t, f, ok := d.str()
	if !ok {
		return value{}, false
	}
	if rule := f.valueRule(); rule != "" {
		d.refuse(d.path(key, ""), rule)
	} else if int(t.end-t.start) > d.limits.StringBytes {
		d.refuse(d.path(key, ""), RuleStringLength)
	}
	d.texts = append(d.texts, text{span: t, parent: key})
	return value{kind: kindString, text: t, flags: f}, true
}
