package node_test

import (
	"io"
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

// TestConsoleFiles: the page is served without a token, as what it is, under a
// policy that lets nothing else in; it names no other host and makes no markup
// of what the node says.
func TestConsoleFiles(t *testing.T) {
	c := nodetest.Config(t)
	nodetest.Key(t, c)
	c.Admin.TokenFile = filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(c.Admin.TokenFile, []byte("opensesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := nodetest.Run(t, c)
	ask := func(path, etag string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, n.AdminURL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("If-None-Match", etag)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, string(text)
	}
	files, err := os.ReadDir("admin/console")
	if err != nil {
		t.Fatal(err)
	}
	paths := map[string]string{"/": "text/html; charset=utf-8"}
	for _, f := range files {
		paths["/console/"+f.Name()] = map[string]string{
			".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
		}[filepath.Ext(f.Name())]
	}
	for path, kind := range paths {
		res, text := ask(path, "")
		h := res.Header
		if res.StatusCode != http.StatusOK || text == "" || h.Get("Content-Type") != kind || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %s, %v", path, res.Status, h)
		}
		for _, rule := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
			if !strings.Contains(h.Get("Content-Security-Policy"), rule) {
				t.Errorf("%s: the policy lacks %s", path, rule)
			}
		}
		if again, _ := ask(path, h.Get("ETag")); again.StatusCode != http.StatusNotModified {
			t.Errorf("%s: asked again it is sent again: %s", path, again.Status)
		}
		found := regexp.MustCompile(`https?://[^"' ]+|innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(`).FindAllString(text, -1)
		for _, f := range found {
			if f != "http://www.w3.org/2000/svg" {
				t.Errorf("%s has %s", path, f)
			}
		}
	}
	for _, path := range []string{"/console/nosuch.js", "/console/..%2fconsole.go", "/console/"} {
		if res, _ := ask(path, ""); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
	if res, _ := ask("/admin/v1/status", ""); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("the API without a token: %s", res.Status)
	}
}
