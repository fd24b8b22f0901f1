package event

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The tests here hold an event that follows others in a body against the same
// event alone in a body, where no name is expected.

// outcomeOf tells all that is to be told about an event.
func outcomeOf(batch *Batch, e *Event) string {
	if e.Refusal.Refused() {
		return fmt.Sprintf("%+v %q", e.Refusal, e.Raw)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%q %v %q %q %q %q %q", e.Type, e.Timestamp, e.Session, e.Route, e.TargetType, e.IdempotencyKey, e.Raw)
	batch.Texts(e, func(x Text) bool {
		fmt.Fprintf(&b, "\n%q %t %s %s", x.Value, x.IsKey, batch.Path(x, false), batch.Path(x, true))
		return true
	})
	return b.String()
}

// checkNeighbours decodes the events in one body and each of them in its own.
func checkNeighbours(together, alone *Decoder, format Format, events []string) error {
	body := strings.Join(events, "\n")
	if format == Envelope {
		body = `{"events":[` + strings.Join(events, ",") + `]}`
	}
	if err := checkBody(together, []byte(body), format); err != nil {
		return fmt.Errorf("%s: %w", body, err)
	}
	batch, refusal := together.Decode([]byte(body), format, testNow)
	if refusal.Refused() || len(batch.Events) != len(events) {
		return fmt.Errorf("%s: refused as a whole: %+v", body, refusal)
	}
	for i, text := range events {
		own, _ := alone.Decode([]byte(text), Lines, testNow)
		if got, want := outcomeOf(batch, &batch.Events[i]), outcomeOf(own, &own.Events[0]); got != want {
			return fmt.Errorf("event %d of %s\nis %s\nalone %s", i, body, got, want)
		}
	}
	return nil
}

func TestEventsLikeTheirNeighbours(t *testing.T) {
	together, alone := newDecoder(t, Limits{EventBytes: 1000}), newDecoder(t, Limits{EventBytes: 1000})
	rapid.Check(t, func(t *rapid.T) {
		event := shapedEvent()
		var events, lines []string
		for range rapid.IntRange(2, 6).Draw(t, "events") {
			if rapid.IntRange(0, 2).Draw(t, "keep") == 0 { // the changes so far are made again from nothing
				event = shapedEvent()
			}
			for range rapid.IntRange(0, 2).Draw(t, "changes") {
				change(t, event)
			}
			text := event.String()
			lines = append(lines, text)
			if events = append(events, text); rapid.IntRange(0, 9).Draw(t, "cut") == 0 {
				lines = append(lines, text[:rapid.IntRange(1, len(text)-1).Draw(t, "bytes")])
			}
		}
		if err := checkNeighbours(together, alone, Envelope, events); err != nil {
			t.Fatal(err)
		}
		if err := checkNeighbours(together, alone, Lines, lines); err != nil {
			t.Fatal(err)
		}
	})
}

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

// Events that differ in every way a name can differ, each with the one rule that
// it breaks.
func TestEventAfterAnother(t *testing.T) {
	inMetadata := func(metadata string) string { return with(t, `{"clientX":10,"note":"hi"}`, metadata) }
	together, alone := newDecoder(t, Limits{}), newDecoder(t, Limits{})
	for _, tt := range []struct {
		name          string
		first, second string
		field         string
		rule          Rule
	}{
		{"name twice, expected once", goodEvent, with(t, `"note":"hi"`, `"clientX":1`), "metadata.clientX", RuleDuplicateKey},
		{"member twice", goodEvent, with(t, `"environment":`, `"route":`), "route", RuleDuplicateKey},
		{"member of the target twice", goodEvent, with(t, `"tagName":`, `"id":`), "target.id", RuleDuplicateKey},
		{"name twice at the end", inMetadata(`{"a":1,"b":2}`), inMetadata(`{"a":1,"b":2,"a":3}`), "metadata.a", RuleDuplicateKey},
		{"name twice by escape", inMetadata(`{"a":1,"b":2}`), inMetadata(`{"a":1,"\u0061":2}`), "metadata.a", RuleDuplicateKey},
		{"escaped name twice", inMetadata(`{"\u0061":1,"b":2}`), inMetadata(`{"\u0061":1,"a":2}`), "metadata.a", RuleDuplicateKey},
		{"name twice around an object", inMetadata(`{"a":{"b":1},"b":2}`), inMetadata(`{"a":{"b":1},"a":2}`), "metadata.a", RuleDuplicateKey},
		{"two objects become one", inMetadata(`{"l":[{"a":1},{"a":1}]}`), inMetadata(`{"l":[{"a":1,"a":1}]}`), "metadata.l.a", RuleDuplicateKey},
		{"one object becomes two", inMetadata(`{"l":[{"a":1,"b":2}]}`), inMetadata(`{"l":[{"a":1},{"b":2}],"l2":1}`), "", ""},
		{"inner object ends early", inMetadata(`{"o":{"a":1,"b":2},"c":3}`), inMetadata(`{"o":{"a":1},"b":2,"c":3}`), "", ""},
		{"inner object ends late", inMetadata(`{"b":0,"o":{"a":1},"c":3}`), inMetadata(`{"b":0,"o":{"a":1,"c":3},"b":1}`), "metadata.b", RuleDuplicateKey},
		{"target in an array", goodEvent, with(t, `{"type":"element","id":"buy","selector":"#buy","tagName":"button"}`, `[{"type":1}]`), "target", RuleType},
		{"target in an array before", with(t, `{"type":"element","id":"buy","selector":"#buy","tagName":"button"}`, `[{"type":1}]`), goodEvent, "", ""},
		{"after a refused event", with(t, `"note":"hi"`, `"note":"\u0000"`), with(t, `"environment":`, `"eventType":`), "eventType", RuleDuplicateKey},
		{"white space at another place", goodEvent, with(t, `"route":`, `"route" : `), "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, events := range [][]string{{tt.first, tt.second}, {tt.first, tt.first, tt.second, tt.second, tt.first}} {
				for _, format := range []Format{Envelope, Lines} {
					if err := checkNeighbours(together, alone, format, events); err != nil {
						t.Fatal(err)
					}
				}
			}
			batch, _ := together.Decode([]byte(tt.first+"\n"+tt.second), Lines, testNow)
			want := Refusal{}
			if tt.rule != "" {
				want = Refusal{Invalid, tt.field, tt.rule}
			}
			if got := batch.Events[1].Refusal; got != want {
				t.Errorf("refusal %+v, want %+v", got, want)
			}
		})
	}
}

// A name is not expected from another body, whose memory may hold something else.
func TestShapeIsOfOneBody(t *testing.T) {
	d := newDecoder(t, Limits{})
	body := []byte(goodEvent)
	for _, swap := range []string{`"note"`, `"n\te"`, `"note"`} {
		copy(body[strings.Index(goodEvent, `"note"`):], swap)
		if !json.Valid(body) {
			t.Fatal("not JSON")
		}
		batch, _ := d.Decode(body, Single, testNow)
		if err := checkEvent(batch, &batch.Events[0]); err != nil {
			t.Error(err)
		}
	}
}

// The shape is bounded, and names beyond it are held against all before them.
func TestShapeOfManyNames(t *testing.T) {
	together, alone := newDecoder(t, Limits{}), newDecoder(t, Limits{})
	many := func(last string) string { return with(t, `"note":"hi"`, manyKeys(600)+last) }
	events := []string{many(`"x":1`), many(`"y":2`), many(`"k0":3`), many(`"k599":3`), many(`"x":1`)}
	if err := checkNeighbours(together, alone, Envelope, events); err != nil {
		t.Fatal(err)
	}
	if n := cap(together.shape.names); n > 2*shapeNamesMax {
		t.Errorf("the shape has room for %d names", n)
	}
}
