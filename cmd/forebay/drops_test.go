package main

import (
	"bufio"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"forebay/node/nodetest"
)

// follower is a command that shows things until it is stopped.
type follower struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string
}

func (p *process) watch(t *testing.T, args ...string) *follower {
	t.Helper()
	f := &follower{t: t, cmd: exec.Command("forebay", append(args, "--admin", p.adminAddr)...), lines: make(chan string, 1000)}
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	f.cmd.Stderr = os.Stderr
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.cmd.Process.Kill() })
	go func() {
		defer close(f.lines)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			f.lines <- lines.Text()
		}
	}()
	return f
}

// line is the next line that the command prints.
func (f *follower) line() string {
	f.t.Helper()
	select {
	case l, ok := <-f.lines:
		if !ok {
			f.t.Fatalf("%s has ended", f.cmd)
		}
		return l
	case <-time.After(waitLimit):
		f.t.Fatalf("%s shows nothing", f.cmd)
	}
	return ""
}

// interrupt ends the command as Ctrl-C does, and returns what it printed until
// then. That is no failure of the command.
func (f *follower) interrupt() (rest []string) {
	f.t.Helper()
	if err := f.cmd.Process.Signal(os.Interrupt); err != nil {
		f.t.Fatal(err)
	}
	for l := range f.lines {
		rest = append(rest, l)
	}
	if err := f.cmd.Wait(); err != nil {
		f.t.Errorf("%s: %v", f.cmd, err)
	}
	return rest
}

// An operator sees drops and events while they happen, selected as asked.
func TestTails(t *testing.T) {
	p := newProcess(t, "shippers: {clickhouse: {enabled: false}, session: {enabled: false}, archive: {enabled: true, dir: "+t.TempDir()+"}}\n")
	p.start()
	refuse := func() {
		for _, key := range []string{p.key, "fbk_SECRETSECRETSECRET"} {
			if err := postPersonal("http://"+p.ingest, key); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 5 {
		refuse()
	}
	tail := p.watch(t, "drops", "tail", "--last", "3", "--project", "shop")
	lines := p.watch(t, "drops", "tail", "--last", "1", "--reason", "unauthorized", "--json")
	var shown []string
	for range 3 { // once the first ones are there, further ones are watched
		shown = append(shown, tail.line())
	}
	shownJSON := []string{lines.line()}
	refuse()
	shown, shownJSON = append(shown, tail.line()), append(shownJSON, lines.line())
	shown, shownJSON = append(shown, tail.interrupt()...), append(shownJSON, lines.interrupt()...)
	if len(shown) != 4 || len(shownJSON) != 2 {
		t.Errorf("shown %q and %q", shown, shownJSON)
	}
	for _, l := range shown {
		for _, want := range []string{"privacy", "metadata.email", "denied_key", "project=shop", "key=", "sdk=2.0.0", `app="the shop"`} {
			if !strings.Contains(l, want) || strings.Contains(l, "key=-") {
				t.Errorf("%q does not say %s", l, want)
			}
		}
	}
	for _, l := range shownJSON {
		if !strings.Contains(l, `"reason":"unauthorized","rule":"key_unknown"`) {
			t.Errorf("%s", l)
		}
	}
	if all := strings.Join(append(shown, shownJSON...), "\n"); strings.Contains(all, "SECRET") || strings.Contains(all, "example.com") {
		t.Errorf("a value is shown:\n%s", all)
	}

	events, others := p.watch(t, "events", "tail", "--project", "shop", "--session", "s1"), p.watch(t, "events", "tail", "--project", "other")
	client := &http.Client{Timeout: waitLimit}
	seen := ""
	nodetest.Eventually(t, waitLimit, func() bool { // until the command is there to see it
		for _, session := range []string{"s1", "s2"} {
			if _, err := p.post(client, []byte(`{"events":[`+nodetest.Event(session, "")+`]}`)); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case seen = <-events.lines:
			return true
		default:
			return false
		}
	}, "an event is shown")
	for _, l := range append(events.interrupt(), seen) {
		if !strings.Contains(l, `"session":"s1"`) || !strings.Contains(l, `"eventType":"click"`) {
			t.Errorf("shown: %s", l)
		}
	}
	if rest := others.interrupt(); len(rest) != 0 {
		t.Errorf("shown of another project: %q", rest)
	}
	p.stop()
}
