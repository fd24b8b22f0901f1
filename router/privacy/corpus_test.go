package privacy_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"forebay/router/event"
	"forebay/router/privacy"
)

const corpusDir = "../../testdata/privacy"

// What the corpus has to have at least, and what is asked of each detector.
const (
	minPositives = 40   // lines of a detector, in each half
	minNegatives = 1000 // clean lines, in both halves
	minRecall    = 0.98
	minPrecision = 0.99
)

// eventWith makes an event of one line of the corpus.
func eventWith(line []byte) string {
	route, metadata := `"/"`, `{}`
	switch {
	case line[0] == '{':
		metadata = string(line)
	case bytes.HasPrefix(line, []byte(`"/`)):
		route = string(line)
	default:
		metadata = `{"v":` + string(line) + `}`
	}
	return `{"eventType":"click","timestamp":"2026-11-23T10:00:00Z","sessionId":"s","route":` + route +
		`,"target":{"type":"element"},"metadata":` + metadata + `}`
}

// inspector finds what the router would find in an event.
type inspector struct {
	decoder *event.Decoder
	checker *privacy.Checker
}

func newInspector(t testing.TB) inspector {
	t.Helper()
	d, err := event.NewDecoder(event.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := privacy.New(privacy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return inspector{d, c}
}

func (i inspector) find(t testing.TB, raw string) (found privacy.Set) {
	t.Helper()
	batch, refusal := i.decoder.Decode([]byte(raw), event.Single, time.Time{})
	if !refusal.Refused() {
		refusal = batch.Events[0].Refusal
	}
	if refusal.Refused() {
		t.Fatalf("%s is no event: %+v", raw, refusal)
	}
	batch.Texts(&batch.Events[0], func(text event.Text) bool {
		found |= i.checker.Find(text.Value, text.IsKey)
		return true
	})
	return found
}

// corpusLines reads one file of the corpus.
func corpusLines(t testing.TB, half, name string) (lines [][]byte) {
	t.Helper()
	file, err := os.Open(filepath.Join(corpusDir, half, name+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for s := bufio.NewScanner(file); s.Scan(); {
		if !json.Valid(s.Bytes()) {
			t.Fatalf("%s/%s: %s is not JSON", half, name, s.Bytes())
		}
		lines = append(lines, bytes.Clone(s.Bytes()))
	}
	return lines
}

// TestCorpus measures every detector on both halves of the corpus and prints
// the figures.
func TestCorpus(t *testing.T) {
	i := newInspector(t)
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "corpus\tdetector\tlines\tfound\trecall\tfalse\tprecision")
	negatives := 0
	for _, half := range []string{"holdout", "development"} {
		var lines, right, wrong [privacy.DetectorCount]int
		measure := func(name string, want privacy.Set, add func()) {
			for _, line := range corpusLines(t, half, name) {
				add()
				got := i.find(t, eventWith(line))
				for d := range privacy.DetectorCount {
					switch {
					case got.Has(d) && want.Has(d):
						right[d]++
					case got.Has(d):
						wrong[d]++
						t.Logf("%s/%s: %s finds something in %s", half, name, d, line)
					case want.Has(d):
						t.Logf("%s/%s: nothing is found in %s", half, name, line)
					}
				}
			}
		}
		measure("clean", 0, func() { negatives++ })
		for d := range privacy.DetectorCount {
			measure(d.String(), privacy.Set(0).With(d), func() { lines[d]++ })
		}
		for d := range privacy.DetectorCount {
			recall := float64(right[d]) / float64(max(lines[d], 1))
			precision := float64(right[d]) / float64(max(right[d]+wrong[d], 1))
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%.3f\t%d\t%.3f\n", half, d, lines[d], right[d], recall, wrong[d], precision)
			if lines[d] < minPositives || recall < minRecall || precision < minPrecision {
				t.Errorf("%s: %s has %d lines, recall %.3f, precision %.3f; want at least %d, %.2f, %.2f",
					half, d, lines[d], recall, precision, minPositives, minRecall, minPrecision)
			}
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d clean lines\n%s", negatives, table.String())
	if negatives < minNegatives {
		t.Errorf("%d clean lines, want %d", negatives, minNegatives)
	}
}
