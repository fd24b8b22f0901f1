package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// The tests here hold the decoder against encoding/json: what it takes is JSON,
// what it tells about an event is what encoding/json reads from the stored
// bytes, and nothing that encoding/json sees is kept from the privacy check.

// knownNames are all the names that Texts may leave out.
var knownNames = []string{
	"eventType", "timestamp", "sessionId", "route", "target", "metadata", "environment", "idempotencyKey", "type", "id", "selector", "tagName",
}

// checkBody decodes a body and compares.
func checkBody(d *Decoder, body []byte, format Format) error {
	before := bytes.Clone(body)
	batch, refusal := d.Decode(body, format, testNow)
	if !bytes.Equal(before, body) {
		return errors.New("the body was changed")
	}
	switch {
	case format == Lines:
		if refusal.Refused() && refusal.Reason != TooLarge {
			return fmt.Errorf("lines refused as a whole: %+v", refusal)
		}
	case !refusal.Refused() && !json.Valid(body) && !tooDeepForStd(body):
		return errors.New("accepted, but is not JSON")
	case refusal.Rule == RuleSyntax && json.Valid(body):
		return errors.New("refused as no JSON, but is")
	}
	if refusal.Refused() {
		return nil
	}
	if err := checkMeta(batch, body, format); err != nil {
		return err
	}
	for i := range batch.Events {
		e := &batch.Events[i]
		if e.Refusal.Refused() {
			continue
		}
		if err := checkEvent(batch, e); err != nil {
			return fmt.Errorf("event %d, %s: %w", i, e.Raw, err)
		}
	}
	return nil
}

// tooDeepForStd reports whether a body nests deeper than encoding/json reads.
func tooDeepForStd(body []byte) bool {
	return bytes.Count(body, []byte("["))+bytes.Count(body, []byte("{")) > 10_000
}

// checkMeta compares the members of the envelope.
func checkMeta(batch *Batch, body []byte, format Format) error {
	if format != Envelope || tooDeepForStd(body) {
		return nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		return err
	}
	var raws []json.RawMessage
	if err := json.Unmarshal(members["events"], &raws); err != nil {
		return err
	}
	if len(raws) != len(batch.Events) {
		return fmt.Errorf("%d events, encoding/json has %d", len(batch.Events), len(raws))
	}
	for i, e := range batch.Events {
		if e.Raw != nil && !bytes.Equal(e.Raw, raws[i]) {
			return fmt.Errorf("event %d is %q, encoding/json has %q", i, e.Raw, raws[i])
		}
	}
	for name, got := range map[string][]byte{"api_key": batch.APIKey, "sdk_version": batch.SDKVersion, "app_id": batch.AppID} {
		want := ""
		if raw, ok := members[name]; ok {
			if err := json.Unmarshal(raw, &want); err != nil {
				return err
			}
		}
		if string(got) != want {
			return fmt.Errorf("%s is %q, encoding/json has %q", name, got, want)
		}
	}
	if key := APIKey(body); len(key) > 0 && !bytes.Equal(key, batch.APIKey) {
		return fmt.Errorf("the look finds key %q, the decoder %q", key, batch.APIKey)
	}
	return nil
}

// checkEvent compares an accepted event with what encoding/json reads.
func checkEvent(batch *Batch, e *Event) error {
	var got []string
	for _, x := range batch.decoder.texts[e.texts[0]:e.texts[1]] {
		got = append(got, string(batch.decoder.text(x.span)))
	}
	want, err := stdTexts(e.Raw)
	if err != nil {
		return err
	}
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		return fmt.Errorf("texts %q, encoding/json has %q", got, want)
	}
	visited := map[string]int{}
	batch.Texts(e, func(x Text) bool { visited[string(x.Value)]++; return true })
	for _, text := range want {
		if _, err := time.Parse(time.RFC3339, text); visited[text] == 0 && err != nil && !slices.Contains(knownNames, text) {
			return fmt.Errorf("%q is kept from the privacy check", text)
		}
	}
	var members map[string]any
	if err := json.Unmarshal(e.Raw, &members); err != nil { // fails on numbers that no double holds
		return err
	}
	target, _ := members["target"].(map[string]any)
	sent, _ := ParseTimestamp([]byte(fmt.Sprint(members["timestamp"])))
	if !sent.Equal(e.Timestamp) {
		return fmt.Errorf("timestamp %v, want %v", e.Timestamp, sent)
	}
	for _, f := range []struct {
		name     string
		value    any
		got      []byte
		optional bool
	}{
		{"eventType", members["eventType"], e.Type, false},
		{"sessionId", members["sessionId"], e.Session, false},
		{"route", members["route"], e.Route, false},
		{"target.type", target["type"], e.TargetType, false},
		{"idempotencyKey", members["idempotencyKey"], e.IdempotencyKey, true},
	} {
		text, isString := f.value.(string)
		if text != string(f.got) || !f.optional && (!isString || text == "") {
			return fmt.Errorf("%s is %q, encoding/json has %v", f.name, f.got, f.value)
		}
	}
	return nil
}

// stdTexts returns all names and strings of a JSON text in order, and an error
// for what an accepted event must not have.
func stdTexts(raw []byte) ([]string, error) {
	type level struct {
		names  map[string]bool // nil in an array
		isName bool
	}
	var texts []string
	var open []level
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return texts, nil
		}
		if err != nil {
			return nil, err
		}
		if token == json.Delim('}') || token == json.Delim(']') {
			open = open[:len(open)-1]
			continue
		}
		isName := false
		if len(open) > 0 {
			top := &open[len(open)-1]
			isName = top.names != nil && top.isName
			top.isName = !top.isName
		}
		switch v := token.(type) {
		case json.Delim:
			open = append(open, level{isName: true})
			if v == '{' {
				open[len(open)-1].names = map[string]bool{}
			}
			if len(open) > 10 {
				return nil, errors.New("deeper than 10")
			}
		case string:
			if isName {
				if top := &open[len(open)-1]; top.names[v] {
					return nil, fmt.Errorf("name %q occurs twice", v)
				} else {
					top.names[v] = true
				}
			}
			if !utf8.ValidString(v) || len(v) > 10_000 {
				return nil, fmt.Errorf("string %q", v)
			}
			texts = append(texts, v)
		}
	}
}

// oddPieces are texts on which parsers are known to differ, and pieces to build
// with.
var oddPieces = []string{
	`{`, `}`, `[`, `]`, `,`, `:`, `"`, `\`, `\u`, `\u0000`, `\u0061`, `\ud83d`, `\ude00`, `\ud83d\ude00`, `\n`, `\/`, "\n", "\t", " ", "\x00",
	"\x7f", "\xff", "\xed\xa0\x80", "\u0085", "\ufeff", "é", "😀", `1`, `-0`, `01`, `1.`, `.5`, `1e5`, `1E+999`, `-1e-999`, `true`, `false`, `null`,
	`tru`, `NaN`, `"a"`, `"a":`, `"events"`, `"events":[`, `"Events"`, `"api_key":"k"`, `"eventType":"click"`, `"eventType":"x"`, `"eventtype":"click"`,
	`"sessionId":"s"`, `"route":"/"`, `"target":{"type":"t"}`, `"timestamp":"2026-11-23T10:00:00Z"`, `"metadata":{}`, goodEvent,
	`{"events":[` + goodEvent + `]}`, "\r\n", `//`, `'`,
}

// valueGen makes JSON values, mostly proper ones.
func valueGen(depth int) *rapid.Generator[string] {
	scalars := rapid.OneOf(
		rapid.SampledFrom([]string{`null`, `true`, `0`, `-1.5e3`, `1e400`, `""`, `"a\u0062\ud83d\ude00"`, `"\ud83d"`, `"\u0000"`, "\"\xff\"", `"x y"`}),
		rapid.Custom(func(t *rapid.T) string {
			text, err := json.Marshal(rapid.String().Draw(t, "string"))
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}),
	)
	if depth == 0 {
		return scalars
	}
	return rapid.Custom(func(t *rapid.T) string {
		inner := valueGen(depth - 1)
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			return "[" + strings.Join(rapid.SliceOfN(inner, 0, 3).Draw(t, "items"), ", ") + "]"
		case 1:
			return objectGen(inner).Draw(t, "object")
		}
		return scalars.Draw(t, "scalar")
	})
}

func objectGen(inner *rapid.Generator[string]) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		var members []string
		for range rapid.IntRange(0, 4).Draw(t, "members") {
			name := rapid.SampledFrom([]string{"a", "b", `\u0061`, "c", "eventType", "é", "", "type"}).Draw(t, "name")
			members = append(members, `"`+name+`" :`+inner.Draw(t, "value"))
		}
		return "{" + strings.Join(members, ",") + "}"
	})
}

// eventGen makes events that are good but for a few members.
func eventGen() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		members := []string{
			`"eventType":"click"`, `"timestamp":"2026-11-23T10:00:00.123Z"`, `"sessionId":"5c2f"`, `"route":"/cart"`,
			`"target":{"type":"element","id":"buy"}`, `"metadata":` + objectGen(valueGen(3)).Draw(t, "metadata"), `"idempotencyKey":"5c2f-1"`,
		}
		for range rapid.IntRange(0, 2).Draw(t, "changes") {
			i := rapid.IntRange(0, len(members)-1).Draw(t, "member")
			name, _, _ := strings.Cut(members[i], ":")
			members[i] = name + ":" + valueGen(2).Draw(t, "value")
		}
		return "{" + strings.Join(rapid.Permutation(members).Draw(t, "order"), ",") + "}"
	})
}

func TestDecoderAgreesWithStd(t *testing.T) {
	d := newDecoder(t, Limits{})
	rapid.Check(t, func(t *rapid.T) {
		events := rapid.SliceOfN(eventGen(), 0, 4).Draw(t, "events")
		bodies := map[Format]string{
			Envelope: `{"app_id":` + valueGen(1).Draw(t, "app") + `, "events" : [` + strings.Join(events, ",\n") + `],"x":` + valueGen(3).Draw(t, "x") + `}`,
			Lines:    strings.Join(events, "\n"),
			Single:   strings.Join(events, ""),
		}
		for format, body := range bodies {
			if err := checkBody(d, []byte(body), format); err != nil {
				t.Fatalf("%s: %v", body, err)
			}
		}
	})
}

// Arbitrary pieces put together find the corners of the grammar.
func TestDecoderAgreesWithStdOnPieces(t *testing.T) {
	d := newDecoder(t, Limits{})
	rapid.Check(t, func(t *rapid.T) {
		body := strings.Join(rapid.SliceOfN(rapid.SampledFrom(oddPieces), 0, 12).Draw(t, "pieces"), "")
		for _, format := range []Format{Envelope, Lines, Single} {
			if err := checkBody(d, []byte(body), format); err != nil {
				t.Fatalf("%q: %v", body, err)
			}
		}
	})
}

// skip and str read the same strings, and plain finds the first byte that is not.
func TestPlain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOf(rapid.OneOf(rapid.ByteRange('a', 'z'), rapid.Byte())).Draw(t, "bytes")
		want := 0
		for want < len(b) && b[want] >= 0x20 && b[want] < 0x7f && b[want] != '"' && b[want] != '\\' {
			want++
		}
		if got := plain(b, 0); got != want {
			t.Fatalf("%q: %d, want %d", b, got, want)
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, piece := range oddPieces {
		f.Add([]byte(piece), byte(0))
	}
	f.Add([]byte(`{"events":[`+goodEvent+`,{"a":[1,2,{"b":"\ud83d"}]}],"api_key":"k"}`), byte(Envelope))
	f.Add([]byte(goodEvent+"\n\nx\n"+goodEvent), byte(Lines))
	f.Add([]byte(" "+goodEvent), byte(Single))
	f.Add([]byte(goodEvent+"\n"+goodEvent+"\n"+shapedEvent().String()+"\n"+shapedEvent().String()), byte(Lines))
	d, alone := newDecoder(f, Limits{}), newDecoder(f, Limits{})
	f.Fuzz(func(t *testing.T, body []byte, format byte) {
		if err := checkBody(d, body, Format(format%3)); err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		if err := checkAlone(d, alone, body, Format(format%3)); err != nil {
			t.Fatalf("%q: %v", body, err)
		}
	})
}
