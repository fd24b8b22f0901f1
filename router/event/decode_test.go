package event

import (
	"strings"
	"testing"
)

func TestBodies(t *testing.T) {
	many := func(n int) string { return strings.TrimSuffix(strings.Repeat(goodEvent+",", n), ",") }
	tests := []struct {
		name   string
		format Format
		body   string
		events int
		want   Refusal
	}{
		{"empty", Envelope, ``, 0, Refusal{Malformed, "", RuleSyntax}},
		{"not JSON", Envelope, `events=1`, 0, Refusal{Malformed, "", RuleSyntax}},
		{"truncated", Envelope, `{"events":[` + goodEvent, 0, Refusal{Malformed, "", RuleSyntax}},
		{"trailing data", Envelope, `{"events":[]} {}`, 0, Refusal{Malformed, "", RuleSyntax}},
		{"trailing nul", Envelope, "{\"events\":[]}\x00", 0, Refusal{Malformed, "", RuleSyntax}},
		{"byte order mark", Envelope, "\ufeff" + `{"events":[]}`, 0, Refusal{}},
		{"trailing comma", Envelope, `{"events":[],}`, 0, Refusal{Malformed, "", RuleSyntax}},
		{"comment", Envelope, `{"events":[]/**/}`, 0, Refusal{Malformed, "", RuleSyntax}},
		{"raw newline in a string", Envelope, "{\"events\":[],\"a\":\"\n\"}", 0, Refusal{Malformed, "", RuleSyntax}},
		{"bad escape", Envelope, `{"events":[{"a":"\x"}]}`, 0, Refusal{Malformed, "", RuleSyntax}},
		{"array", Envelope, `[` + goodEvent + `]`, 0, Refusal{Malformed, "", RuleType}},
		{"string", Envelope, `"events"`, 0, Refusal{Malformed, "", RuleType}},
		{"empty object", Envelope, ` { } `, 0, Refusal{Malformed, "events", RuleMissing}},
		{"no events", Envelope, `{"api_key":"k"}`, 0, Refusal{Malformed, "events", RuleMissing}},
		{"events null", Envelope, `{"events":null}`, 0, Refusal{Malformed, "events", RuleType}},
		{"events twice", Envelope, `{"events":[],"events":[]}`, 0, Refusal{Malformed, "events", RuleDuplicateKey}},
		{"key twice", Envelope, `{"api_key":"a","api\u005fkey":"b","events":[]}`, 0, Refusal{Malformed, "api_key", RuleDuplicateKey}},
		{"key of another type", Envelope, `{"api_key":1,"events":[]}`, 0, Refusal{Malformed, "api_key", RuleType}},
		{"version with a newline", Envelope, `{"sdk_version":"1\n","events":[]}`, 0, Refusal{Malformed, "sdk_version", RuleControl}},
		{"app_id too long", Envelope, `{"app_id":"` + strings.Repeat("a", 257) + `","events":[]}`, 0, Refusal{Malformed, "app_id", RuleStringLength}},
		{"too many members", Envelope, `{` + manyKeys(100) + `"events":[]}`, 0, Refusal{Malformed, "", RuleMembers}},
		{"members in an unknown field", Envelope, `{"context":{` + manyKeys(100) + `"x":{}},"events":[]}`, 0, Refusal{}},
		{"deep unknown field", Envelope, `{"context":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `,"events":[]}`, 0, Refusal{}},
		{"no events at all", Envelope, `{"events":[ ]}`, 0, Refusal{}},
		{"null meta", Envelope, `{"api_key":null,"app_id":null,"events":[` + goodEvent + `]}`, 1, Refusal{}},
		{"100 events", Envelope, `{"events":[` + many(100) + `]}`, 100, Refusal{}},
		{"101 events", Envelope, `{"events":[` + many(101) + `]}`, 0, Refusal{TooLarge, "", RuleBatchEvents}},
		{"500 KiB", Envelope, `{"events":[]` + strings.Repeat(" ", 500<<10-13) + `}`, 0, Refusal{}},
		{"over 500 KiB", Envelope, `{"events":[]` + strings.Repeat(" ", 500<<10-12) + `}`, 0, Refusal{TooLarge, "", RuleBatchBytes}},

		{"one event", Single, " " + goodEvent + "\n", 1, Refusal{}},
		{"one event and another", Single, goodEvent + goodEvent, 0, Refusal{Malformed, "", RuleSyntax}},
		{"one array", Single, `[]`, 0, Refusal{Malformed, "", RuleType}},
		{"one empty body", Single, ` `, 0, Refusal{Malformed, "", RuleSyntax}},

		{"no lines", Lines, "", 0, Refusal{}},
		{"empty lines", Lines, "\n\r\n \t\n", 0, Refusal{}},
		{"two lines", Lines, goodEvent + "\r\n" + goodEvent, 2, Refusal{}},
		{"100 lines", Lines, strings.Repeat(goodEvent+"\n", 100), 100, Refusal{}},
		{"101 lines", Lines, strings.Repeat(goodEvent+"\n", 101), 0, Refusal{TooLarge, "", RuleBatchEvents}},
	}
	d := newDecoder(t, Limits{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			batch, refusal := d.Decode([]byte(tt.body), tt.format, testNow)
			if refusal != tt.want {
				t.Fatalf("refusal %+v, want %+v", refusal, tt.want)
			}
			if tt.want.Refused() {
				return
			}
			if len(batch.Events) != tt.events {
				t.Fatalf("%d events, want %d", len(batch.Events), tt.events)
			}
			for i, e := range batch.Events {
				if e.Refusal.Refused() {
					t.Errorf("event %d: %+v", i, e.Refusal)
				}
			}
		})
	}
}

// A line that is not an event drops only itself.
func TestBadLines(t *testing.T) {
	bad := []struct {
		line string
		rule Rule
	}{
		{`{"eventType":"click"`, RuleSyntax},
		{`nonsense`, RuleSyntax},
		{`7`, RuleType},
		{`[` + goodEvent + `]`, RuleType},
		{goodEvent + goodEvent, RuleSyntax},
		{goodEvent + `,`, RuleSyntax},
		{"\x00", RuleSyntax},
	}
	var body strings.Builder
	body.WriteString(goodEvent + "\n")
	for _, b := range bad {
		body.WriteString(b.line + "\n" + goodEvent + "\n")
	}
	d := newDecoder(t, Limits{})
	batch, refusal := d.Decode([]byte(body.String()), Lines, testNow)
	if refusal.Refused() || len(batch.Events) != 2*len(bad)+1 {
		t.Fatalf("refusal %+v, %d events", refusal, len(batch.Events))
	}
	for i, e := range batch.Events {
		want := Refusal{}
		if i%2 == 1 {
			want = Refusal{Invalid, "", bad[i/2].rule}
		}
		if e.Refusal != want {
			t.Errorf("event %d: %+v, want %+v", i, e.Refusal, want)
		}
		if n := countTexts(batch, &e); (n == 0) != want.Refused() {
			t.Errorf("event %d has %d texts", i, n)
		}
	}
}

func countTexts(b *Batch, e *Event) (n int) {
	b.Texts(e, func(Text) bool { n++; return true })
	return n
}

func TestEventFields(t *testing.T) {
	d := newDecoder(t, Limits{})
	body := `{"sdk_version":"1.\u0030","extra":{"events":[1]},"app_id":"shop","events":[` +
		with(t, `"sessionId":"5c2f"`, `"sessionId":"5c\u0032f\ud83d\ude00"`) + `],"api_key":"secret-key"}`
	batch, refusal := d.Decode([]byte(body), Envelope, testNow)
	if refusal.Refused() {
		t.Fatal(refusal)
	}
	e := batch.Events[0]
	for _, f := range []struct{ name, got, want string }{
		{"api_key", string(batch.APIKey), "secret-key"},
		{"sdk_version", string(batch.SDKVersion), "1.0"},
		{"app_id", string(batch.AppID), "shop"},
		{"eventType", string(e.Type), "click"},
		{"sessionId", string(e.Session), "5c2f😀"},
		{"route", string(e.Route), "/cart"},
		{"target.type", string(e.TargetType), "element"},
		{"idempotencyKey", string(e.IdempotencyKey), "5c2f-1"},
		{"timestamp", e.Timestamp.Format("15:04:05.000"), "10:00:00.123"},
	} {
		if f.got != f.want {
			t.Errorf("%s is %q, want %q", f.name, f.got, f.want)
		}
	}
}

func TestPaths(t *testing.T) {
	d := newDecoder(t, Limits{})
	body := with(t, `{"clientX":10,"note":"hi"}`,
		`{"note":"1","list":["2",{"deep":"3"}],"john@example.com":"4","12345678":"5","`+strings.Repeat("k", 33)+`":"6"}`)
	batch, refusal := d.Decode([]byte(body), Single, testNow)
	if refusal.Refused() || batch.Events[0].Refusal.Refused() {
		t.Fatal(refusal, batch.Events[0].Refusal)
	}
	got := map[string]string{}
	batch.Texts(&batch.Events[0], func(x Text) bool {
		got[string(x.Value)] = batch.Path(x, false)
		if x.IsKey {
			got["hidden "+string(x.Value)] = batch.Path(x, true)
		}
		return true
	})
	for value, want := range map[string]string{
		"1": "metadata.note", "2": "metadata.list", "3": "metadata.list.deep", "4": "metadata.?", "5": "metadata.?", "6": "metadata.?",
		"/cart": "route", "button": "target.tagName", "note": "metadata.note", "hidden note": "metadata.(key)",
		"hidden john@example.com": "metadata.(key)", "hidden list": "metadata.(key)",
	} {
		if got[value] != want {
			t.Errorf("path of %q is %q, want %q", value, got[value], want)
		}
	}
}

func TestAPIKey(t *testing.T) {
	deep := strings.Repeat("[", 1000) + strings.Repeat("]", 1000)
	for _, tt := range []struct{ name, body, want string }{
		{"first", `{"api_key":"k1","events":[]}`, "k1"},
		{"last", `{"events":[` + goodEvent + `],"x":` + deep + `, "api_key" : "k2" }`, "k2"},
		{"escaped", `{"api\u005fkey":"k\u0033"}`, "k3"},
		{"body broken behind it", `{"api_key":"k4",`, "k4"},
		{"inside another", `{"x":{"api_key":"no"}}`, ""},
		{"not a string", `{"api_key":5}`, ""},
		{"not an object", `["api_key","no"]`, ""},
		{"newline inside", `{"api_key":"a\nb"}`, ""},
		{"too long", `{"api_key":"` + strings.Repeat("k", 257) + `"}`, ""},
		{"beyond 64 KiB", `{"x":"` + strings.Repeat("x", 64<<10) + `","api_key":"no"}`, ""},
		{"across 64 KiB", `{"x":"` + strings.Repeat("x", 64<<10-22) + `","api_key":"no, not this"}`, ""},
		{"empty", ``, ""},
	} {
		if got := string(APIKey([]byte(tt.body))); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// The set of names is sized by the largest event and finds a repeat among many.
func TestManyNames(t *testing.T) {
	d := newDecoder(t, Limits{})
	for round := range 3 {
		body := with(t, `"note":"hi"`, manyKeys(600)+`"note":1`)
		batch, refusal := d.Decode([]byte(body), Single, testNow)
		if refusal.Refused() || batch.Events[0].Refusal.Refused() {
			t.Fatalf("round %d: %+v %+v", round, refusal, batch.Events[0].Refusal)
		}
		body = with(t, `"note":"hi"`, manyKeys(600)+`"k599":1`)
		batch, _ = d.Decode([]byte(body), Single, testNow)
		if got := batch.Events[0].Refusal.Rule; got != RuleDuplicateKey {
			t.Fatalf("round %d: rule %q", round, got)
		}
	}
	if d.Size() > 200<<10 {
		t.Errorf("the decoder keeps %d bytes", d.Size())
	}
	d.keys.next = 1<<31 + 1 // the numbering starts again
	if batch, _ := d.Decode([]byte(goodEvent), Single, testNow); batch.Events[0].Refusal.Refused() || d.keys.next > 100 {
		t.Errorf("%+v, next %d", batch.Events[0].Refusal, d.keys.next)
	}
}
