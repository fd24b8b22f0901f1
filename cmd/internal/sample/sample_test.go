package sample_test

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"

	"forebay/cmd/internal/sample"
)

// decode splits a batch's body into its events.
func decode(t *testing.T, body []byte) []json.RawMessage {
	t.Helper()
	var b struct{ Events []json.RawMessage }
	if err := json.Unmarshal(body, &b); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return b.Events
}

func TestEventsAreVariedAndNumbered(t *testing.T) {
	g := sample.New(7, 3)
	check := sample.NewCheck()
	types := map[string]bool{}
	for i := range 300 {
		b := g.Batch(i%g.Sessions(), 5)
		events := decode(t, b.Body)
		if len(events) != 5 || len(b.Keys) != 5 {
			t.Fatalf("%d events, %d keys", len(events), len(b.Keys))
		}
		for _, raw := range events {
			var e struct{ EventType string }
			if err := json.Unmarshal(raw, &e); err != nil {
				t.Fatal(err)
			}
			types[e.EventType] = true
			check.Event(raw)
		}
		if !check.Has(b.Keys[4]) {
			t.Fatalf("event %s is missing", b.Keys[4])
		}
	}
	if len(types) != 12 {
		t.Errorf("only the types %v", types)
	}
	if r := check.Report(); r.Sessions != 3 || r.Events != 1500 || r.OutOfOrder+r.Missing+r.Repeats+r.Foreign != 0 {
		t.Errorf("%+v", r)
	}
}

// TestCheckTellsOrder gives a session's events in any order, with repeats, and
// counts by hand.
func TestCheckTellsOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		events := decode(t, sample.New(1, 1).Batch(0, 9).Body)
		given := rapid.SliceOfN(rapid.IntRange(1, 9), 1, 20).Draw(rt, "numbers")
		check := sample.NewCheck()
		seen, highest := map[int]bool{}, 0
		want := sample.CheckReport{Sessions: 1}
		for _, n := range given {
			check.Event(events[n-1])
			switch {
			case seen[n]:
				want.Repeats++
				continue
			case n < highest:
				want.OutOfOrder++
			}
			seen[n], highest = true, max(highest, n)
			want.Events++
		}
		want.Missing = highest - len(seen)
		got := check.Report()
		if len(got.Violations) != want.OutOfOrder {
			rt.Fatalf("%d violations described, want %d", len(got.Violations), want.OutOfOrder)
		}
		got.Violations = nil
		if got.Events != want.Events || got.Repeats != want.Repeats || got.OutOfOrder != want.OutOfOrder || got.Missing != want.Missing {
			rt.Fatalf("%v: got %+v, want %+v", given, got, want)
		}
	})
}

func TestCheckCountsForeignEvents(t *testing.T) {
	check := sample.NewCheck()
	for _, raw := range []string{`{}`, `x`, `{"sessionId":"a","idempotencyKey":"b-1"}`, `{"sessionId":"a","idempotencyKey":"a-99999999999"}`, `{"sessionId":"a","idempotencyKey":"a-0"}`} {
		check.Event([]byte(raw))
	}
	if r := check.Report(); r.Foreign != 5 || r.Events != 0 {
		t.Errorf("%+v", r)
	}
}
