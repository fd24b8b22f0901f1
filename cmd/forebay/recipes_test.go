package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"forebay/cmd/internal/sample"
	"forebay/node/nodetest"
	"forebay/shipper"
	"forebay/shipper/clickhouse/clickhousetest"
)

var fence = regexp.MustCompile("(?s)```sh recipe=([a-z-]+)[^\n]*\n(.*?)```")

// recipes are the commands of OPERATING.md's recipes, by name.
func recipes(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../node/OPERATING.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, m := range fence.FindAllStringSubmatch(string(text), -1) {
		found[m[1]] = m[2]
	}
	return found
}

// run runs a recipe as it is written, against the node.
func (p *process) run(t *testing.T, script string) string {
	t.Helper()
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "FOREBAY_ADMIN="+p.adminAddr, "FOREBAY_OPERATOR=ann", "DATA="+filepath.Join(p.dir, "data"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("recipe failed: %v\n%s\n%s", err, script, out)
	}
	return string(out)
}

// postSample posts n events of 4 sessions.
func (p *process) postSample(t *testing.T, n int) {
	t.Helper()
	g := sample.New(uint64(n), 4)
	for i := 0; n > 0; i++ {
		size := min(n, 10)
		if r, err := p.post(http.DefaultClient, g.Batch(i%4, size).Body); err != nil || r.Accepted != size {
			t.Fatalf("post: %+v, %v", r, err)
		}
		n -= size
	}
}

// TestRecipes runs every recipe of OPERATING.md in the trouble that it is for.
func TestRecipes(t *testing.T) {
	trouble := map[string]func(t *testing.T, script string){
		"table-dropped":  tableDropped,
		"bad-deploy":     badDeploy,
		"poison":         poison,
		"decommissioned": decommissioned,
		"move":           move,
		"proof-ledger":   proof,
		"proof-trace":    proof,
		"proof-log":      proof,
	}
	all := recipes(t)
	for name := range trouble {
		if all[name] == "" {
			t.Errorf("OPERATING.md has no recipe %s", name)
		}
	}
	for name, script := range all {
		t.Run(name, func(t *testing.T) {
			meet, ok := trouble[name]
			if !ok {
				t.Fatal("no test runs this recipe")
			}
			meet(t, script)
		})
	}
}

// proof runs commands that only look, at a node with all there is to see.
func proof(t *testing.T, script string) {
	server := nodetest.StartClickHouse(t)
	server.MustQuery(t, clickhousetest.PlainTable("events"))
	sessions := newTaken(t)
	p := newProcess(t, fmt.Sprintf(`shippers:
  clickhouse: {addrs: [%q], create_table: false, flush: {age: 50ms}}
  session: {url: %q}
`, server.Addr(), sessions.url))
	p.start()
	p.postSample(t, 30)
	p.settled()
	out := p.run(t, script)
	for command, wanted := range map[string][]string{
		"forebay status": {"events: +30 decoded += 0 in flight \\+ 30 accepted", "shop +0 +30 +30 +0", "clickhouse +30 +30 +0", `"balanced": true`, `"shipped": 30`},
		"forebay trace":  {"clickhouse +shipped", "its row +1 in the table", "its session +the Session Manager has it", `"found": true`},
		"wal verify":     {"30 events", "every block is whole"},
	} {
		if !strings.Contains(script, command) {
			continue
		}
		for _, want := range wanted {
			if !regexp.MustCompile(want).MatchString(out) {
				t.Errorf("%s does not say %q:\n%s", command, want, out)
			}
		}
	}
}

func tableDropped(t *testing.T, script string) {
	server := nodetest.StartClickHouse(t)
	server.MustQuery(t, clickhousetest.PlainTable("events"))
	p := newProcess(t, fmt.Sprintf(`shippers:
  clickhouse: {addrs: [%q], create_table: false, flush: {age: 50ms}}
  session: {enabled: false}
`, server.Addr()))
	p.start()
	p.postSample(t, 100)
	p.settled()
	server.MustQuery(t, "DROP TABLE events")
	server.MustQuery(t, clickhousetest.PlainTable("events"))
	p.run(t, script)
	p.settled()
	if got := server.MustQuery(t, "SELECT count() FROM events FINAL"); got != "100" {
		t.Errorf("%s rows after the recipe, want 100", got)
	}
}

func badDeploy(t *testing.T, script string) {
	sessions := newTaken(t)
	p := newProcess(t, fmt.Sprintf("shippers: {clickhouse: {enabled: false}, session: {url: %q}}\n", sessions.url))
	p.start()
	p.postSample(t, 100)
	p.settled()
	p.run(t, script)
	p.settled()
	report := sessions.receiver.Report()
	if !report.InOrder() || report.Replayed != 100 || report.Events != 200 {
		t.Errorf("the receiver after the recipe: %+v; want 100 events, marked as replayed, a second time and in order", report)
	}
}

func poison(t *testing.T, script string) {
	sessions := newTaken(t)
	p := newProcess(t, fmt.Sprintf("shippers: {clickhouse: {enabled: false}, session: {url: %q}}\n", sessions.url))
	p.start()
	sessions.poisoned.Store(true)
	p.postSample(t, 20)
	bad := `{"events":[{"eventType":"click","timestamp":"` + now() + `","sessionId":"a","route":"/","target":{"type":"page"},"idempotencyKey":"poison"}]}`
	if r, err := p.post(http.DefaultClient, []byte(bad)); err != nil || r.Accepted != 1 {
		t.Fatalf("post the poison: %+v, %v", r, err)
	}
	p.postSample(t, 21)
	p.settled()
	sessions.poisoned.Store(false)
	p.run(t, script)
	nodetest.Eventually(t, waitLimit, func() bool {
		s, err := p.admin.Cursor(context.Background(), "session")
		return err == nil && s.Dead == 0
	}, "the poison is delivered")
	if report := sessions.receiver.Report(); report.Filled != 1 || !report.InOrder() || report.Events != 42 {
		t.Errorf("the receiver after the recipe: %+v", report)
	}
}

func decommissioned(t *testing.T, script string) {
	p := newProcess(t, fmt.Sprintf("shippers: {clickhouse: {addrs: [%q]}, session: {enabled: false}}\n", nodetest.FreeAddr(t)))
	p.start()
	p.postSample(t, 30)
	p.run(t, script)
	s, err := p.admin.Cursor(context.Background(), "clickhouse")
	if err != nil || s.LagEvents != 0 || len(s.Skipped) != 1 || s.Skipped[0] != (shipper.Range{First: 1, Last: 30}) {
		t.Errorf("the cursor after the recipe: %+v, %v", s, err)
	}
}

func move(t *testing.T, script string) {
	sessions := newTaken(t)
	p := newProcess(t, fmt.Sprintf("shippers: {clickhouse: {enabled: false}, session: {url: %q}}\n", sessions.url))
	p.start()
	p.postSample(t, 30)
	before := p.settled().LogID
	p.stop()
	out := p.run(t, script)
	if !strings.Contains(out, "the node is stopped") || strings.Contains(out, "log "+before) {
		t.Errorf("the moved node's status:\n%s", out)
	}
	text, err := os.ReadFile(p.config)
	if err == nil {
		moved := strings.Replace(string(text), filepath.Join(p.dir, "data"), filepath.Join(p.dir, "data.moved"), 1)
		err = os.WriteFile(p.config, []byte(moved), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.start()
	p.postSample(t, 31)
	s := p.settled()
	if s.LogID == before || s.Log.DurableSeq != 61 || s.Log.FirstSeq != 1 {
		t.Errorf("the moved node: log %s (before: %s), seq %d to %d", s.LogID, before, s.Log.FirstSeq, s.Log.DurableSeq)
	}
}
