package event

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// What ParseTimestamp takes, time.Parse takes too, as the same moment, and what
// time.Parse takes in its canonical form, ParseTimestamp takes.
func TestTimestampAgreesWithTimeParse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(
			rapid.StringMatching(`[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,10})?(Z|[+-][0-2][0-9]:[0-6][0-9])`),
			rapid.StringMatching(`[0-9]{3,5}-[0-9]{1,2}-[0-9]{1,2}[Tt ][0-9]{1,2}:[0-9]{2}:[0-9]{2}[.,]?[0-9]{0,3}[Zz]?`),
		).Draw(t, "text")
		got, ok := ParseTimestamp([]byte(text))
		want, err := time.Parse(time.RFC3339, text)
		if ok && (err != nil || !got.Equal(want)) {
			t.Fatalf("%s: %v, but time.Parse says %v, %v", text, got, want, err)
		}
		if utc := want.UTC(); err == nil && !ok && utc.Year() >= 0 && utc.Year() <= 9999 {
			canonical := utc.Format(time.RFC3339Nano)
			if again, ok := ParseTimestamp([]byte(canonical)); !ok || !again.Equal(want) {
				t.Fatalf("%s is refused, though it is canonical", canonical)
			}
		}
	})
}

// What one timestamp leaves behind does not change how the next is read.
func TestTimestampsOfOneMinute(t *testing.T) {
	var m minute
	rapid.Check(t, func(t *rapid.T) {
		minutes := rapid.SampledFrom([]string{
			"2026-11-23T10:00:", "2026-11-23T10:01:", "2026-11-31T10:00:", "2026-02-29T10:00:", "2026-11-23t10:00:", "0001-01-01T00:00:", "0000-01-01T00:00:",
			"2026-11-23T10:00", strings.Repeat("\x00", len(minuteLayout)), "2026-11-23T25:00:", "9999-12-31T23:59:",
		})
		seconds := rapid.OneOf(
			rapid.SampledFrom([]string{"00Z", "59.5Z", "30.123456789-01:30", "60Z", "00"}),
			rapid.StringMatching(`([0-6][0-9]|[0-9:]{1,2})(\.[0-9]{0,10})?(Z|[+-][0-2][0-9]:[0-6][0-9]|)`),
		)
		a, b := minutes.Draw(t, "a minute"), minutes.Draw(t, "another minute")
		for range rapid.IntRange(1, 8).Draw(t, "timestamps") {
			text := []byte(rapid.SampledFrom([]string{a, b}).Draw(t, "minute") + seconds.Draw(t, "seconds"))
			got, ok := m.parse(text)
			want, wantOK := ParseTimestamp(text)
			if ok != wantOK || got != want {
				t.Fatalf("%q: %v, %v, but alone %v, %v", text, got, ok, want, wantOK)
			}
			if std, err := time.Parse(time.RFC3339, string(text)); ok && (err != nil || got != std.UTC()) {
				t.Fatalf("%q: %v, but time.Parse says %v, %v", text, got, std, err)
			}
		}
	})
}

func TestTimestampForms(t *testing.T) {
	for text, want := range map[string]string{
		"2026-11-23T10:00:00Z":             "2026-11-23T10:00:00Z",
		"2026-11-23T10:00:00.5Z":           "2026-11-23T10:00:00.5Z",
		"2026-11-23T10:00:00.123456789Z":   "2026-11-23T10:00:00.123456789Z",
		"2026-11-23T10:00:00+05:30":        "2026-11-23T04:30:00Z",
		"2026-11-23T10:00:00-00:00":        "2026-11-23T10:00:00Z",
		"2028-02-29T23:59:59Z":             "2028-02-29T23:59:59Z",
		"2026-02-29T00:00:00Z":             "",
		"2026-11-31T00:00:00Z":             "",
		"2026-13-01T00:00:00Z":             "",
		"2026-11-23T24:00:00Z":             "",
		"2026-11-23T10:00:60Z":             "",
		"2026-11-23t10:00:00Z":             "",
		"2026-11-23T10:00:00z":             "",
		"2026-11-23 10:00:00Z":             "",
		"2026-11-23T10:00:00,5Z":           "",
		"2026-11-23T10:00:00.Z":            "",
		"2026-11-23T10:00:00.1234567890Z":  "",
		"2026-11-23T10:00:00":              "",
		"2026-11-23T10:00:00+0530":         "",
		"2026-11-23T10:00:00+24:00":        "",
		"2026-11-23":                       "",
		"":                                 "",
		"2026-11-23T10:00:00Z ":            "",
		"\uff12026-11-23T10:00:00Z":        "",
		strings.Repeat("\x00", 17) + "00Z": "",
	} {
		got, ok := ParseTimestamp([]byte(text))
		if ok != (want != "") || ok && got.Format(time.RFC3339Nano) != want {
			t.Errorf("%q: %v, %v, want %q", text, got, ok, want)
		}
	}
}
