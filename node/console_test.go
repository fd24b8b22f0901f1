package node_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"forebay/node/admin"
	"forebay/node/config"
	"forebay/node/nodetest"
	"forebay/shipper"
	"forebay/shipper/session/receiver"
	"forebay/wal"
)

// hostile is what a stranger may send as the name of a session: it must stay
// text wherever it is shown.
const hostile = `<img src=x onerror="window.taken=1"><script>window.taken=2</script>`

// sessions turns the session cursor on, with a receiver that fails as it is
// told, and answers nothing while it is held.
func sessions(t *testing.T, c *config.Config) (r *receiver.Receiver, hold func() (release func())) {
	t.Helper()
	r, err := receiver.New(receiver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var held atomic.Pointer[chan struct{}]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if wait := held.Load(); wait != nil {
			<-*wait
		}
		r.ServeHTTP(w, req)
	}))
	t.Cleanup(server.Close)
	c.Shippers.Session = config.Default().Shippers.Session
	c.Shippers.Session.URL = server.URL
	return r, func() func() {
		wait := make(chan struct{})
		held.Store(&wait)
		return func() { held.Store(nil); close(wait) }
	}
}

// cursorIs waits until the API says of a cursor what is wanted.
func cursorIs(t *testing.T, n *nodetest.Node, name, what string, wanted func(shipper.Status) bool) (s shipper.Status) {
	t.Helper()
	nodetest.Eventually(t, patience, func() bool {
		var err error
		if s, err = n.Admin.Cursor(ctx, name); err != nil {
			t.Fatal(err)
		}
		return wanted(s)
	}, "cursor %s %s; it is %+v", name, what, &s)
	return s
}

func button(label string) string { return fmt.Sprintf(`button[aria-label=%q]`, label) }

// sign fills in who asks and why, and confirms.
func (p *tab) sign(by, why string) {
	p.t.Helper()
	p.until(`document.querySelector("dialog .who")?.checkVisibility()`)
	p.fill("dialog .who label:nth-child(1) input", by)
	p.fill("dialog .who label:nth-child(2) input", why)
	p.click("dialog button[value=go]")
}

// TestConsole operates a node by its page alone, in a real browser, and asks
// the API whether the node did so.
func TestConsole(t *testing.T) {
	chromium := browser(t)
	t.Run("cursors", func(t *testing.T) { consoleCursors(t, chromium) })
	t.Run("dead letters", func(t *testing.T) { consoleLetters(t, chromium) })
	t.Run("keyboard", func(t *testing.T) { consoleKeyboard(t, chromium) })
	t.Run("token", func(t *testing.T) { consoleToken(t, chromium) })
	t.Run("several nodes", func(t *testing.T) { consoleFleet(t, chromium) })
	t.Run("views", func(t *testing.T) { consoleViews(t, chromium) })
	t.Run("connection lost", func(t *testing.T) { consoleLost(t, chromium) })
}

// consoleCursors: what the page tells is what the API tells, and a pause, a
// step, a rewind and its undo are made as they were shown.
func consoleCursors(t *testing.T, chromium context.Context) {
	c := nodetest.Config(t)
	key := nodetest.Key(t, c)
	_, hold := sessions(t, &c)
	n := nodetest.Run(t, c)
	n.Post(key, nodetest.Event("a", ""), nodetest.Event("b", ""), nodetest.Event("c", ""))
	settled(t, n)
	p := open(t, chromium, n.AdminURL)
	p.says("#verdict", "Everything is in order.")
	for _, check := range n.Status().Checks {
		p.until(fmt.Sprintf(`document.querySelector('#checks [data-check=%s][data-ok]')`, check.Name))
	}
	p.says("#strip .end", "seq 3")
	p.says("#key-facts", "file")

	archive := `[data-cursor=archive]`
	p.click(button("Pause cursor archive"))
	p.click("dialog button[value=go]")
	p.says("dialog .problem", "Say who you are")
	if s := cursorIs(t, n, "archive", "exists", func(shipper.Status) bool { return true }); s.State != shipper.Running {
		t.Fatalf("paused by nobody: %+v", s)
	}
	p.sign("ann", "moving the disk")
	s := cursorIs(t, n, "archive", "is paused", func(s shipper.Status) bool { return s.State == shipper.Paused })
	if s.Pause == nil || s.Pause.By != "ann" || s.Pause.Reason != "moving the disk" {
		t.Errorf("paused: %+v", s.Pause)
	}
	p.says(archive+" .trouble", "Paused by ann: moving the disk")
	p.says("#verdict", "Accepting events; 1 check not in order.")
	p.says("#problems", "cursor archive is paused by ann")

	n.Post(key, nodetest.Event("a", ""))
	p.says(archive+" .lag", "1 event behind")
	p.click(button("Step cursor archive"))
	p.sign("ann", "")
	cursorIs(t, n, "archive", "made a step", func(s shipper.Status) bool { return s.NextSeq == 5 && s.State == shipper.Paused })

	p.click(button("Rewind cursor archive"))
	p.click("dialog input[value=start]")
	p.click("dialog .buttons button:not([value=go]):not(:first-child)")
	p.says("dialog .preview", "4 events will be delivered again")
	p.says("dialog .preview", "shop")
	if now := cursorIs(t, n, "archive", "exists", func(shipper.Status) bool { return true }); now.NextSeq != 5 || now.Epoch != s.Epoch {
		t.Fatalf("a preview moved it: %+v", now)
	}
	p.click("dialog input[value=seq]") // what was shown is not what is asked any more
	p.until(`document.querySelector("dialog button[value=go]").disabled`)
	p.fill(`dialog input[aria-label="Seq to rewind to"]`, "2")
	p.click("dialog .buttons button:not([value=go]):not(:first-child)")
	p.says("dialog button[value=go]", "Deliver again 3 events")
	p.sign("ann", "table dropped")
	moved := cursorIs(t, n, "archive", "went back", func(s shipper.Status) bool { return s.NextSeq == 2 })
	if moved.Epoch <= s.Epoch {
		t.Errorf("no new epoch: %+v", moved)
	}
	p.says("#notice", "went back to seq 2")
	p.says("#trail-list", "table dropped")

	p.click(button("Undo the last move of cursor archive"))
	p.says("dialog .preview", "It goes forward to seq 5")
	p.sign("bob", "wrong table")
	cursorIs(t, n, "archive", "went forward again", func(s shipper.Status) bool { return s.NextSeq == 5 })
	p.click(button("Undo the last move of cursor archive"))
	p.says("dialog .preview", "There is no move to undo")
	p.press(kb.Escape)
	p.until(`!document.querySelector("dialog")`)
	p.click(button("Resume cursor archive"))
	p.sign("bob", "")
	cursorIs(t, n, "archive", "runs", func(s shipper.Status) bool { return s.State == shipper.Running })
	p.says("#verdict", "Everything is in order.")
	var verbs []string
	if err := n.Admin.AuditLog(ctx, func(e shipper.TrailEntry) error { verbs = append(verbs, e.By+" "+e.Verb); return nil }); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(verbs, ", "), "ann pause, ann step, ann rewind, bob undo, bob resume"; got != want {
		t.Errorf("the trail is %s, want %s", got, want)
	}

	// Two operators at once: the second is told so where they asked. The first is
	// at it for two seconds, while its requests get no answer; on a machine where
	// the click takes longer than that, both once more.
	const conflict = "another command on this cursor is under way"
	nodetest.Eventually(t, patience, func() bool {
		release := hold()
		n.Post(key, nodetest.Event("a", ""))
		p.click(button("Pause cursor session"))
		first := make(chan error, 1)
		go func() { _, err := n.Admin.Pause(ctx, "session", admin.PauseRequest{}); first <- err }()
		p.sign("bob", "")
		p.until(`!document.querySelector("dialog") || document.querySelector("dialog .problem")?.textContent`)
		told := strings.Contains(js[string](p, `document.querySelector("dialog .problem")?.textContent ?? ""`), conflict)
		release()
		if err := <-first; err != nil && !strings.Contains(err.Error(), conflict) {
			t.Fatal(err)
		}
		if !told { // theirs came first, or after
			p.press(kb.Escape)
			p.until(`!document.querySelector("dialog")`)
			if _, err := n.Admin.Resume(ctx, "session", admin.Command{}); err != nil {
				t.Fatal(err)
			}
			settled(t, n)
		}
		return told
	}, "the page says %q", conflict)
	p.content("status of 409")
}

// consoleLetters: a letter is looked at, requeued and discarded, an event is
// traced, and what strangers wrote stays text; at three widths and in both
// colours everything can be read, and named by a screen reader.
func consoleLetters(t *testing.T, chromium context.Context) {
	c := nodetest.Config(t)
	key := nodetest.Key(t, c)
	r, _ := sessions(t, &c)
	r.SetFaults(receiver.Rule{Rate: 1, Session: hostile, Fault: receiver.Fault{Status: http.StatusUnprocessableEntity}})
	n := nodetest.Run(t, c)
	n.Post(key, nodetest.Event("calm", `,"idempotencyKey":"k-1"`), nodetest.Event("calm", ""))
	n.Post(key, nodetest.Event(hostile, fmt.Sprintf(`,"metadata":{"note":%s}`, literal(hostile))))
	n.Post(key, nodetest.Event(hostile, `,"metadata":{"email":"x"}`))
	cursorIs(t, n, "session", "has a letter", func(s shipper.Status) bool { return s.Dead == 1 })
	letter, err := json.Marshal(shipper.DeadLetter{
		Cursor: "archive", Seq: 900, LogID: wal.ID{1}, Project: hostile, Session: "s", Raw: []byte(nodetest.Event("s", "")), Reason: hostile,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Admin.Import(ctx, "archive", admin.Command{By: hostile, Why: hostile}, bytes.NewReader(letter)); err != nil {
		t.Fatal(err)
	}

	p := open(t, chromium, n.AdminURL)
	p.says("#dead-count", "2")
	p.says("#verdict", "Accepting events; 2 dead letters.")
	p.says("#drop-reasons", "privacy")
	p.says("#tap", "metadata.email")
	p.says("#trail-list", hostile)
	p.click(`[data-seq="3"] details summary`)
	p.says(`[data-seq="3"] pre`, `\"window.taken=1\"`)
	p.says(`[data-seq="3"]`, hostile)
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{360, 800, 1400} {
			p.look(width, scheme)
			p.until("document.documentElement.scrollWidth <= innerWidth")
			if faint := js[[]string](p, faintText); len(faint) > 0 {
				t.Errorf("%s, %d px: these are hard to read: %s", scheme, width, strings.Join(faint, "; "))
			}
		}
	}
	p.labelled()

	r.SetFaults()
	p.look(360, "dark") // on a phone
	p.click(button("Requeue dead letter 3"))
	p.says("dialog .preview", "1 letter of 1 session")
	p.until("document.querySelector('dialog').scrollWidth <= innerWidth")
	p.labelled()
	p.sign("ann", "receiver mended")
	cursorIs(t, n, "session", "has delivered its letter", func(s shipper.Status) bool { return s.Dead == 0 })
	p.says("#dead-note", "Cursor session has no dead letters.")

	js[bool](p, `(document.getElementById("dead-cursor").focus(), true)`)
	p.press("a") // picks the option that begins so
	p.says(`[data-seq="900"] .reason`, hostile)
	p.click(button("Discard dead letter 900"))
	p.says("dialog .preview", hostile)
	p.sign("ann", "not ours")
	cursorIs(t, n, "archive", "has no letter", func(s shipper.Status) bool { return s.Dead == 0 })

	p.says("#dead-note", "Cursor archive has no dead letters.")

	p.fill("#trace-what", "k-1")
	p.click("#trace-form button")
	p.says("#trace-result", "calm")
	p.says("#trace-result", "shipped")
	p.fill("#trace-what", "3")
	p.press(kb.Enter)
	p.says("#trace-result", hostile)
	p.until(`document.querySelectorAll("main img, main script").length === 0 && window.taken === undefined`)
	p.content()
}

// faintText finds text whose contrast with the ground below it is under 4.5,
// or 3 where it is large.
const faintText = `(() => {
	const parse = text => {
		const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number)
		return { r, g, b, a }
	}
	const light = ({ r, g, b }) => [r, g, b].map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0)
	const found = new Set()
	const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
	let seen = 0
	while (texts.nextNode()) {
		const text = texts.currentNode.data.trim(), element = texts.currentNode.parentElement
		if (!text || !element.checkVisibility() || element.closest(".unseen, svg, option, :disabled")) continue
		seen++
		let below = element
		while (below && parse(getComputedStyle(below).backgroundColor).a < 1) below = below.parentElement
		const style = getComputedStyle(element), ground = parse(getComputedStyle(below ?? document.body).backgroundColor)
		const [high, low] = [light(parse(style.color)), light(ground)].sort((a, b) => b - a)
		const contrast = (high + 0.05) / (low + 0.05)
		if (contrast < (parseFloat(style.fontSize) >= 24 ? 3 : 4.5)) found.add(text.slice(0, 40) + " (" + contrast.toFixed(2) + ")")
	}
	return seen > 50 ? [...found] : ["only " + seen + " texts seen"]
})()`

// consoleKeyboard pauses a cursor without a mouse.
func consoleKeyboard(t *testing.T, chromium context.Context) {
	c := nodetest.Config(t)
	nodetest.Key(t, c)
	n := nodetest.Run(t, c)
	p := open(t, chromium, n.AdminURL)
	p.says("#verdict", "Everything is in order.")
	p.press(kb.Tab)
	p.until(`document.activeElement.classList.contains("skip")`)
	p.press(kb.Enter)
	p.until(`document.activeElement.id === "main"`)
	focus := func(label string) {
		t.Helper()
		for range 100 {
			if js[string](p, `document.activeElement.ariaLabel ?? ""`) == label {
				return
			}
			p.press(kb.Tab)
		}
		t.Fatalf("the Tab key does not come to %q", label)
	}
	focus("Pause cursor archive")
	p.until(`getComputedStyle(document.activeElement).outlineStyle === "solid"`)
	p.press(kb.Enter)
	p.until(`document.activeElement.closest("dialog")`)
	for range 12 { // round the dialog, and nowhere else in the page
		p.press(kb.Tab)
		p.until(`document.activeElement === document.body || document.activeElement.closest("dialog")`)
	}
	p.press(kb.Escape)
	p.until(`!document.querySelector("dialog") && document.activeElement.ariaLabel === "Pause cursor archive"`)
	p.press(kb.Enter)
	p.press("2")
	p.press(kb.Tab) // the unit
	p.press("h")
	p.press(kb.Tab)
	p.press("ann")
	p.press(kb.Tab)
	p.press("by keys")
	p.press(kb.Enter)
	s := cursorIs(t, n, "archive", "is paused", func(s shipper.Status) bool { return s.State == shipper.Paused })
	if s.Pause.By != "ann" || s.Pause.Reason != "by keys" || s.Pause.Until.Sub(s.Pause.Since).Hours() != 2 {
		t.Errorf("paused: %+v", s.Pause)
	}
	p.until(`document.activeElement.ariaLabel === "Pause cursor archive"`)
	p.says("#spoken", "1 check not in order")
	p.content()
}

// consoleToken: without the token there is a page, and nothing of the node.
func consoleToken(t *testing.T, chromium context.Context) {
	c := nodetest.Config(t)
	nodetest.Key(t, c)
	c.Admin.TokenFile = filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(c.Admin.TokenFile, []byte("opensesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := nodetest.Run(t, c)
	p := open(t, chromium, n.AdminURL)
	p.says("#token h2", "This node wants a token")
	p.press(kb.Escape)
	p.press("opensesam" + kb.Enter)
	p.says("#token .problem", "does not take this token")
	if text := p.text("#node"); text != "connecting" {
		t.Errorf("without a token the page knows the node: %s", text)
	}
	p.fill("#token input", "opensesame")
	p.press(kb.Enter)
	p.says("#verdict", "Everything is in order.")
	p.click(button("Pause cursor archive"))
	p.sign("ann", "")
	nodetest.Eventually(t, patience, func() bool {
		s, err := admin.NewClient(strings.TrimPrefix(n.AdminURL, "http://"), "opensesame").Cursor(ctx, "archive")
		return err == nil && s.State == shipper.Paused
	}, "the cursor is paused")
	p.visit(n.AdminURL) // the tab remembers
	p.says("#node", "test")
	p.click("#forget")
	p.says("#token h2", "This node wants a token")
	p.content("status of 401")
}

// consoleLost: a node that goes away is missed at once, and found again.
func consoleLost(t *testing.T, chromium context.Context) {
	c := nodetest.Config(t)
	key := nodetest.Key(t, c)
	c.Admin.Listen = nodetest.FreeAddr(t)
	n := nodetest.Run(t, c)
	p := open(t, chromium, n.AdminURL)
	p.says("#verdict", "Everything is in order.")
	p.says("#link", "Live")
	n.Stop()
	p.says("#link", "Not connected")
	p.until(`document.getElementById("lost").checkVisibility()`)
	p.says("#lost", "What you see is as of")
	p.says("#verdict", "Nothing is known since")
	p.until(`document.getElementById("verdict").dataset.state === "bad"`)
	p.click(button("Pause cursor archive"))
	p.sign("ann", "")
	p.says("dialog .problem", "The node does not answer.")
	p.press(kb.Escape)
	n = nodetest.Run(t, c)
	n.Post(key, nodetest.Event("s", ""))
	p.says("#link", "Live")
	p.says("#verdict", "Everything is in order.")
	p.until(`!document.getElementById("lost").checkVisibility()`)
	p.says("#strip .end", "seq 1")
	p.content("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE")
}
