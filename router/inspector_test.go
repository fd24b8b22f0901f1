package router_test

import (
	"slices"
	"strings"
	"testing"

	"forebay/router"
	"forebay/router/auth"
	"forebay/router/event"
	"forebay/router/privacy"
	"forebay/router/routertest"
)

func newInspector(t *testing.T, limits event.Limits) *router.Inspector {
	t.Helper()
	checker, err := privacy.New(privacy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	i, err := router.NewInspector(limits, checker)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// An inspector names every place, and the pipeline drops for one of them.
func TestInspectorAgreesWithThePipeline(t *testing.T) {
	i := newInspector(t, event.Limits{})
	door := routertest.Open(t, fixedClock)
	key := door.AddKey(auth.Key{})
	body := `{"app_id":"call +1 415 555 2671","events":[` + anEvent("s", `,"a":["x",{"Email":"john@example.com"}],"john%40example.com":1`) + `,` + anEvent("s", "") + `]}`
	all, refusal := i.Inspect([]byte(body), event.Envelope)
	if refusal.Refused() || len(all) != 2 {
		t.Fatalf("%+v, %+v", all, refusal)
	}
	want := []router.Place{
		{Detector: privacy.Phone, Field: "app_id"}, {Detector: privacy.DeniedKey, Field: "a.Email"},
		{Detector: privacy.Email, Field: "a.Email"}, {Detector: privacy.Email, Field: "(key)"},
	}
	if !slices.Equal(all[0].Places, want) || !slices.Equal(all[1].Places, want[:1]) {
		t.Errorf("found %+v, want %+v", all, want)
	}
	if got := all[0].Found(); got != privacy.Set(0).With(privacy.Phone).With(privacy.DeniedKey).With(privacy.Email) {
		t.Errorf("found %b", got)
	}
	post(door.Router, key, "", []byte(body))
	for _, d := range door.Router.Drops(10) {
		if d.Reason != "privacy" || d.Rule != "phone" || d.Field != "app_id" {
			t.Errorf("dropped as %+v", d)
		}
	}
	if len(door.Stored()) != 0 {
		t.Error("an event was stored")
	}
}

func TestInspectorRefuses(t *testing.T) {
	i := newInspector(t, event.Limits{})
	if _, refusal := i.Inspect([]byte(`{"events":1}`), event.Envelope); refusal.Reason != event.Malformed {
		t.Errorf("%+v", refusal)
	}
	all, refusal := i.Inspect([]byte(`{"metadata":{"email":1}}`), event.Single)
	if refusal.Refused() || len(all) != 1 || all[0].Refusal.Reason != event.Invalid || all[0].Places != nil {
		t.Errorf("%+v, %+v", all, refusal)
	}
}

// What other limits let into the log is looked at all the same.
func TestInspectStored(t *testing.T) {
	i := newInspector(t, router.StoredLimits())
	deep := strings.Repeat(`{"a":`, 900) + `"john@example.com"` + strings.Repeat("}", 900)
	raw := strings.Replace(anEvent("s", `,"d":`+deep+`,"long":"`+strings.Repeat("x", 100_000)+`"`), "click", "made_up", 1)
	got := i.InspectStored([]byte(raw), "shop", "1.0 john@example.com")
	if got.Refusal.Refused() || len(got.Places) != 2 || got.Places[1].Field != "sdk_version" || !strings.HasPrefix(got.Places[0].Field, "d.a.a") {
		t.Errorf("%d places, %+v", len(got.Places), got.Refusal)
	}
	if got := i.InspectStored([]byte("no JSON"), "", ""); !got.Refusal.Refused() {
		t.Errorf("%+v", got)
	}
}
