package event

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// testNow is the clock of these tests.
var testNow = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

const goodEvent = `{"eventType":"click","timestamp":"2026-11-23T10:00:00.123Z","sessionId":"5c2f","route":"/cart",` +
	`"target":{"type":"element","id":"buy","selector":"#buy","tagName":"button"},"metadata":{"clientX":10,"note":"hi"},` +
	`"environment":"production","idempotencyKey":"5c2f-1"}`

// with returns goodEvent with a part replaced.
func with(t testing.TB, old, replacement string) string {
	t.Helper()
	if strings.Count(goodEvent, old) != 1 {
		t.Fatalf("%q does not occur once in the sample event", old)
	}
	return strings.Replace(goodEvent, old, replacement, 1)
}

func newDecoder(t testing.TB, limits Limits) *Decoder {
	t.Helper()
	d, err := NewDecoder(limits)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"k%d":1,`, i)
	}
	return b.String()
}

func nested(depth int) string {
	return strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth)
}

func TestValidation(t *testing.T) {
	tests := []struct {
		name  string
		event string
		field string
		rule  Rule // "" = accepted
	}{
		{"good", goodEvent, "", ""},
		{"white space inside", strings.ReplaceAll(goodEvent, `,"`, "\t,\r\n \""), "", ""},
		{"escaped names and values", with(t, `"eventType":"click"`, `"event\u0054ype":"cl\u0069ck"`), "", ""},
		{"unknown fields", with(t, `"route"`, `"future":[1,{"x":null}],"route"`), "", ""},
		{"names match exactly", with(t, `"route":"/cart"`, `"route":"/cart","Route":7,"EVENTTYPE":null`), "", ""},
		{"null where optional", with(t, `"metadata":{"clientX":10,"note":"hi"}`, `"metadata":null`), "", ""},
		{"no idempotency key", with(t, `,"idempotencyKey":"5c2f-1"`, ``), "", ""},
		{"empty idempotency key", with(t, `"5c2f-1"`, `""`), "", ""},
		{"tab and newline in metadata", with(t, `"hi"`, `"a\tb\nc\rd"`), "", ""},
		{"surrogate pair", with(t, `"hi"`, `"\ud83d\uDE00"`), "", ""},
		{"noncharacter", with(t, `"hi"`, `"\uffff"`), "", ""},
		{"depth 10", with(t, `{"clientX":10,"note":"hi"}`, nested(9)), "", ""},
		{"long number of a double", with(t, `:10,`, `:-1.7976931348623157e308,`), "", ""},
		{"underflow", with(t, `:10,`, `:1e-400,`), "", ""},
		{"string of 10,000 bytes", with(t, `"hi"`, `"`+strings.Repeat("x", 10_000-1)+`"`), "", RuleEventBytes},

		{"no eventType", with(t, `"eventType":"click",`, ``), "eventType", RuleMissing},
		{"eventType null", with(t, `"click"`, `null`), "eventType", RuleMissing},
		{"eventType empty", with(t, `"click"`, `""`), "eventType", RuleMissing},
		{"eventType number", with(t, `"click"`, `1`), "eventType", RuleType},
		{"eventType foreign", with(t, `"click"`, `"Click"`), "eventType", RuleEventType},
		{"no timestamp", with(t, `"timestamp":"2026-11-23T10:00:00.123Z",`, ``), "timestamp", RuleMissing},
		{"timestamp number", with(t, `"2026-11-23T10:00:00.123Z"`, `1795428000123`), "timestamp", RuleType},
		{"timestamp local", with(t, `00.123Z`, `00.123`), "timestamp", RuleTimestamp},
		{"timestamp future", with(t, `2026-11-23T`, `2026-11-25T`), "timestamp", RuleFuture},
		{"timestamp old", with(t, `2026-11-23T`, `2026-10-20T`), "timestamp", RuleOld},
		{"no sessionId", with(t, `"sessionId":"5c2f",`, ``), "sessionId", RuleMissing},
		{"sessionId long", with(t, `"5c2f"`, `"`+strings.Repeat("s", 257)+`"`), "sessionId", RuleStringLength},
		{"sessionId newline", with(t, `"5c2f"`, `"5c\n2f"`), "sessionId", RuleControl},
		{"no route", with(t, `"route":"/cart",`, ``), "route", RuleMissing},
		{"route tab", with(t, `"/cart"`, `"/c\tart"`), "route", RuleControl},
		{"no target", strings.Replace(goodEvent, `"target"`, `"Target"`, 1), "target.type", RuleMissing},
		{"target string", with(t, `{"type":"element","id":"buy","selector":"#buy","tagName":"button"}`, `"x"`), "target", RuleType},
		{"no target.type", with(t, `"type":"element",`, ``), "target.type", RuleMissing},
		{"target.id number", with(t, `"id":"buy"`, `"id":1`), "target.id", RuleType},
		{"metadata array", with(t, `{"clientX":10,"note":"hi"}`, `[]`), "metadata", RuleType},
		{"environment object", with(t, `"production"`, `{}`), "environment", RuleType},
		{"idempotencyKey number", with(t, `"5c2f-1"`, `1`), "idempotencyKey", RuleType},

		{"nul", with(t, `"hi"`, `"\u0000"`), "metadata.note", RuleControl},
		{"colours in metadata", with(t, `"hi"`, `"\u001b[31mError\u001B[39m"`), "", ""},
		{"colours in a name", with(t, `"note"`, `"\u001b[31m"`), "metadata.(key)", RuleControl},
		{"colours in a session", with(t, `"5c2f"`, `"\u001b[31m"`), "sessionId", RuleControl},
		{"colours in a route", with(t, `"/cart"`, `"/\u001b[31m"`), "route", RuleControl},
		{"backspace", with(t, `"hi"`, `"\b"`), "metadata.note", RuleControl},
		{"bell", with(t, `"hi"`, `"\u001b]0;title\u0007"`), "metadata.note", RuleControl},
		{"delete", with(t, `"hi"`, "\"\x7f\""), "metadata.note", RuleControl},
		{"c1 control", with(t, `"hi"`, "\"\u0085\""), "metadata.note", RuleControl},
		{"invalid utf-8", with(t, `"hi"`, "\"a\xffb\""), "metadata.note", RuleUTF8},
		{"overlong utf-8", with(t, `"hi"`, "\"\xc0\xaf\""), "metadata.note", RuleUTF8},
		{"surrogate in utf-8", with(t, `"hi"`, "\"\xed\xa0\x80\""), "metadata.note", RuleUTF8},
		{"invalid utf-8 in a name", with(t, `"note"`, "\"no\xffte\""), "metadata.(key)", RuleUTF8},
		{"lone high surrogate", with(t, `"hi"`, `"\ud83d"`), "metadata.note", RuleSurrogate},
		{"lone low surrogate", with(t, `"hi"`, `"\ude00\ud83d"`), "metadata.note", RuleSurrogate},
		{"high before other escape", with(t, `"hi"`, `"\ud83d\u0041"`), "metadata.note", RuleSurrogate},
		{"duplicate name", with(t, `"route"`, `"sessionId":"x","route"`), "sessionId", RuleDuplicateKey},
		{"duplicate name by escape", with(t, `"note":"hi"`, `"note":"hi","n\u006fte":1`), "metadata.note", RuleDuplicateKey},
		{"duplicate empty name", with(t, `"note":"hi"`, `"":1,"":2`), "metadata.?", RuleDuplicateKey},
		{"duplicate in an array", with(t, `"hi"`, `[{"a":1},{"a":1,"b":{},"a":2}]`), "metadata.note.a", RuleDuplicateKey},
		{"depth 11", with(t, `{"clientX":10,"note":"hi"}`, nested(10)), "metadata.a.a.a.a.a.a.a.a.a", RuleDepth},
		{"depth 11 of arrays", with(t, `"hi"`, strings.Repeat("[", 9)+strings.Repeat("]", 9)), "metadata.note", RuleDepth},
		{"depth 4,000", with(t, `"hi"`, strings.Repeat("[", 4000)+strings.Repeat("]", 4000)), "metadata.note", RuleDepth},
		{"huge number", with(t, `:10,`, `:1e999,`), "metadata.clientX", RuleNumber},
		{"long number", with(t, `:10,`, `:`+strings.Repeat("9", 101)+`,`), "metadata.clientX", RuleNumber},
		{"event too large", with(t, `"hi"`, `"`+strings.Repeat("x", 10<<10)+`"`), "metadata.note", RuleStringLength},
		{"event too large in parts", with(t, `"hi"`, `["`+strings.Repeat("x", 6000)+`","`+strings.Repeat("x", 6000)+`"]`), "", RuleEventBytes},
		{"100,000 keys", with(t, `"note"`, manyKeys(30_000)+`"note"`), "", RuleEventBytes},
		{"not an object", `7`, "", RuleType},
		{"an array", `[` + goodEvent + `]`, "", RuleType},
	}
	d := newDecoder(t, Limits{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// The event has neighbours, which it must not harm.
			body := []byte(`{"events":[` + goodEvent + `, ` + tt.event + ` ,` + goodEvent + `]}`)
			batch, refusal := d.Decode(body, Envelope, testNow)
			if refusal.Refused() {
				t.Fatalf("body refused: %+v", refusal)
			}
			if len(batch.Events) != 3 {
				t.Fatalf("%d events, want 3", len(batch.Events))
			}
			for _, i := range []int{0, 2} {
				if e := batch.Events[i]; e.Refusal.Refused() || string(e.Raw) != goodEvent {
					t.Errorf("neighbour %d: %+v, %s", i, e.Refusal, e.Raw)
				}
			}
			want := Refusal{}
			if tt.rule != "" {
				want = Refusal{Invalid, tt.field, tt.rule}
			}
			if got := batch.Events[1].Refusal; got != want {
				t.Errorf("refusal %+v, want %+v", got, want)
			}
			if tt.rule == "" && string(batch.Events[1].Raw) != tt.event {
				t.Errorf("raw %s, want %s", batch.Events[1].Raw, tt.event)
			}
		})
	}
}

// The two rules on time are not held against a clock that is not believed.
func TestValidationWithoutClock(t *testing.T) {
	d := newDecoder(t, Limits{})
	for _, year := range []string{"1970", "2099"} {
		batch, refusal := d.Decode([]byte(with(t, "2026-11-23T", year+"-11-23T")), Single, time.Time{})
		if refusal.Refused() || batch.Events[0].Refusal.Refused() {
			t.Errorf("%s: %+v, %+v", year, refusal, batch.Events[0].Refusal)
		}
	}
	batch, _ := d.Decode([]byte(with(t, "00.123Z", "00.123")), Single, time.Time{})
	if got := batch.Events[0].Refusal.Rule; got != RuleTimestamp {
		t.Errorf("rule %q, want %q", got, RuleTimestamp)
	}
}

func TestTimestampEdges(t *testing.T) {
	d := newDecoder(t, Limits{})
	for _, tt := range []struct {
		at   time.Duration
		rule Rule
	}{
		{24 * time.Hour, ""},
		{24*time.Hour + time.Nanosecond, RuleFuture},
		{-30 * 24 * time.Hour, ""},
		{-30*24*time.Hour - time.Nanosecond, RuleOld},
	} {
		text := testNow.Add(tt.at).Format(time.RFC3339Nano)
		batch, _ := d.Decode([]byte(with(t, "2026-11-23T10:00:00.123Z", text)), Single, testNow)
		if got := batch.Events[0].Refusal.Rule; got != tt.rule {
			t.Errorf("%s: rule %q, want %q", text, got, tt.rule)
		}
	}
}

// TestTimestampsWithoutAClock: what can be stored nowhere is refused also while
// the clock is not believed, and all else is taken.
func TestTimestampsWithoutAClock(t *testing.T) {
	d := newDecoder(t, Limits{MaxAge: 250 * 365 * 24 * time.Hour, MaxAhead: 250 * 365 * 24 * time.Hour})
	for text, rule := range map[string]Rule{
		"0000-01-01T00:00:00Z": RuleOld, "0001-01-01T00:00:00Z": RuleOld, "1899-12-31T23:59:59.999999999Z": RuleOld, "1900-01-01T00:30:00+01:00": RuleOld,
		"1900-01-01T00:00:00Z": "", "1970-01-01T00:00:00Z": "", "2261-12-31T23:59:59.999999999Z": "",
		"2262-01-01T00:00:00Z": RuleFuture, "2261-12-31T23:30:00-01:00": RuleFuture, "9999-12-31T23:59:59-23:59": RuleFuture,
	} {
		for _, now := range []time.Time{{}, testNow} {
			batch, _ := d.Decode([]byte(with(t, "2026-11-23T10:00:00.123Z", text)), Single, now)
			if got := batch.Events[0].Refusal.Rule; got != rule {
				t.Errorf("%s at %s: rule %q, want %q", text, now, got, rule)
			}
		}
	}
}

func TestEventTypes(t *testing.T) {
	for _, tt := range []struct {
		allowed []string
		sent    string
		rule    Rule
	}{
		{nil, "loading", ""},
		{[]string{"purchase"}, "purchase", ""},
		{[]string{"purchase"}, "click", RuleEventType},
		{[]string{"*"}, "anything at all", ""},
		{[]string{"*"}, "*", ""},
	} {
		d := newDecoder(t, Limits{EventTypes: tt.allowed})
		batch, _ := d.Decode([]byte(with(t, `"click"`, `"`+tt.sent+`"`)), Single, testNow)
		if got := batch.Events[0].Refusal.Rule; got != tt.rule {
			t.Errorf("%v, %s: rule %q, want %q", tt.allowed, tt.sent, got, tt.rule)
		}
	}
}

func TestLimitsOutOfRange(t *testing.T) {
	for _, l := range []Limits{
		{BatchEvents: -1}, {BatchBytes: 1 << 30}, {Depth: 1 << 20}, {SessionBytes: 1 << 20}, {MaxAge: -1}, {MaxAhead: -1},
	} {
		if _, err := NewDecoder(l); err == nil {
			t.Errorf("%+v: no error", l)
		}
	}
}
