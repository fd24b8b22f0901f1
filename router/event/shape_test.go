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
	clipped := slices.Clip([]byte(body)) // nothing behind it can be looked at
	if err := checkBody(together, clipped, format); err != nil {
		return fmt.Errorf("%s: %w", body, err)
	}
	batch, refusal := together.Decode(clipped, format, testNow)
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

// checkAlone decodes a body, and then each event that it holds in a body of its own.
func checkAlone(together, alone *Decoder, body []byte, format Format) error {
	batch, refusal := together.Decode(body, format, testNow)
	if refusal.Refused() {
		return nil
	}
	for i := range batch.Events {
		e := &batch.Events[i]
		if e.Raw == nil {
			continue
		}
		own, _ := alone.Decode(e.Raw, Single, testNow)
		if got, want := outcomeOf(batch, e), outcomeOf(own, &own.Events[0]); got != want {
			return fmt.Errorf("event %d is %s\nalone %s", i, got, want)
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

// Events that differ in every way a name can differ, each with the one rule that
// it breaks.
func TestEventAfterAnother(t *testing.T) {
	inMetadata := func(metadata string) string { return with(t, `{"clientX":10,"note":"hi"}`, metadata) }
	together, alone := newDecoder(t, Limits{}), newDecoder(t, Limits{})
	for _, tt := range []struct {
		name   string
		before string // the events before it, one a line
		event  string
		field  string
		rule   Rule
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
		{"name of the event before the last", inMetadata(`{"a":1,"b":2,"z":0}`) + "\n" + inMetadata(`{"a":1,"c":3,"b":4}`), inMetadata(`{"a":1,"b":2,"z":0,"c":3,"b":4}`), "metadata.b", RuleDuplicateKey},
		{"cut in a name", goodEvent, goodEvent[:strings.Index(goodEvent, `tencyKey`)], "", RuleSyntax},
		{"white space at another place", goodEvent, with(t, `"route":`, `"route" : `), "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := strings.Split(tt.before, "\n")
			once := append(before, tt.event)
			for _, events := range [][]string{once, slices.Concat(before, once, once, once)} {
				for _, format := range []Format{Envelope, Lines} {
					if format == Envelope && tt.rule == RuleSyntax {
						continue
					}
					if err := checkNeighbours(together, alone, format, events); err != nil {
						t.Fatal(err)
					}
				}
			}
			batch, _ := together.Decode([]byte(tt.before+"\n"+tt.event), Lines, testNow)
			want := Refusal{}
			if tt.rule != "" {
				want = Refusal{Invalid, tt.field, tt.rule}
			}
			if got := batch.Events[len(before)].Refusal; got != want {
				t.Errorf("refusal %+v, want %+v", got, want)
			}
		})
	}
}

// Events alike follow the first, and those after another kind follow each other.
func TestShapeIsFollowed(t *testing.T) {
	d := newDecoder(t, Limits{})
	other := with(t, `"clientX":10`, `"clientY":10`)
	for _, body := range []string{
		goodEvent + "\n" + strings.ReplaceAll(goodEvent, "5c2f", "6d30"),
		goodEvent + "\n" + goodEvent + "\n" + other + "\n" + other,
		with(t, `"note"`, `"n\u006fte"`) + "\n" + with(t, `"note"`, `"n\u006fte"`),
		with(t, `"clientX":10`, `"clientX":"10"`) + "\n" + with(t, `"hi"`, `["h","i"]`), // values are of no matter
		strings.ReplaceAll(goodEvent, ":", ": ") + "\n" + strings.ReplaceAll(goodEvent, ":", ": ") + "\n",
		goodEvent + "\n" + strings.ReplaceAll(with(t, `"/cart"`, `"\u0000"`), "note", "other") + "\nx\n" + goodEvent, // refused before it differs
	} {
		d.Decode([]byte(body), Lines, testNow)
		if s := &d.shape; !s.follows || s.at != len(s.names) || s.at == 0 {
			t.Errorf("the last event of %s follows: %t, for %d of %d names", body, s.follows, s.at, len(s.names))
		}
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
