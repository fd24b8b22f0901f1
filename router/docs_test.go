package router_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"forebay/router/auth"
	"forebay/router/event"
	"forebay/router/privacy"
	"forebay/router/routertest"
)

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// WIRE.md names every case, and every reason, rule and detector there is.
func TestWireIsDescribed(t *testing.T) {
	text := readFile(t, "WIRE.md")
	cases := readWireCases(t)
	for name := range cases {
		if !strings.Contains(text, "`"+name+"`") {
			t.Errorf("the case %s is not named", name)
		}
	}
	for _, found := range regexp.MustCompile("`((?:good|bad)_[a-z0-9_]+)`").FindAllStringSubmatch(text, -1) {
		if _, ok := cases[found[1]]; !ok {
			t.Errorf("the case %s does not exist", found[1])
		}
	}
	var names []string
	for _, file := range []string{"rules.go", "event/reason.go"} {
		for _, found := range regexp.MustCompile(`Rule += "([a-z_0-9]+)"`).FindAllStringSubmatch(readFile(t, file), -1) {
			names = append(names, found[1])
		}
	}
	if len(names) < 30 {
		t.Fatalf("only %d rules found", len(names))
	}
	for _, reason := range slices.Concat(event.RequestReasons(), event.EventReasons()) {
		names = append(names, reason.String())
	}
	for d := range privacy.DetectorCount {
		names = append(names, d.String())
	}
	for _, name := range names {
		if !strings.Contains(text, "`"+name+"`") {
			t.Errorf("%s is not described", name)
		}
	}
}

// The table of WIRE.md has a row for every detector, in their order, and no other.
func TestDetectorsAreDescribed(t *testing.T) {
	_, section, _ := strings.Cut(readFile(t, "WIRE.md"), "## Personal data")
	_, table, _ := strings.Cut(section, "|---|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := strings.Split(table, "\n")
	for d := range privacy.DetectorCount {
		if int(d) >= len(rows) || !strings.HasPrefix(rows[d], "| `"+d.String()+"` |") || strings.Count(rows[d], " | ") != 3 {
			t.Errorf("row %d of the table is not about %s: what it catches, its evidence, what it lets through", d, d)
		}
	}
	if len(rows) != int(privacy.DetectorCount) {
		t.Errorf("the table has %d rows for %d detectors", len(rows), privacy.DetectorCount)
	}
}

// The defaults are those that WIRE.md states.
func TestWireLimits(t *testing.T) {
	l := event.DefaultLimits()
	if l.BatchEvents != 100 || l.BatchBytes != 500<<10 || l.EventBytes != 10<<10 || l.Depth != 10 || l.StringBytes != 10_000 || l.SessionBytes != 256 {
		t.Errorf("%+v", l)
	}
	if text := readFile(t, "WIRE.md"); !strings.Contains(text, strings.Join(l.EventTypes, " ")) {
		t.Error("WIRE.md lists other event types")
	}
}

// openapi.yaml has the paths that the router has, and its examples are taken.
func TestOpenAPI(t *testing.T) {
	type body struct {
		Content map[string]struct {
			Examples map[string]struct{ Value any }
		}
	}
	var spec struct {
		Paths      map[string]map[string]any
		Components struct {
			RequestBodies map[string]body `yaml:"requestBodies"`
		}
	}
	if err := yaml.Unmarshal([]byte(readFile(t, "openapi.yaml")), &spec); err != nil {
		t.Fatal(err)
	}
	door := routertest.Open(t, fixedClock)
	strict := door.AddKey(auth.Key{Strict: true})
	for path, methods := range spec.Paths {
		if len(methods) != 1 || methods["post"] == nil {
			t.Errorf("%s has methods %v", path, methods)
		}
		name := "Batch"
		if path == "/v1/event" {
			name = "Event"
		}
		for mediaType, content := range spec.Components.RequestBodies[name].Content {
			for _, example := range content.Examples {
				text, err := json.Marshal(example.Value)
				if err != nil {
					t.Fatal(err)
				}
				// Each path stores its own copy.
				text = []byte(strings.Replace(string(text), "5c2f31a8-1", path+mediaType, 1))
				req := httptest.NewRequest(http.MethodPost, path, strings.NewReader(string(text)))
				req.Header.Set("X-API-Key", strict)
				req.Header.Set("Content-Type", mediaType)
				reply := httptest.NewRecorder()
				door.Router.ServeHTTP(reply, req)
				if !strings.Contains(reply.Body.String(), `"accepted":1,`) {
					t.Errorf("%s %s: %s", path, text, reply.Body)
				}
			}
		}
	}
	if n := len(door.Stored()); n != 6 || len(spec.Paths) != 3 {
		t.Errorf("%d examples were stored on %d paths", n, len(spec.Paths))
	}
}

// The wire cap is 2 MiB unless the options say otherwise.
func TestWireCap(t *testing.T) {
	door := routertest.Open(t, fixedClock)
	key := door.AddKey(auth.Key{})
	for _, size := range []int{2 << 20, 2<<20 + 1} {
		reply := post(door.Router, key, "", []byte(strings.Repeat(" ", size)))
		if closes := reply.Header().Get("Connection") == "close"; closes != (size > 2<<20) {
			t.Errorf("%d bytes: closes %v", size, closes)
		}
	}
}
