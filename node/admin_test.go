package node_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"forebay/node/admin"
	"forebay/node/nodetest"
)

func skip(t *testing.T, n *nodetest.Node, cursor string) {
	t.Helper()
	if _, err := n.Admin.Rewind(ctx, cursor, admin.RewindRequest{SkipEnd: true, Apply: true}); err != nil {
		t.Fatal(err)
	}
}

// TestAdminAnswersOperatorsOnly: no page of another origin, no name that
// somebody pointed at this address, and with a token nobody without it.
func TestAdminAnswersOperatorsOnly(t *testing.T) {
	c := nodetest.Config(t)
	nodetest.Key(t, c)
	n := nodetest.Run(t, c)
	ask := func(method, path string, change func(*http.Request)) int {
		t.Helper()
		req, err := http.NewRequest(method, n.AdminURL+path, strings.NewReader(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		change(req)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode
	}
	plain := func(*http.Request) {}
	rebound := func(r *http.Request) { r.Host = "evil.example" }
	foreign := func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }
	for name, c := range map[string]struct {
		method, path string
		change       func(*http.Request)
		want         int
	}{
		"plain":              {http.MethodGet, "/admin/v1/status", plain, http.StatusOK},
		"rebound name":       {http.MethodGet, "/admin/v1/status", rebound, http.StatusForbidden},
		"foreign page":       {http.MethodPost, "/admin/v1/cursors/archive/pause", foreign, http.StatusForbidden},
		"foreign page, list": {http.MethodGet, "/admin/v1/wal/events", foreign, http.StatusForbidden},
		"unknown cursor":     {http.MethodGet, "/admin/v1/cursors/nosuch", plain, http.StatusNotFound},
		"unknown path":       {http.MethodGet, "/admin/v2/status", plain, http.StatusNotFound},
		"bad number":         {http.MethodGet, "/admin/v1/wal/events?from=x", plain, http.StatusBadRequest},
		"no place named":     {http.MethodPost, "/admin/v1/cursors/archive/rewind", plain, http.StatusBadRequest},
		"alive":              {http.MethodGet, "/healthz", plain, http.StatusOK},
	} {
		if got := ask(c.method, c.path, c.change); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestAdminTokenIsRequired(t *testing.T) {
	c := nodetest.Config(t)
	nodetest.Key(t, c)
	c.Admin.TokenFile = filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(c.Admin.TokenFile, []byte("opensesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := nodetest.Run(t, c)
	if _, err := n.Admin.Status(ctx); err == nil || !strings.Contains(err.Error(), "wants a token") {
		t.Errorf("without the token: %v", err)
	}
	addr := strings.TrimPrefix(n.AdminURL, "http://")
	if _, err := admin.NewClient(addr, "opensesame").Status(ctx); err != nil {
		t.Errorf("with the token: %v", err)
	}
	if _, err := admin.NewClient(addr, "opensesam").Status(ctx); err == nil {
		t.Error("a wrong token was taken")
	}
}

// TestEveryRouteIsDocumented holds the manual to the API.
func TestEveryRouteIsDocumented(t *testing.T) {
	source, err := os.ReadFile("admin/server.go")
	if err != nil {
		t.Fatal(err)
	}
	manual, err := os.ReadFile("OPERATING.md")
	if err != nil {
		t.Fatal(err)
	}
	routes := regexp.MustCompile(`r\.(GET|POST)\("([^"]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(routes) < 10 {
		t.Fatalf("found %d routes in server.go: this test no longer sees them", len(routes))
	}
	for _, r := range routes {
		if !strings.Contains(string(manual), "`"+r[1]+" "+r[2]+"`") {
			t.Errorf("OPERATING.md does not name %s %s", r[1], r[2])
		}
	}
}
