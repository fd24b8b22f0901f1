package node_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"forebay/node/nodetest"
)

// patience is how long a page may take for one thing on a machine that has much
// else to do.
const patience = time.Minute

// browser starts a headless Chromium, which the tabs that are opened in the
// context share.
func browser(t *testing.T) context.Context {
	t.Helper()
	path := need(t, "chromium")
	profile, err := os.MkdirTemp("", "forebay-chromium-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Its helpers may write for a moment longer.
		nodetest.Eventually(t, patience, func() bool { return os.RemoveAll(profile) == nil }, "the browser's profile is deleted")
	})
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.UserDataDir(profile), chromedp.NoSandbox,
		chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.ModifyCmdFunc(func(cmd *exec.Cmd) {
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what a terminal sends the tests is not for it
		}))...)
	t.Cleanup(cancel)
	all, stop := chromedp.NewContext(allocator)
	t.Cleanup(stop)
	if err := chromedp.Do(all); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	return all
}

// tab is a page in a browser, as a person uses it: by clicks at places and by
// keys.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu         sync.Mutex
	complaints []string // of the page: uncaught errors, what its policy blocked, what it could not load
}

// open opens a page in a tab of its own, which shares nothing with others.
func open(t *testing.T, browser context.Context, url string) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	p := &tab{t: t, ctx: ctx}
	var readers sync.WaitGroup
	t.Cleanup(func() { cancel(); readers.Wait() })
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("open a tab: %v", err)
	}
	thrown := chromedp.Events(ctx, runtime.ExceptionThrown)
	called := chromedp.Events(ctx, runtime.ConsoleAPICalled)
	logged := chromedp.Events(ctx, log.EntryAdded)
	readers.Go(func() {
		for e, err := range thrown {
			if err != nil {
				return
			}
			p.complain("thrown: %s %s", e.ExceptionDetails.Text, description(e.ExceptionDetails.Exception))
		}
	})
	readers.Go(func() {
		for e, err := range called {
			if err != nil {
				return
			}
			for _, arg := range e.Args {
				p.complain("console: %s %s", e.Type, description(arg))
			}
		}
	})
	readers.Go(func() {
		for e, err := range logged {
			if err != nil {
				return
			}
			p.complain("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	})
	p.look(1280, "light")
	p.visit(url)
	return p
}

func description(o *runtime.RemoteObject) string {
	if o == nil {
		return ""
	}
	return o.Description + string(o.Value)
}

func (p *tab) complain(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.complaints = append(p.complaints, fmt.Sprintf(format, args...))
}

// content fails the test if the page complained, other than by a text that is
// excused.
func (p *tab) content(excused ...string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
next:
	for _, c := range p.complaints {
		for _, e := range excused {
			if strings.Contains(c, e) {
				continue next
			}
		}
		p.t.Errorf("the page complains: %s", c)
	}
}

func (p *tab) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, steps...); err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
}

func (p *tab) visit(url string) { p.t.Helper(); p.do("visit "+url, chromedp.Navigate(url)) }

// look sets the width of the window and the colours that the person prefers;
// nothing moves by itself.
func (p *tab) look(width int64, scheme string) {
	p.t.Helper()
	p.do("resize", chromedp.EmulateViewport(width, 900))
	_, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
	if err != nil {
		p.t.Fatal(err)
	}
}

// js evaluates an expression in the page.
func js[T any](p *tab, expression string) T {
	p.t.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until waits until an expression is true in the page.
func (p *tab) until(expression string) {
	p.t.Helper()
	nodetest.Eventually(p.t, patience, func() bool { return js[bool](p, "Boolean("+expression+")") }, "on the page: %s", expression)
}

// says waits until the text of an element has a piece in it.
func (p *tab) says(css, piece string) {
	p.t.Helper()
	var said printed
	nodetest.Eventually(p.t, patience, func() bool { said = printed(p.text(css)); return strings.Contains(string(said), piece) }, "%s says %q; it says %v", css, piece, &said)
}

func (p *tab) text(css string) string {
	p.t.Helper()
	return js[string](p, fmt.Sprintf("document.querySelector(%s)?.textContent ?? ''", strconv.Quote(css)))
}

// printed is a text that is printed as it is when it is printed.
type printed string

func (p *printed) String() string { return string(*p) }

func literal(text string) string {
	quoted, _ := json.Marshal(text) // a string can always be encoded
	return string(quoted)
}

// click clicks at an element once it can be seen, stands still, and nothing
// covers it.
func (p *tab) click(css string) {
	p.t.Helper()
	var at, before []float64
	nodetest.Eventually(p.t, patience, func() bool {
		before = at
		at = js[[]float64](p, fmt.Sprintf(`(() => {
			const e = document.querySelector(%s)
			if (!e || e.disabled) return []
			e.scrollIntoView({ block: "center" })
			const r = e.getBoundingClientRect(), x = r.x + r.width / 2, y = r.y + r.height / 2
			return e.contains(document.elementFromPoint(x, y)) ? [x, y] : []
		})()`, strconv.Quote(css)))
		return len(at) == 2 && slices.Equal(at, before)
	}, "%s can be clicked", css)
	p.do("click "+css, chromedp.MouseClickXY(at[0], at[1]))
}

// fill clicks at a field and types into it, in place of what it has.
func (p *tab) fill(css, text string) {
	p.t.Helper()
	p.click(css)
	p.until(fmt.Sprintf("document.activeElement.matches(%s) && (document.activeElement.select(), true)", strconv.Quote(css)))
	p.press(text)
}

// press types, or presses keys such as kb.Tab.
func (p *tab) press(keys string) { p.t.Helper(); p.do("type "+keys, chromedp.KeyEvent(keys)) }

// labelled fails the test for controls that a screen reader cannot name.
func (p *tab) labelled() {
	p.t.Helper()
	tree, err := chromedp.Call(p.ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	if err != nil {
		p.t.Fatal(err)
	}
	found := 0
	for _, n := range tree.Nodes {
		switch role := value(n.Role); role {
		case "button", "link", "textbox", "searchbox", "spinbutton", "combobox", "radio", "dialog", "region", "navigation", "image", "table":
			found++
			if !n.Ignored && strings.TrimSpace(value(n.Name)) == "" {
				p.t.Errorf("a %s has no name: %s", role, value(n.Description))
			}
		}
	}
	if found < 5 {
		p.t.Errorf("found %d controls: this test no longer sees them", found)
	}
}

func value(v *accessibility.Value) string {
	if v == nil {
		return ""
	}
	return strings.Trim(string(v.Value), `"`)
}
