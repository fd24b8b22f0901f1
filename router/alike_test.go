package router_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"forebay/router"
	"forebay/router/auth"
	"forebay/router/event"
	"forebay/router/privacy"
	"forebay/router/ratelimit"
	"forebay/router/routertest"
)

// alikeTexts are what events share: with something to find in them as a key
// only, as a value only, and in a longer one whose beginning is clean.
var alikeTexts = []string{"a", "b", "email", "route", "/", "/?route=1", "j", "j@a.ie", "j%40a.ie", "4111 1111 1111 1111", "12345678-1234-4123-8123-123456789012"}

// metadataOf shows texts as the values of an array, or in turn as the keys and
// values of an object. Either way each is at the same place.
// Before stands a number of others.
func metadataOf(texts []string, inArray bool, others int) string {
	metadata := `"metadata":{"others":[` + strings.TrimSuffix(strings.Repeat(`"a",`, others), ",") + `]`
	if inArray {
		return metadata + `,"x":["` + strings.Join(texts, `","`) + `"]}`
	}
	metadata += `,"x":"` + texts[0] + `"`
	for pair := range slices.Chunk(texts[1:], 2) {
		metadata += fmt.Sprintf(",%q:%q", pair[0], pair[len(pair)-1])
	}
	return metadata + "}"
}

// drawAlike draws events of few texts and shapes, and some that are refused
// before anybody looks for personal data in them.
func drawAlike(t *rapid.T) (events []string) {
	const route = `"route":"/"` // next to metadata in one shape, where others have texts of their own
	const rest = `"eventType":"click","timestamp":"2026-11-23T09:59:58.123Z","sessionId":"s","target":{"type":"element"}`
	texts := rapid.SliceOfN(rapid.SampledFrom(alikeTexts), 1, 4).Draw(t, "texts")
	others := rapid.SampledFrom([]int{0, 0, 0, 240, 250, 256}).Draw(t, "others") // more than are recalled
	for range rapid.IntRange(2, 60).Draw(t, "count") {
		texts[rapid.IntRange(0, len(texts)-1).Draw(t, "at")] = rapid.SampledFrom(alikeTexts).Draw(t, "text")
		metadata := metadataOf(texts, rapid.Bool().Draw(t, "in array"), others)
		events = append(events, rapid.SampledFrom([]string{
			"{" + metadata + "," + route + "," + rest + "}",
			"{" + route + "," + metadata + "," + rest + "}",
			`{"metadata":{"x":"a"},` + route + "," + rest + "}",
			"{" + metadata + `,"eventType":1}`,
			`"j@a.ie"`,
		}).Draw(t, "event"))
	}
	return events
}

// alikeDoor tells what becomes of events.
type alikeDoor struct {
	*routertest.Door
	key string
}

func openAlike(t *testing.T, opts privacy.Options) alikeDoor {
	opts.DeniedKeys = []string{"route"} // a name that is known at an event's top, and denied below
	checker, err := privacy.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	door := routertest.Open(t, func(o *router.Options) {
		fixedClock(o)
		o.Log, o.Privacy = &memoryLog{}, checker
		o.Limiter = ratelimit.New(ratelimit.Options{RequestsPerSecond: 1_000_000, Burst: 10_000_000})
	})
	return alikeDoor{door, door.AddKey(auth.Key{Strict: true})}
}

// send posts events in one body, and returns what became of each and what was
// counted.
func (d alikeDoor) send(t *rapid.T, format event.Format, events []string) (refusals []string, found []router.Finding) {
	before := d.Router.Findings()
	contentType, body := "application/json", aBatch(events...)
	if format == event.Lines {
		contentType, body = "application/x-ndjson", strings.Join(events, "\n")
	}
	req := httptest.NewRequest(http.MethodPost, "/v1/events", strings.NewReader(body))
	req.Header.Set("X-API-Key", d.key)
	req.Header.Set("Content-Type", contentType)
	reply := httptest.NewRecorder()
	d.Router.ServeHTTP(reply, req)
	var receipt struct {
		Events []struct{ Dropped, Field, Rule string }
	}
	if err := json.Unmarshal(reply.Body.Bytes(), &receipt); err != nil || len(receipt.Events) != len(events) {
		t.Fatalf("%d events are answered with %s: %v", len(events), reply.Body, err)
	}
	for _, e := range receipt.Events {
		refusals = append(refusals, strings.TrimSpace(e.Dropped+" "+e.Field+" "+e.Rule))
	}
	found = d.Router.Findings()
	for i := range found {
		found[i].Dropped -= before[i].Dropped
		found[i].Reported -= before[i].Reported
	}
	return refusals, found
}

// What becomes of an event, and what is counted as found in it, does not depend
// on the events that come in the same body.
func TestEventsAreInspectedAsIfAlone(t *testing.T) {
	doors := []alikeDoor{
		openAlike(t, privacy.Options{}),
		openAlike(t, privacy.Options{Rules: privacy.Rules{privacy.Email: privacy.Report}}),
		openAlike(t, privacy.Options{Action: privacy.Report, Rules: privacy.Rules{privacy.Card: privacy.Drop}}),
	}
	rapid.Check(t, func(t *rapid.T) {
		door := rapid.SampledFrom(doors).Draw(t, "door")
		format := rapid.SampledFrom([]event.Format{event.Envelope, event.Lines}).Draw(t, "format")
		events := drawAlike(t)
		together, counted := door.send(t, format, events)
		for i, e := range events {
			alone, found := door.send(t, format, []string{e})
			if together[i] != alone[0] {
				t.Fatalf("event %d, %s: %q, alone %q", i, e, together[i], alone[0])
			}
			for d := range counted {
				counted[d].Dropped -= found[d].Dropped
				counted[d].Reported -= found[d].Reported
			}
		}
		if slices.ContainsFunc(counted, func(f router.Finding) bool { return f.Dropped != 0 || f.Reported != 0 }) {
			t.Fatalf("counted more in one body: %+v", counted)
		}
	})
}

// However many texts an event has, each is looked at.
func TestTheLastOfManyTextsIsInspected(t *testing.T) {
	door := openAlike(t, privacy.Options{})
	const rest = `"route":"/","eventType":"click","timestamp":"2026-11-23T09:59:58.123Z","sessionId":"s","target":{"type":"element"}}`
	rapid.Check(t, func(t *rapid.T) {
		others := rapid.IntRange(0, 400).Draw(t, "others")
		clean, mail := "{"+metadataOf([]string{"a"}, true, others)+","+rest, "{"+metadataOf([]string{"j@a.ie"}, true, others)+","+rest
		got, _ := door.send(t, event.Envelope, []string{clean, mail, mail, clean})
		if want := []string{"", "privacy metadata.x email", "privacy metadata.x email", ""}; !slices.Equal(got, want) {
			t.Fatalf("behind %d others: %q, want %q", others, got, want)
		}
	})
}
