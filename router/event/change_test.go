package event

import (
	"slices"
	"strings"

	"pgregory.net/rapid"
)

// object is an object of JSON, of which every part can be changed.
type object []*objectMember

type objectMember struct {
	name  string    // as it is written, with its quotes and white space
	text  string    // the value, if there are no objects in it to change
	inner []*object // the value, one object or an array of them
	array bool
}

func (o object) String() string {
	members := make([]string, len(o))
	for i, m := range o {
		value := []string{m.text}
		for _, inner := range m.inner {
			value = append(value, inner.String())
		}
		members[i] = m.name + ":" + strings.Join(value[min(1, len(m.inner)):], ",")
		if m.array {
			members[i] = m.name + ":[" + strings.Join(value[1:], ",") + "]"
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}

func (o object) clone() *object {
	c := make(object, len(o))
	for i, m := range o {
		c[i] = &objectMember{name: m.name, text: m.text, array: m.array}
		for _, inner := range m.inner {
			c[i].inner = append(c[i].inner, inner.clone())
		}
	}
	return &c
}

// all returns o and every object in it.
func (o *object) all() []*object {
	found := []*object{o}
	for _, m := range *o {
		for _, inner := range m.inner {
			found = append(found, inner.all()...)
		}
	}
	return found
}

// shapedEvent is a good event in which names come again at other places.
func shapedEvent() *object {
	m := func(name, text string) *objectMember { return &objectMember{name: `"` + name + `"`, text: text} }
	in := func(name string, inner ...*object) *objectMember {
		return &objectMember{name: `"` + name + `"`, inner: inner, array: len(inner) > 1}
	}
	return &object{
		m("eventType", `"click"`), m("timestamp", `"2026-11-23T10:00:00.123Z"`), m("sessionId", `"5c2f"`), m("a", `1`), m("route", `"/cart"`),
		in("target", &object{m("type", `"element"`), m("id", `"buy"`), m("a", `"x"`)}),
		in("metadata", &object{
			m("a", `"1"`), m("type", `2`), m("eventType", `"3"`),
			in("b", &object{m("a", `"4"`), m("type", `"5"`), m("route", `6`)}),
			in("list", &object{m("a", `7`), m("b", `"8"`)}, &object{m("a", `"9"`), m("b", `10`)}, &object{m("a", `11`)}),
			m("c", `[]`),
		}),
		m("environment", `"production"`), m("idempotencyKey", `"5c2f-1"`),
	}
}

var (
	changedNames = []string{
		`"a"`, `"b"`, `"c"`, `""`, `"é"`, `"\u0061"`, `"ty\u0070e"`, `"type"`, `"id"`, `"route"`, `"target"`, `"eventType"`, `"list"`, `"\u0000"`, "\"\xff\"",
	}
	changedTexts = []string{
		`1`, `"x"`, `"\n"`, `null`, `{}`, `[]`, `["y","z"]`, `{"a":1}`, `{"type":"t"}`, `[{"a":1,"b":2}]`, `[{"a":"1"},{"a":1,"a":2}]`, `[{"type":1}]`,
		`"\u0000"`, `1e999`, `""`, `"2026-11-23T10:00:01Z"`, `"2020-11-23T10:00:00.123Z"`,
	}
)

// change changes one thing about an event.
func change(t *rapid.T, event *object) {
	o := rapid.SampledFrom(event.all()).Draw(t, "object")
	if len(*o) == 0 {
		return
	}
	name, text := rapid.SampledFrom(changedNames), rapid.SampledFrom(changedTexts)
	place := rapid.IntRange(0, len(*o)-1)
	i := place.Draw(t, "member")
	m := (*o)[i]
	switch rapid.IntRange(0, 9).Draw(t, "change") {
	case 0: // the same name again
		*o = slices.Insert(*o, place.Draw(t, "place")+1, &objectMember{name: m.name, text: text.Draw(t, "text")})
	case 1:
		m.name = name.Draw(t, "name")
	case 2: // the same name, written another way
		m.name = strings.NewReplacer("a", `\u0061`, "y", `\u0079`).Replace(m.name)
	case 3:
		m.name = rapid.SampledFrom([]string{" " + m.name, m.name + "\t", " " + m.name + " "}).Draw(t, "blank")
	case 4:
		*o = slices.Delete(*o, i, i+1)
	case 5:
		*o = slices.Insert(*o, i, &objectMember{name: name.Draw(t, "name"), text: text.Draw(t, "text")})
	case 6:
		j := place.Draw(t, "other")
		(*o)[i], (*o)[j] = (*o)[j], (*o)[i]
	case 7:
		m.text, m.inner, m.array = text.Draw(t, "text"), nil, false
	case 8: // one object becomes an array, or an array one object
		m.array = !m.array && len(m.inner) > 0
		m.inner = m.inner[:min(len(m.inner), 1)]
	case 9: // an object of the event once more
		if all := event.all(); len(m.inner) > 0 && len(all) < 20 {
			m.array = true
			m.inner = append(m.inner, rapid.SampledFrom(all).Draw(t, "copy").clone())
		}
	}
}
