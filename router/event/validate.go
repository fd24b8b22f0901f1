package event

// assign takes the value of a member that has a meaning: it checks the type
// and keeps what the pipeline needs. null stands for an absent member. It
// reports whether the name is known.
func (d *Decoder) assign(e *Event, owner owner, name []byte, v value) (known bool) {
	if owner == ownerTarget {
		switch string(name) {
		case "type":
			d.oneLine(&e.TargetType, "target.type", v)
		case "id":
			d.expect(kindString, "target.id", v)
		case "selector":
			d.expect(kindString, "target.selector", v)
		case "tagName":
			d.expect(kindString, "target.tagName", v)
		default:
			return false
		}
		return true
	}
	switch string(name) {
	case "eventType":
		d.oneLine(&e.Type, "eventType", v)
	case "timestamp":
		if d.expect(kindString, "timestamp", v) {
			d.sent = v.text
			d.texts[len(d.texts)-1].known = true // validate takes nothing but a time
		}
	case "sessionId":
		d.oneLine(&e.Session, "sessionId", v)
	case "route":
		d.oneLine(&e.Route, "route", v)
	case "target":
		d.expect(kindObject, "target", v)
	case "metadata":
		d.expect(kindObject, "metadata", v)
	case "environment":
		d.expect(kindString, "environment", v)
	case "idempotencyKey":
		if d.expect(kindString, "idempotencyKey", v) && v.text.end > v.text.start {
			e.IdempotencyKey = d.text(v.text)
		}
	default:
		return false
	}
	return true
}

// expect reports whether a value is of the kind, and refuses any other but
// null.
func (d *Decoder) expect(k kind, field string, v value) bool {
	if v.kind != k && v.kind != kindNull {
		d.refuse(field, RuleType)
	}
	return v.kind == k
}

// oneLine keeps a string that must be one line of text without control
// characters.
func (d *Decoder) oneLine(into *[]byte, field string, v value) {
	if !d.expect(kindString, field, v) {
		return
	}
	if rule := v.flags.lineRule(); rule != "" {
		d.refuse(field, rule)
		return
	}
	*into = d.text(v.text)
}

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
	if e.Timestamp, ok = ParseTimestamp(d.text(d.sent)); !ok {
		return refuse("timestamp", RuleTimestamp)
	}
	if d.now.IsZero() {
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
