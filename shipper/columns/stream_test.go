package columns_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"weak"

	"pgregory.net/rapid"

	"forebay/shipper/columns"
)

// member is a field of an object as it is written: its name, with quotes, and its value.
type member struct{ name, value string }

func write(members []member, colon, comma string) string {
	written := make([]string, len(members))
	for i, m := range members {
		written[i] = m.name + colon + m.value
	}
	return "{" + strings.Join(written, comma) + "}"
}

// timestamps are spellings that time.Parse may accept or refuse, whatever one expects of them.
var timestamps = []string{
	"2026-11-23T10:00:00.123Z", "2026-11-23T10:00:59.999Z", "2026-11-23T10:01:00.000Z", "2026-11-23T10:00:07Z",
	"2026-11-23T23:59:59.999Z", "2026-11-24T00:00:00Z", "2026-11-23T10:00:60.000Z", "2026-11-23T10:00:61Z",
	"2026-11-23T10:00:00.123456789Z", "2026-11-23T10:00:00.1Z", "2026-11-23T10:00:00.12Z", "2026-11-23T10:00:00.1239Z",
	"2026-11-23T10:00:00,123Z", "2026-11-23T10:00:00.123+02:00", "2026-11-23T10:00:00-07:30", "2026-11-23T10:00:00+00:00",
	"2026-11-23T24:00:00Z", "2026-02-30T10:00:00.123Z", "2028-02-29T10:00:00.123Z", "2026-11-23t10:00:00.123Z",
	"2026-11-23T10:00:00.123z", "2026-11-23 10:00:00.123Z", "2026-11-23T1:00:00Z", "2026-11-23T1:00:00.12Z",
	"2026-11-23T10:00:0xZ", "2026-11-23T10:00:00.1x3Z", "2026-11-23T10:00:00:123Z", "2026-11-23T10:00-00.123Z",
	"0000-01-01T00:00:00.001Z", "1969-12-31T23:59:59.999Z", "9999-12-31T23:59:59Z", "yesterday", "", "\x00",
	strings.Repeat("\x00", 16) + ":00Z", strings.Repeat("\x00", 17) + "00Z", "2026-11-23T10:00:00.123é",
}

// drawTimestamp draws one of those, or a time that shares a minute with others.
func drawTimestamp(t *rapid.T) string {
	if rapid.Bool().Draw(t, "odd time") {
		return rapid.SampledFrom(timestamps).Draw(t, "timestamp")
	}
	return fmt.Sprintf("2026-11-23T10:%02d:%02d.%03dZ", rapid.IntRange(0, 2).Draw(t, "minute"),
		rapid.IntRange(0, 62).Draw(t, "second"), rapid.IntRange(0, 999).Draw(t, "millisecond"))
}

func quoted(text string) string {
	written, _ := json.Marshal(text) // a text never fails
	return string(written)
}

// mutate changes some of the members in a way that the event before did not have.
func mutate(t *rapid.T, members []member, values []string) []member {
	members = slices.Clone(members)
	for range rapid.SampledFrom([]int{0, 0, 1, 1, 2, 5}).Draw(t, "mutations") {
		if len(members) == 0 {
			break
		}
		i := rapid.IntRange(0, len(members)-1).Draw(t, "member")
		switch rapid.IntRange(0, 6).Draw(t, "mutation") {
		case 0:
			j := rapid.IntRange(0, len(members)-1).Draw(t, "with")
			members[i], members[j] = members[j], members[i]
		case 1: // the same name, spelled otherwise
			if c := members[i].name[1]; c != '\\' {
				members[i].name = fmt.Sprintf(`"\u%04x%s`, c, members[i].name[2:])
			}
		case 2:
			members = append(members, member{members[i].name, rapid.SampledFrom(values).Draw(t, "another")})
		case 3:
			members[i].value = rapid.SampledFrom(values).Draw(t, "value")
		case 4:
			members = slices.Delete(members, i, i+1)
		case 5:
			name := rapid.SampledFrom([]string{`"x"`, `"Route"`, `"rout"`, `"routes"`, `"type"`, `"id"`, `"route\""`, `"eventType "`}).Draw(t, "name")
			members = slices.Insert(members, i, member{name, rapid.SampledFrom(values).Draw(t, "unknown")})
		case 6:
			members[i].name = strings.ToUpper(members[i].name[:2]) + members[i].name[2:]
		}
	}
	return members
}

// TestStreamAgreesWithSingleEvents sends events that are much like the one before through one decoder. Each row has to be
// that of a decoder which has seen no other event, with the time that time.Parse reads.
func TestStreamAgreesWithSingleEvents(t *testing.T) {
	values := []string{`"/cart"`, `"a\u0062c\n"`, `""`, `null`, `5`, `true`, `[1,{"route":"x"}]`, `{"type":"a","b":{"id":1}}`, `{}`, `"`, `nul`}
	rapid.Check(t, func(t *rapid.T) {
		members := []member{
			{`"eventType"`, `"click"`}, {`"timestamp"`, ""}, {`"sessionId"`, `"s1"`}, {`"route"`, `"/cart"`}, {`"target"`, ""},
			{`"metadata"`, `{"clientX":1,"text":"\"}"}`}, {`"environment"`, `"production"`}, {`"idempotencyKey"`, `"k-1"`},
		}
		targets := []member{{`"type"`, `"element"`}, {`"id"`, `"buy"`}, {`"selector"`, `"#buy"`}, {`"tagName"`, `"button"`}}
		var decoder columns.Decoder
		var row columns.Row
		for range rapid.IntRange(2, 12).Draw(t, "events") {
			if rapid.Bool().Draw(t, "other targets") {
				targets = mutate(t, targets, values)
			}
			colon, comma := rapid.SampledFrom([]string{":", ":", ":", ": ", " :"}).Draw(t, "colon"), rapid.SampledFrom([]string{",", ",", ",", ", ", "\n,"}).Draw(t, "comma")
			at := drawTimestamp(t)
			for i := range members {
				switch members[i].name {
				case `"timestamp"`:
					members[i].value = quoted(at)
				case `"target"`:
					members[i].value = write(targets, colon, comma)
				}
			}
			if rapid.Bool().Draw(t, "other members") {
				members = mutate(t, members, append(values, quoted(drawTimestamp(t))))
			}
			raw := write(members, colon, comma)
			if rapid.IntRange(0, 20).Draw(t, "cut") == 0 {
				raw = raw[:rapid.IntRange(0, len(raw)).Draw(t, "length")]
			}
			want, wantErr := columns.Decode(event(raw), "n")
			e := event(raw)
			err := decoder.View(&row, &e, "n")
			if fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Fatalf("%s: error %v, alone %v", raw, err, wantErr)
			}
			if err == nil && row != want {
				t.Fatalf("%s:\ngot   %+v\nalone %+v", raw, row, want)
			}
			if err == nil {
				compareWithModel(t, raw, row)
			}
			// A decoder that trusted what it had kept of the event's memory would now know something else.
			for i := range e.Raw {
				e.Raw[i] ^= 0x15
			}
		}
	})
}

// compareWithModel does so if encoding/json reads the event as Decode does: it has no name twice.
func compareWithModel(t *rapid.T, raw string, row columns.Row) {
	if !json.Valid([]byte(raw)) || hasDuplicates(json.NewDecoder(strings.NewReader(raw))) {
		return
	}
	want := model(t, []byte(raw))
	got := columns.Row{EventType: row.EventType, Timestamp: row.Timestamp, Route: row.Route, TargetType: row.TargetType,
		TargetID: row.TargetID, TargetSelector: row.TargetSelector, TargetTag: row.TargetTag, Metadata: row.Metadata,
		Environment: row.Environment, IdempotencyKey: row.IdempotencyKey}
	want.Timestamp = time.UnixMilli(want.Timestamp.UnixMilli()).UTC()
	gotExtra, wantExtra := parse(t, row.Extra), parse(t, want.Extra)
	want.Extra = ""
	if got != want || !reflect.DeepEqual(gotExtra, wantExtra) {
		t.Fatalf("%s:\ngot  %+v\n     %v\nwant %+v\n     %v", raw, got, gotExtra, want, wantExtra)
	}
}

// hasDuplicates reads the value that begins, and says whether an object in it has a name twice.
func hasDuplicates(d *json.Decoder) bool {
	token, _ := d.Token()
	delim, nested := token.(json.Delim)
	if !nested {
		return false
	}
	names, twice := map[any]bool{}, false
	for d.More() {
		if delim == '{' {
			name, _ := d.Token()
			twice = twice || names[name]
			names[name] = true
		}
		twice = hasDuplicates(d) || twice
	}
	_, _ = d.Token() // the closing one
	return twice
}

// TestEventsBehindASample are events that go another way where a decoder expects the sample's next field.
func TestEventsBehindASample(t *testing.T) {
	events := []string{
		strings.Replace(sample, `"target":{`, `"target":"/cart","other":{`, 1),
		strings.Replace(sample, `"metadata":{`, `"metadata":"none","other":{`, 1),
		strings.Replace(sample, `"route":"/cart"`, `"route": "/cart"`, 1),
		strings.Replace(sample, `"route":"/cart"`, `"route":7`, 1),
		strings.Replace(sample, `"id":"buy"`, `"id":"b\"uy"`, 1),
	}
	for n := range sample {
		events = append(events, sample[:n])
	}
	for _, raw := range events {
		var decoder columns.Decoder
		var row columns.Row
		first, next := event(sample), event(raw)
		if err := decoder.View(&row, &first, "n"); err != nil {
			t.Fatal(err)
		}
		row = columns.Row{}
		err := decoder.View(&row, &next, "n")
		want, wantErr := columns.Decode(next, "n")
		if row != want || fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Errorf("%s: %+v (%v), alone %+v (%v)", raw, row, err, want, wantErr)
		}
	}
}

// TestTimestampsOfAStream reads each spelling after each other one, as time.Parse reads it.
func TestTimestampsOfAStream(t *testing.T) {
	for _, first := range timestamps {
		for _, second := range timestamps {
			var decoder columns.Decoder
			for _, text := range []string{first, second, first} {
				want, wantErr := time.Parse(time.RFC3339, text)
				var row columns.Row
				e := event(`{"timestamp":` + quoted(text) + `}`)
				err := decoder.View(&row, &e, "n")
				if (err == nil) != (wantErr == nil) || err == nil && row.Timestamp != time.UnixMilli(want.UnixMilli()).UTC() {
					t.Errorf("%q, %q: %q is %v (%v), want %v (%v)", first, second, text, row.Timestamp, err, want, wantErr)
				}
			}
		}
	}
}

// TestDecoderKeepsNoMemoryOfEvents holds a decoder alone, and looks whether the event goes free.
func TestDecoderKeepsNoMemoryOfEvents(t *testing.T) {
	var decoder columns.Decoder
	view := func() weak.Pointer[byte] {
		e := event(sample)
		var row columns.Row
		if err := decoder.View(&row, &e, "n"); err != nil {
			t.Fatal(err)
		}
		return weak.Make(&e.Raw[0])
	}
	first, second := view(), view() // what it learns is of the first, and predicts the second
	runtime.GC()
	if first.Value() != nil || second.Value() != nil {
		t.Error("an event is still in memory")
	}
	runtime.KeepAlive(&decoder)
}
