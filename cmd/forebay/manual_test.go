package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"forebay/node/nodetest"
)

// manualCommand is a command of the manual, as it is written there.
var manualCommand = regexp.MustCompile("(?m)^    (forebay [^#\n]*)|`(forebay [^`\n]*)`")

// manualCommands are the commands of OPERATING.md outside its recipes, in their
// order, without the reference, whose lines say what there is and not what to
// type.
func manualCommands(t *testing.T) (all []string) {
	t.Helper()
	text, err := os.ReadFile(manualFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(text), refBegin)
	_, after, _ := strings.Cut(rest, refEnd)
	for _, m := range manualCommand.FindAllStringSubmatch(fence.ReplaceAllString(before+after, ""), -1) {
		all = append(all, strings.TrimSpace(m[1]+m[2]))
	}
	if len(all) < 30 {
		t.Fatalf("the manual has %d commands", len(all))
	}
	return all
}

// TestManualCommands runs every command of OPERATING.md as it is written, in a
// node with a dead letter, save that the manual's names, seqs and keys become
// those that the node has.
func TestManualCommands(t *testing.T) {
	engine := nodetest.StartClickHouseEngine(t)
	sessions := newTaken(t)
	p := newProcess(t, fmt.Sprintf("shippers: {clickhouse: {addrs: [%q], protocol: http, flush: {age: 50ms}}, session: {url: %q}}\n", engine.Addr(), sessions.url))
	p.start()
	sessions.poisoned.Store(true)
	p.postSample(t, 20)
	poison := p.postPoison(t)
	p.settled()
	own := strings.NewReplacer("4711", fmt.Sprint(poison), "5c2f-17-1", "poison", "120000", "2", "replay-1", "lasting", "NAME", "session", "127.0.0.1:7071", p.adminAddr)
	for _, name := range []string{"event.json", "events.ndjson"} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(nodetest.Event("a", "")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// What has to be so before a command makes sense; the manual's reader comes with it.
	prepare := map[string]func(t *testing.T){
		"forebay audit session": func(t *testing.T) { // a rewind that was undone has taken marks back
			p.run(t, "forebay cursor rewind session --to-start --yes")
			p.settled()
		},
		"forebay cursor step session": func(t *testing.T) { p.postSample(t, 3) },
		"forebay replay show replay-1": func(t *testing.T) { // one that does not end at once
			p.run(t, "forebay replay --into clickhouse --name lasting --rate 1 --yes")
		},
		"forebay cursor undo NAME": func(t *testing.T) {
			p.run(t, "forebay cursor rewind session --to-start --yes")
		},
	}
	for _, command := range manualCommands(t) {
		t.Run(command, func(t *testing.T) {
			if f := prepare[command]; f != nil {
				f(t)
			}
			if slices.Contains(strings.Fields(command), "tail") {
				p.follow(t, own.Replace(command))
				return
			}
			script := own.Replace(command)
			if command == "forebay status --check" {
				script += " || [ $? = 1 ]" // a warning: there is a dead letter
			}
			p.run(t, script)
		})
	}
}

// postPoison posts the event that the receiver refuses.
func (p *process) postPoison(t *testing.T) (seq uint64) {
	t.Helper()
	bad := `{"events":[{"eventType":"click","timestamp":"` + now() + `","sessionId":"a","route":"/","target":{"type":"page"},"idempotencyKey":"poison"}]}`
	r, err := p.post(http.DefaultClient, []byte(bad))
	if err != nil || r.Accepted != 1 {
		t.Fatalf("post the poison: %+v, %v", r, err)
	}
	return r.FirstSeq
}

// follow runs a command that goes on until it has printed a line: of an event
// that is accepted, or of one that is dropped.
func (p *process) follow(t *testing.T, command string) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), waitLimit)
	defer stop()
	cmd := exec.CommandContext(ctx, "sh", "-ec", "exec "+command)
	cmd.Dir, cmd.Env = p.dir, append(os.Environ(), "FOREBAY_ADMIN="+p.adminAddr, "DATA="+filepath.Join(p.dir, "data"))
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(out).ReadString('\n') // empty if there is none
		line <- text
	}()
	n := 0
	nodetest.Eventually(t, waitLimit, func() bool {
		n++
		event := nodetest.Event("a", fmt.Sprintf(`,"idempotencyKey":"follow-%d"`, n))
		for _, e := range []string{event, event} { // the second is a duplicate, and dropped
			if _, err := p.post(http.DefaultClient, []byte(`{"events":[`+e+`]}`)); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case text := <-line:
			if text == "" {
				t.Fatalf("%s ended without a line", command)
			}
			return true
		default:
			return false
		}
	}, "%s prints a line", command)
	stop()
	_ = cmd.Wait() // it was killed
}
