package event

import "time"

// member is a member that has a meaning here.
type member uint8

const (
	memberNone member = iota
	memberEventType
	memberTimestamp
	memberSession
	memberRoute
	memberTarget
	memberMetadata
	memberEnvironment
	memberIdempotencyKey
	memberTargetType
	memberTargetID
	memberTargetSelector
	memberTargetTag
	memberCount
)

// memberPaths are the members' places in an event.
var memberPaths = [memberCount]string{
	memberEventType: "eventType", memberTimestamp: "timestamp", memberSession: "sessionId", memberRoute: "route",
	memberTarget: "target", memberMetadata: "metadata", memberEnvironment: "environment", memberIdempotencyKey: "idempotencyKey",
	memberTargetType: "target.type", memberTargetID: "target.id", memberTargetSelector: "target.selector", memberTargetTag: "target.tagName",
}

// member returns what name stands for in the object.
func (o owner) member(name []byte) member {
	if o == ownerEvent {
		switch string(name) {
		case "eventType":
			return memberEventType
		case "timestamp":
			return memberTimestamp
		case "sessionId":
			return memberSession
		case "route":
			return memberRoute
		case "target":
			return memberTarget
		case "metadata":
			return memberMetadata
		case "environment":
			return memberEnvironment
		case "idempotencyKey":
			return memberIdempotencyKey
		}
	}
	if o == ownerTarget {
		switch string(name) {
		case "type":
			return memberTargetType
		case "id":
			return memberTargetID
		case "selector":
			return memberTargetSelector
		case "tagName":
			return memberTargetTag
		}
	}
	return memberNone
}

// assign takes the value of a member, which is not null: it checks the type
// and keeps what the pipeline needs.
func (d *Decoder) assign(e *Event, m member, v value) {
	want := kindString
	if m == memberTarget || m == memberMetadata {
		want = kindObject
	}
	if v.kind != want {
		d.refuse(memberPaths[m], RuleType)
		return
	}
	switch m {
	case memberEventType:
		d.oneLine(&e.Type, m, v)
	case memberSession:
		d.oneLine(&e.Session, m, v)
	case memberRoute:
		d.oneLine(&e.Route, m, v)
	case memberTargetType:
		d.oneLine(&e.TargetType, m, v)
	case memberTimestamp:
		d.sent = v.text
		d.texts[len(d.texts)-1].known = true // validate takes nothing but a time
	case memberIdempotencyKey:
		if v.text.end > v.text.start {
			e.IdempotencyKey = d.text(v.text)
		}
	}
}

// oneLine keeps a string that must be one line of text without control
// characters.
func (d *Decoder) oneLine(into *[]byte, m member, v value) {
	if rule := v.flags.lineRule(); rule != "" {
		d.refuse(memberPaths[m], rule)
		return
	}
	*into = d.text(v.text)
}

// Timestamps from earliest on and before latest can be stored everywhere that
// events go to. Others are refused also while no clock is believed.
var (
	earliest = time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC)
)

// validate checks an event that is well formed against the rules for events.
func (d *Decoder) validate(e *Event) Refusal {
	refuse := func(field string, rule Rule) Refusal { return Refusal{Invalid, field, rule} }
	switch {
	case len(e.Raw) > d.limits.EventBytes:
		return refuse("", RuleEventBytes)
	case len(e.Type) == 0:
		return refuse("eventType", RuleMissing)
	case d.sent.end == d.sent.start:
		return refuse("timestamp", RuleMissing)
	case len(e.Session) == 0:
		return refuse("sessionId", RuleMissing)
	case len(e.Route) == 0:
		return refuse("route", RuleMissing)
	case len(e.TargetType) == 0:
		return refuse("target.type", RuleMissing)
	case len(e.Session) > d.limits.SessionBytes:
		return refuse("sessionId", RuleStringLength)
	}
	if _, ok := d.types[string(e.Type)]; !ok && !d.anyType {
		return refuse("eventType", RuleEventType)
	}
	var ok bool
	if e.Timestamp, ok = d.minute.parse(d.text(d.sent)); !ok {
		return refuse("timestamp", RuleTimestamp)
	}
	switch {
	case e.Timestamp.Before(earliest):
		return refuse("timestamp", RuleOld)
	case !e.Timestamp.Before(latest):
		return refuse("timestamp", RuleFuture)
	case d.now.IsZero():
		return Refusal{}
	}
	switch age := d.now.Sub(e.Timestamp); {
	case age < -d.limits.MaxAhead:
		return refuse("timestamp", RuleFuture)
	case age > d.limits.MaxAge:
		return refuse("timestamp", RuleOld)
	}
	return Refusal{}
}
