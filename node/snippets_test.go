package node_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"forebay/node/admin"
	"forebay/node/nodetest"
	"forebay/router/auth"
	"forebay/router/auth/file"
)

// lost, as a fault, is a reply that reaches nobody: the sender cannot know that
// its events are stored.
const lost = 0

// faulty is a proxy before the node. Each POST meets the next of the faults:
// its reply is lost, or the proxy answers it with that status by itself, as one
// does whose nodes are away. Once there are no more faults, all is well.
func faulty(t *testing.T, n *nodetest.Node, faults ...int) http.Handler {
	t.Helper()
	target, err := url.Parse(n.URL)
	if err != nil {
		t.Fatal(err)
	}
	var posts atomic.Int64
	proxy := httputil.NewSingleHostReverseProxy(target)
	losing := httputil.NewSingleHostReverseProxy(target)
	losing.ModifyResponse = func(*http.Response) error { return errors.New("lost") }
	losing.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		i := int(posts.Add(1)) - 1
		switch {
		case req.Method != http.MethodPost:
			posts.Add(-1)
			proxy.ServeHTTP(w, req)
		case i >= len(faults):
			proxy.ServeHTTP(w, req)
		case faults[i] == lost:
			losing.ServeHTTP(w, req)
		default:
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(faults[i])
			_, _ = fmt.Fprintf(w, "<html><h1>%d</h1></html>", faults[i])
		}
	})
}

func serve(t *testing.T, handler http.Handler) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// logged are the events in the node's log.
func logged(t *testing.T, n *nodetest.Node) (all []admin.Event) {
	t.Helper()
	err := n.Admin.Events(ctx, 0, 1000, func(e admin.Event) error {
		all = append(all, e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// need skips the test if a program is not installed, and fails it under CI.
func need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	text := program + " is not installed: run make deps"
	if os.Getenv("CI") != "" {
		t.Fatal(text)
	}
	t.Skip(text)
	return ""
}

// TestServerSnippets runs what the README shows to servers against a node whose
// first replies are lost, or come from a proxy that does not reach it: the event
// is stored once, and the sender gets to know.
func TestServerSnippets(t *testing.T) {
	for name, c := range map[string]struct {
		language string
		faults   []int
	}{
		"go, replies lost":            {"go", []int{lost, lost}},
		"go, a proxy without nodes":   {"go", []int{http.StatusBadGateway, http.StatusGatewayTimeout}},
		"go, an answer of nobody's":   {"go", []int{http.StatusOK, http.StatusInternalServerError}},
		"go, too many":                {"go", []int{http.StatusTooManyRequests, http.StatusServiceUnavailable}},
		"curl, replies lost":          {"sh", []int{lost, lost}},
		"curl, a proxy without nodes": {"sh", []int{http.StatusBadGateway, http.StatusGatewayTimeout}},
		"curl, too many":              {"sh", []int{http.StatusTooManyRequests, http.StatusServiceUnavailable}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := nodetest.Config(t)
			key := nodetest.Key(t, config)
			n := nodetest.Run(t, config)
			out, err := runSnippet(t, c.language, serve(t, faulty(t, n, c.faults...)), key)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			want := ""
			if c.faults[0] == lost {
				want = "duplicate"
			}
			out = out[max(0, bytes.LastIndex(out, []byte(`{"success"`))):] // curl prints what the proxy said before
			var receipt struct {
				Success bool
				Events  []struct{ Dropped string }
			}
			if err := json.Unmarshal(out, &receipt); err != nil || !receipt.Success || len(receipt.Events) != 1 || receipt.Events[0].Dropped != want {
				t.Errorf("the last answer is %q (%v), want the event, dropped as %q", out, err, want)
			}
			if all := logged(t, n); len(all) != 1 || !strings.Contains(string(all[0].Event), `"buy"`) {
				t.Errorf("the log has %d events, want the one: %+v", len(all), all)
			}
		})
	}
}

// TestServerSnippetRefused: what the node refuses for good is not sent again.
func TestServerSnippetRefused(t *testing.T) {
	for _, status := range []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusRequestEntityTooLarge} {
		var posts atomic.Int64
		url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { posts.Add(1); w.WriteHeader(status) }))
		if out, err := runSnippet(t, "go", url, "key"); err == nil || posts.Load() != 1 {
			t.Errorf("after %d the event was sent %d times, and the sender said %q, %v", status, posts.Load(), out, err)
		}
	}
}

// runSnippet runs the README's piece of code in a language and returns what it
// prints.
func runSnippet(t *testing.T, language, url, key string) (out []byte, err error) {
	t.Helper()
	dir := t.TempDir()
	commands := map[string]func(t *testing.T, dir string) [][]string{"go": goSnippet, "sh": curlSnippet}[language](t, dir)
	env := append(os.Environ(), "FOREBAY_URL="+url, "FOREBAY_KEY="+key, "GOFLAGS=-mod=mod", "GOWORK=off", "GOPROXY=off")
	for _, args := range commands {
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		cmd.Dir, cmd.Env, cmd.Stderr = dir, env, t.Output()
		if out, err = cmd.Output(); err != nil {
			return out, fmt.Errorf("%v: %w", args, err)
		}
	}
	return out, nil
}

func goSnippet(t *testing.T, dir string) [][]string {
	nodetest.WriteSender(t, dir)
	return [][]string{{"go", "vet", "."}, {"go", "run", "."}}
}

func curlSnippet(t *testing.T, _ string) [][]string {
	need(t, "curl")
	return [][]string{{"sh", "-euc", nodetest.Snippet(t, "sh")}}
}

// browserSteps follow the snippet in the page. One event has its first replies
// lost; what has no JSON and what is far too large is left out and holds nothing
// up; a backlog of text beyond Latin, three bytes a letter, goes out whole; what
// is still queued when the page is left, more than one beacon holds, too.
const browserSteps = `
const settled = () => new Promise(again => setTimeout(again, 20))
const element = id => ({ type: "element", id })
const cyclic = {}, text = "漢字かな交じり文".repeat(100)
cyclic.itself = cyclic
async function steps() {
  track("click", element("first"))
  track("click", element("poison"), cyclic)
  track("click", element("poison"), { n: 1n })
  track("click", element("poison"), { text: text.repeat(30) })
  while (!answered) { flush(); await settled() }
  for (let i = 0; i < 60; i++) track("click", element("backlog" + i), { text })
  while (queue.length) { flush(); await settled() }
  while (pending) await settled()
  for (let i = 0; i < 20; i++) track("navigation", element("beacon" + i), { text })
  track("click", element("kept"), { "while": "the page goes away" })
  location = "/next"
}
steps()`

// browserAhead tells the page's server what the snippet's requests are answered,
// and the steps how many of them are under way.
const browserAhead = `
let answered = false, pending = 0
const send = fetch
window.fetch = (...args) => {
  pending++
  return send(...args).then(async reply => {
    await send("/answer", { method: "POST", body: reply.status + " " + await reply.clone().text() })
    answered = answered || reply.status === 200
    return reply
  }).finally(() => setTimeout(() => pending--, 50)) // after what the snippet does then
}`

// TestBrowserSnippet loads a page with the README's snippet, from another origin
// than the node's and from one where a proxy leads to it, and sees what it sends
// in the log.
func TestBrowserSnippet(t *testing.T) {
	chromium := need(t, "chromium")
	js := nodetest.Snippet(t, "js")
	if lines := strings.Count(js, "\n"); lines > 30 {
		t.Errorf("the snippet has %d lines, too many for a page of an SDK's manual", lines)
	}
	t.Run("another origin", func(t *testing.T) { t.Parallel(); browserSends(t, chromium, js, false, lost, lost, lost) })
	t.Run("the same origin", func(t *testing.T) {
		t.Parallel()
		browserSends(t, chromium, js, true, http.StatusBadGateway, lost, http.StatusServiceUnavailable)
	})
}

func browserSends(t *testing.T, chromium, js string, same bool, faults ...int) {
	answers := make(chan string, 1000)
	var page atomic.Value
	var node http.Handler
	shop := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/cart":
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, page.Load().(string))
		case "/answer":
			text, _ := io.ReadAll(req.Body)
			answers <- string(text)
		case "/v1/events":
			node.ServeHTTP(w, req)
		}
	}))
	t.Cleanup(shop.Close)
	origin := "http://" + shop.Listener.Addr().String()

	c := nodetest.Config(t)
	key, digest := auth.Generate()
	if err := file.NewStore(c.Keys.File.Path).Create(ctx, auth.Key{ID: digest.ID(), Digest: digest, Project: "shop", Origins: []string{origin}}); err != nil {
		t.Fatal(err)
	}
	n := nodetest.Run(t, c)
	node = faulty(t, n, faults...)
	events := origin
	if !same {
		events = serve(t, node)
	}
	for placeholder, value := range map[string]string{"https://events.example.com": events, "YOUR_KEY": key} {
		if strings.Count(js, placeholder) != 1 {
			t.Fatalf("the snippet does not have %s once", placeholder)
		}
		js = strings.Replace(js, placeholder, value, 1)
	}
	page.Store(fmt.Sprintf("<!doctype html><title>Cart</title><script>%s</script><script>%s</script><script>%s</script>", browserAhead, js, browserSteps))
	shop.Start()

	browse(t, chromium, origin+"/cart")
	const want = 1 + 60 + 20 + 1
	var all []admin.Event
	nodetest.Eventually(t, limit, func() bool { all = logged(t, n); return len(all) >= want }, "%d events are in the log; there are %v", want, &all)
	found := map[string]int{}
	for _, e := range all {
		var event struct {
			Route    string
			Target   struct{ ID string }
			Metadata struct{ Text string }
		}
		if err := json.Unmarshal(e.Event, &event); err != nil || event.Route != "/cart" || e.Project != "shop" || e.AppID != "shop" {
			t.Errorf("stored %+v (%v)", e, err)
		}
		if text := event.Metadata.Text; text != "" && text != strings.Repeat("漢字かな交じり文", 100) {
			t.Errorf("%s came with another text: %q", event.Target.ID, text)
		}
		found[event.Target.ID]++
	}
	if len(all) != want || len(found) != want || found["first"] != 1 || found["beacon19"] != 1 || found["kept"] != 1 || found["poison"] != 0 {
		t.Errorf("the log has %d events, want %d, once each: %v", len(all), want, found)
	}
	for answer := ""; answer != `200 {"success":true}`; {
		if answer = <-answers; !same && answer != `200 {"success":true}` {
			t.Errorf("the page could read %q", answer)
		}
	}
}

// browse opens a page in a browser that ends with the test.
func browse(t *testing.T, chromium, address string) {
	t.Helper()
	profile, err := os.MkdirTemp("", "forebay-chromium-")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-breakpad",
		"--user-data-dir="+profile, address)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a group of its own, to be ended whole
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may have ended by itself
		_ = cmd.Wait()                                      // killed, so it does not end well
		// Its helpers may write for a moment longer.
		nodetest.Eventually(t, limit, func() bool { return os.RemoveAll(profile) == nil }, "the browser's profile is deleted")
	})
}
