package node_test

import (
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
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"forebay/node/admin"
	"forebay/node/nodetest"
	"forebay/router/auth"
	"forebay/router/auth/file"
)

// snippet is the README's one piece of code in a language, under "Send events".
func snippet(t *testing.T, language string) string {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## Send events\n")
	section, _, ended := strings.Cut(section, "\n## ")
	pieces := regexp.MustCompile("(?s)\n```"+language+"\n(.*?)```").FindAllStringSubmatch(section, -1)
	if !found || !ended || len(pieces) != 1 {
		t.Fatalf("the README has %d pieces of %s under Send events, want 1", len(pieces), language)
	}
	return pieces[0][1]
}

// losing passes requests on to the node, and the first n replies to a POST to
// nobody: the sender cannot know that its events are stored.
func losing(t *testing.T, n *nodetest.Node, replies int64) string {
	t.Helper()
	target, err := url.Parse(n.URL)
	if err != nil {
		t.Fatal(err)
	}
	var left atomic.Int64
	left.Store(replies)
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse = func(r *http.Response) error {
		if r.Request.Method == http.MethodPost && left.Add(-1) >= 0 {
			return errors.New("lost")
		}
		return nil
	}
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	server := httptest.NewServer(proxy)
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

// TestServerSnippets runs what the README shows to servers, with the first two
// replies lost: the event is stored once, and the sender gets to know.
func TestServerSnippets(t *testing.T) {
	for language, command := range map[string]func(t *testing.T, dir string) [][]string{"go": goSnippet, "sh": curlSnippet} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			c := nodetest.Config(t)
			key := nodetest.Key(t, c)
			dir := t.TempDir()
			commands := command(t, dir)
			n := nodetest.Run(t, c)
			env := append(os.Environ(), "FOREBAY_URL="+losing(t, n, 2), "FOREBAY_KEY="+key, "GOFLAGS=-mod=mod", "GOWORK=off", "GOPROXY=off")
			var out []byte
			for _, args := range commands {
				cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
				cmd.Dir, cmd.Env, cmd.Stderr = dir, env, t.Output()
				var err error
				if out, err = cmd.Output(); err != nil {
					t.Fatalf("%v: %v\n%s", args, err, out)
				}
			}
			var receipt struct {
				Success bool
				Events  []struct{ Dropped string }
			}
			if err := json.Unmarshal(out, &receipt); err != nil || !receipt.Success || len(receipt.Events) != 1 || receipt.Events[0].Dropped != "duplicate" {
				t.Errorf("the last answer is %q (%v), want that the event was there before", out, err)
			}
			if all := logged(t, n); len(all) != 1 || !strings.Contains(string(all[0].Event), `"buy"`) {
				t.Errorf("the log has %d events, want the one: %+v", len(all), all)
			}
		})
	}
}

func goSnippet(t *testing.T, dir string) [][]string {
	for name, text := range map[string]string{"main.go": snippet(t, "go"), "go.mod": "module sender\n\ngo 1.24\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return [][]string{{"go", "vet", "."}, {"go", "run", "."}}
}

func curlSnippet(t *testing.T, _ string) [][]string {
	need(t, "curl")
	return [][]string{{"sh", "-euc", snippet(t, "sh")}}
}

// browserSteps follow the snippet in the page. One event has its first replies
// lost; one is sent right before the page is left; one is still queued then.
const browserSteps = `
const settled = () => new Promise(again => setTimeout(again, 20))
async function steps() {
  track("click", { type: "element", id: "lost" })
  while (!answered) { flush(); await settled() }
  track("click", { type: "element", id: "kept" }, { "while": "the page goes away" })
  flush()
  track("navigation", { type: "page", id: "beacon" })
  location = "/next"
}
steps()`

// browserAhead tells the page's server what the snippet's requests are answered.
const browserAhead = `
let answered = false
const send = fetch
window.fetch = (...args) => send(...args).then(async reply => {
  await send("/answer", { method: "POST", body: reply.status + " " + await reply.clone().text() })
  answered = true
  return reply
})`

// TestBrowserSnippet loads a page with the README's snippet from another origin
// than the node's, and sees what it sends in the log.
func TestBrowserSnippet(t *testing.T) {
	chromium := need(t, "chromium")
	js := snippet(t, "js")
	if lines := strings.Count(js, "\n"); lines > 20 {
		t.Errorf("the snippet has %d lines, too many for a page of an SDK's manual", lines)
	}
	answers := make(chan string, 100)
	var page atomic.Value
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/cart":
			_, _ = io.WriteString(w, page.Load().(string))
		case "/answer":
			text, _ := io.ReadAll(req.Body)
			answers <- string(text)
		}
	}))
	t.Cleanup(shop.Close)

	c := nodetest.Config(t)
	key, digest := auth.Generate()
	if err := file.NewStore(c.Keys.File.Path).Create(ctx, auth.Key{ID: digest.ID(), Digest: digest, Project: "shop", Origins: []string{shop.URL}}); err != nil {
		t.Fatal(err)
	}
	n := nodetest.Run(t, c)
	for placeholder, value := range map[string]string{"https://events.example.com": losing(t, n, 3), "YOUR_KEY": key} {
		if strings.Count(js, placeholder) != 1 {
			t.Fatalf("the snippet does not have %s once", placeholder)
		}
		js = strings.Replace(js, placeholder, value, 1)
	}
	page.Store(fmt.Sprintf("<!doctype html><title>Cart</title><script>%s</script><script>%s</script><script>%s</script>", browserAhead, js, browserSteps))

	browse(t, chromium, shop.URL+"/cart")
	var all []admin.Event
	nodetest.Eventually(t, limit, func() bool { all = logged(t, n); return len(all) >= 3 }, "three events are in the log; there are %v", all)
	found := map[string]int{}
	for _, e := range all {
		var event struct {
			Route  string
			Target struct{ ID string }
		}
		if err := json.Unmarshal(e.Event, &event); err != nil || event.Route != "/cart" || e.Project != "shop" || e.AppID != "shop" {
			t.Errorf("stored %+v (%v)", e, err)
		}
		found[event.Target.ID]++
	}
	if len(all) != 3 || found["lost"] != 1 || found["kept"] != 1 || found["beacon"] != 1 {
		t.Errorf("the log has %v, want lost, kept and beacon, once each", found)
	}
	if got, want := <-answers, `200 {"success":true}`; got != want {
		t.Errorf("the page could read %q, want %q", got, want)
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
