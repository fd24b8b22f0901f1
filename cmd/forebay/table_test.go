package main

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestTableFitsTheTerminal(t *testing.T) {
	rows := func() [][]string {
		return [][]string{
			{"CURSOR", "STATE", "NEXT", "LAST ERROR"},
			{"clickhouse", "failing", "41", "10.0.0.1:9000: connect: connection refused, and again and again"},
			{"session", "running", "41", ""},
		}
	}
	for name, c := range map[string]struct {
		width int
		want  string
	}{
		"no terminal": {0, `
CURSOR      STATE    NEXT  LAST ERROR
clickhouse  failing  41    10.0.0.1:9000: connect: connection refused, and again and again
session     running  41`},
		"wide enough": {92, `
CURSOR      STATE    NEXT  LAST ERROR
clickhouse  failing  41    10.0.0.1:9000: connect: connection refused, and again and again
session     running  41`},
		"beside": {60, `
CURSOR      STATE    NEXT  LAST ERROR
clickhouse  failing  41    10.0.0.1:9000: connect:
                           connection refused, and again and
                           again
session     running  41`},
		"below": {40, `
CURSOR      STATE    NEXT
clickhouse  failing  41
    10.0.0.1:9000: connect: connection
    refused, and again and again
session     running  41`},
		"cut": {24, `
CURSOR     STATE    NEXT
clickhou…  failing  41
    10.0.0.1:9000:
    connect: connection
    refused, and again
    and again
session    running  41`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(layOut(rows(), c.width, false), "\n"); got != strings.TrimPrefix(c.want, "\n") {
				t.Errorf("got:\n%s\nwant:%s", got, c.want)
			}
		})
	}
}

// TestTableLosesNothing: whatever is in the last column is there at any width,
// and no line is wider than the terminal if the columns may be so narrow.
func TestTableLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cell := rapid.StringMatching(`[a-zé ]{0,60}`)
		rows := rapid.SliceOfN(rapid.SliceOfN(cell, 4, 4), 1, 5).Draw(t, "rows")
		width := rapid.IntRange(4*(minColumn+columnGap), 200).Draw(t, "width")
		var words []string
		for _, r := range rows {
			words = append(words, strings.Fields(r[3])...)
		}
		lines := layOut(rows, width, false)
		for _, l := range lines {
			if utf8.RuneCountInString(l) > width {
				t.Errorf("wider than %d: %q", width, l)
			}
		}
		text := strings.ReplaceAll(strings.Join(lines, ""), " ", "")
		for _, w := range words {
			if len(w) <= minText/2 && !strings.Contains(text, w) {
				t.Errorf("%q is not in %q", w, lines)
			}
		}
	})
}

func TestCount(t *testing.T) {
	got := []string{count(1, "event"), count(0, "event"), count(uint64(2), "dead letter"), count(1, "try"), count(3, "try")}
	if want := []string{"1 event", "0 events", "2 dead letters", "1 try", "3 tries"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
