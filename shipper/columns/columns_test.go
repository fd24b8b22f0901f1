package columns_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"forebay/shipper"
	"forebay/shipper/columns"
	"forebay/wal"
)

func event(raw string) shipper.Event {
	return shipper.Event{
		Seq: 7, LogID: wal.ID{0xab}, ReceivedAt: time.UnixMilli(1_700_000_000_123).UTC(),
		Project: "shop", SDKVersion: "1.2.3", AppID: "web", Session: "s1", Raw: []byte(raw),
	}
}

func TestDecode(t *testing.T) {
	got, err := columns.Decode(event(` {"eventType":"click","timestamp":"2026-11-23T10:00:00.1239+02:00","sessionId":"s1",
		"route":"/caf\u00e9\/\ud83d\ude00","target":{"type":"element","id":"buy","selector":"#buy","tagName":"button","text":"Buy"},
		"metadata": { "clientX": 10, "s":"a\nb" },"environment":"production","idempotencyKey":"k-1",
		"custom":[1, {"a":"}"}],"EventType":"not the field"} `), "edge-1")
	if err != nil {
		t.Fatal(err)
	}
	want := columns.Row{
		ProjectID: "shop", SessionID: "s1", EventType: "click",
		Timestamp:  time.Date(2026, 11, 23, 8, 0, 0, 123e6, time.UTC),
		ReceivedAt: time.UnixMilli(1_700_000_000_123).UTC(),
		Route:      "/café/😀", TargetType: "element", TargetID: "buy", TargetSelector: "#buy", TargetTag: "button",
		Metadata: `{ "clientX": 10, "s":"a\nb" }`, Environment: "production", IdempotencyKey: "k-1",
		SDKVersion: "1.2.3", AppID: "web", NodeID: "edge-1", LogID: wal.ID{0xab}, Seq: 7,
		Extra: `{"custom":[1, {"a":"}"}],"EventType":"not the field","target":{"text":"Buy"}}`,
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDecodeOfOtherTypes(t *testing.T) {
	const at = `"timestamp":"2026-11-23T10:00:00Z"`
	for raw, want := range map[string]columns.Row{
		`{` + at + `}`: {Metadata: "{}"},
		`{` + at + `,"metadata":null,"route":null}`:        {Metadata: "{}"},
		`{` + at + `,"metadata":[1]}`:                      {Metadata: "[1]"},
		`{` + at + `,"route":5,"target":"x"}`:              {Metadata: "{}", Extra: `{"route":5,"target":"x"}`},
		`{` + at + `,"target":null}`:                       {Metadata: "{}"},
		`{` + at + `,"target":{"id":5,"type":"a"}}`:        {Metadata: "{}", TargetType: "a", Extra: `{"target":{"id":5}}`},
		`{` + at + `,"rou\u0074e":"/","\u0065x\"":true}`:   {Metadata: "{}", Route: "/", Extra: `{"\u0065x\"":true}`},
		`{` + at + `,"environment":"\ud800x\ud800\u0041"}`: {Metadata: "{}", Environment: "\ufffdx\ufffdA"},
	} {
		got, err := columns.Decode(event(raw), "n")
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		got = columns.Row{Route: got.Route, TargetType: got.TargetType, TargetID: got.TargetID,
			Metadata: got.Metadata, Environment: got.Environment, Extra: got.Extra}
		if got != want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", raw, got, want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, raw := range []string{
		``, ` `, `[]`, `{`, `{}`, `{"a"`, `{"a":}`, `{"a":1`, `{"a":1,}`, `{"a":"x`, `{"a":[1}`, `{a:1}`, `{"a":1}}`,
		`{"timestamp":"yesterday"}`, `{"timestamp":12}`, `{"timestamp":"2026-11-23T10:00:00Z"}x`,
		`{"timestamp":"2026-11-23T10:00:00Z","target":{"id":"x}`, "{\"a\":\"\xff\"}",
	} {
		if row, err := columns.Decode(event(raw), "n"); err == nil {
			t.Errorf("%q: accepted as %+v", raw, row)
		} else if !strings.HasPrefix(err.Error(), "event 7: ") {
			t.Errorf("%q: %q does not name the event", raw, err)
		}
	}
}

// TestViewIsDecode compares the two, and that only one of them copies.
func TestViewIsDecode(t *testing.T) {
	e := event(`{"timestamp":"2026-11-23T10:00:00Z","route":"/cart","metadata":{"a":"\u00e9"},"custom":1}`)
	copied, err := columns.Decode(e, "n")
	if err != nil {
		t.Fatal(err)
	}
	var d columns.Decoder
	var viewed columns.Row
	if err := d.View(&viewed, &e, "n"); err != nil || viewed != copied {
		t.Fatalf("view %+v (%v), decoded %+v", viewed, err, copied)
	}
	copy(e.Raw[bytes.Index(e.Raw, []byte("/cart")):], "/CART")
	if copied.Route != "/cart" || viewed.Route != "/CART" {
		t.Errorf("after a change of the event: decoded %q, view %q", copied.Route, viewed.Route)
	}
}

// model is what encoding/json finds, field by field.
func model(t *rapid.T, raw []byte) columns.Row {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	extra := map[string]json.RawMessage{}
	text := func(from, rest map[string]json.RawMessage, name string, to *string) {
		if v, has := from[name]; has && v[0] == '"' {
			if err := json.Unmarshal(v, to); err != nil {
				t.Fatal(err)
			}
		} else if has && v[0] != 'n' {
			rest[name] = v
		}
		delete(from, name)
	}
	var row columns.Row
	var at, session string
	text(fields, extra, "timestamp", &at)
	text(fields, extra, "sessionId", &session)
	text(fields, extra, "eventType", &row.EventType)
	text(fields, extra, "route", &row.Route)
	text(fields, extra, "environment", &row.Environment)
	text(fields, extra, "idempotencyKey", &row.IdempotencyKey)
	row.Timestamp, _ = time.Parse(time.RFC3339, at)
	row.Metadata = "{}"
	if v, has := fields["metadata"]; has && v[0] != 'n' {
		row.Metadata = string(v)
	}
	delete(fields, "metadata")
	if v, has := fields["target"]; has && v[0] == '{' {
		target, rest := map[string]json.RawMessage{}, map[string]json.RawMessage{}
		if err := json.Unmarshal(v, &target); err != nil {
			t.Fatal(err)
		}
		text(target, rest, "type", &row.TargetType)
		text(target, rest, "id", &row.TargetID)
		text(target, rest, "selector", &row.TargetSelector)
		text(target, rest, "tagName", &row.TargetTag)
		for name, v := range target {
			rest[name] = v
		}
		delete(fields, "target")
		if len(rest) > 0 {
			extra["target"], _ = json.Marshal(rest)
		}
	} else if has && v[0] == 'n' {
		delete(fields, "target")
	}
	for name, v := range fields {
		extra[name] = v
	}
	if len(extra) > 0 {
		all, _ := json.Marshal(extra)
		row.Extra = string(all)
	}
	return row
}

// drawValue draws any JSON value, nested at most depth deep.
func drawValue(t *rapid.T, depth int) any {
	switch rapid.IntRange(0, 4+2*min(depth, 1)).Draw(t, "kind") {
	case 0, 1:
		return rapid.String().Draw(t, "text")
	case 2:
		return rapid.Float64().Draw(t, "number")
	case 3:
		return rapid.Bool().Draw(t, "bool")
	case 4:
		return nil
	case 5:
		list := make([]any, rapid.IntRange(0, 3).Draw(t, "length"))
		for i := range list {
			list[i] = drawValue(t, depth-1)
		}
		return list
	default:
		return drawObject(t, depth-1, nil)
	}
}

func drawObject(t *rapid.T, depth int, known []string) map[string]any {
	object := map[string]any{}
	names := rapid.String()
	if known != nil {
		names = rapid.OneOf(rapid.SampledFrom(known), rapid.SampledFrom(known), rapid.String())
	}
	for range rapid.IntRange(0, 8).Draw(t, "fields") {
		name := names.Draw(t, "name")
		object[name] = drawValue(t, depth)
		if name == "target" && rapid.Bool().Draw(t, "is object") {
			object[name] = drawObject(t, depth-1, []string{"type", "id", "selector", "tagName", "ID"})
		}
	}
	return object
}

// drawEscapes writes some letters of the texts as escapes, which means the same.
func drawEscapes(t *rapid.T, raw []byte) []byte {
	every := rapid.IntRange(1, 20).Draw(t, "escape every")
	var out []byte
	inText, letters := false, 0
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case c == '\\' && raw[i+1] == 'u':
			out = append(out, raw[i:i+6]...)
			i += 5
			continue
		case c == '\\':
			out = append(out, raw[i:i+2]...)
			i++
			continue
		case c == '"':
			inText = !inText
		case inText && c >= 'a' && c <= 'z':
			if letters++; letters%every == 0 {
				out = append(out, '\\', 'u', '0', '0', "0123456789abcdef"[c>>4], "0123456789ABCDEF"[c&15])
				continue
			}
		}
		out = append(out, c)
	}
	return out
}

func TestDecodeAgreesWithEncodingJSON(t *testing.T) {
	known := []string{"eventType", "sessionId", "route", "environment", "idempotencyKey", "metadata", "target", "EVENTTYPE", "extra"}
	rapid.Check(t, func(t *rapid.T) {
		object := drawObject(t, 3, known)
		object["timestamp"] = "2026-11-23T10:00:00.123Z"
		raw, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		if rapid.Bool().Draw(t, "indent") {
			var b bytes.Buffer
			if err := json.Indent(&b, raw, " ", "\t"); err != nil {
				t.Fatal(err)
			}
			raw = b.Bytes()
		}
		raw = drawEscapes(t, raw)
		want := model(t, raw)
		full, err := columns.Decode(event(string(raw)), "n")
		if err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		got := columns.Row{EventType: full.EventType, Timestamp: full.Timestamp, Route: full.Route, TargetType: full.TargetType,
			TargetID: full.TargetID, TargetSelector: full.TargetSelector, TargetTag: full.TargetTag, Metadata: full.Metadata,
			Environment: full.Environment, IdempotencyKey: full.IdempotencyKey}
		gotExtra, wantExtra := parse(t, full.Extra), parse(t, want.Extra)
		want.Extra = ""
		if got != want || !reflect.DeepEqual(gotExtra, wantExtra) {
			t.Fatalf("%s:\ngot  %+v\n     %v\nwant %+v\n     %v", raw, got, gotExtra, want, wantExtra)
		}
	})
}

// parse is a JSON text as values, so that the order of fields does not matter.
func parse(t *rapid.T, text string) any {
	if text == "" {
		return nil
	}
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(`{"timestamp":"2026-11-23T10:00:00Z","a\ud800":[{}],"target":{"x":"\u00zz"}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		row, err := columns.Decode(event(string(raw)), "n")
		if err == nil && json.Valid(raw) {
			if !json.Valid([]byte(row.Metadata)) || row.Extra != "" && !json.Valid([]byte(row.Extra)) {
				t.Errorf("%q: metadata %q, extra %q", raw, row.Metadata, row.Extra)
			}
		}
	})
}

const sample = `{"eventType":"click","timestamp":"2026-11-23T10:00:00.123Z","sessionId":"5c2f7f0e-0f5b-4b57-9a4e-3f7a4d2f1f10","route":"/cart",` +
	`"target":{"type":"element","id":"buy","selector":"#main > div.cart > button#buy","tagName":"button"},` +
	`"metadata":{"clientX":10,"clientY":231,"viewport":{"w":1280,"h":720},"text":"Buy now","classes":["btn","btn-primary"]},` +
	`"environment":"production","idempotencyKey":"5c2f7f0e-17-1"}`

func BenchmarkView(b *testing.B) {
	e := event(sample)
	b.SetBytes(int64(len(e.Raw)))
	b.ReportAllocs()
	var d columns.Decoder
	var row columns.Row
	for b.Loop() {
		if err := d.View(&row, &e, "edge-1"); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
