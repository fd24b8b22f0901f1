package router_test

import (
	"testing"

	"forebay/router"
	"forebay/router/auth"
	"forebay/router/privacy"
	"forebay/router/routertest"
)

// A detector that only reports counts the event and lets it through.
func TestPrivacyReport(t *testing.T) {
	checker, err := privacy.New(privacy.Options{
		Rules:    privacy.Rules{privacy.Email: privacy.Report},
		Projects: map[string]privacy.Rules{"careful": {privacy.Email: privacy.Drop}},
	})
	if err != nil {
		t.Fatal(err)
	}
	door := routertest.Open(t, func(o *router.Options) {
		fixedClock(o)
		o.Privacy = checker
	})
	careful, careless := door.AddKey(auth.Key{Project: "careful"}), door.AddKey(auth.Key{Project: "careless"})
	email, card := anEvent("s", `,"to":"john@example.com"`), anEvent("s", `,"to":"john@example.com","paid":"4111111111111111"`)
	for _, key := range []string{careful, careless} {
		post(door.Router, key, "", []byte(aBatch(email, card)))
	}
	if stored := door.Stored(); len(stored) != 1 || stored[0].Raw != email || stored[0].Project != "careless" {
		t.Errorf("stored %+v", stored)
	}
	for _, f := range door.Router.Findings() {
		want := router.Finding{Detector: f.Detector}
		switch f.Detector {
		case "email":
			want.Dropped, want.Reported = 2, 2
		case "card":
			want.Dropped = 1
		}
		if f != want {
			t.Errorf("%+v, want %+v", f, want)
		}
	}
	tally := door.Router.Tally()
	balanced(t, tally)

	next := routertest.Open(t, nil)
	next.Router.Restore(tally)
	if got := next.Router.Tally(); got.Events.Dropped["privacy"] != 3 || got.Projects["careless"].Events.Accepted != 1 {
		t.Errorf("restored %+v", got)
	}
}
