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
		"rows-missing":   rowsMissing,
		"bad-deploy":     badDeploy,
		"another-table":  anotherTable,
		"poison":         poison,
		"decommissioned": decommissioned,
		"move":           move,
		"backup":         backup,
		"upgrade":        upgrade,
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

func anotherTable(t *testing.T, script string) {
	server := nodetest.StartClickHouse(t)
	server.MustQuery(t, clickhousetest.PlainTable("events"))
	server.MustQuery(t, clickhousetest.PlainTable("events_v2"))
	p := newProcess(t, fmt.Sprintf(`shippers:
  clickhouse: {addrs: [%q], create_table: false, flush: {age: 50ms}}
  session: {enabled: false}
`, server.Addr()))
	p.start()
	p.postSample(t, 100)
	p.settled()
	if out := p.run(t, script); !strings.Contains(out, "backfill has begun") {
		t.Errorf("the recipe printed:\n%s", out)
	}
	nodetest.Eventually(t, waitLimit, func() bool {
		r, err := p.admin.Replay(context.Background(), "backfill")
		return err == nil && r.State == shipper.Done
	}, "the replay is done")
	for _, table := range []string{"events", "events_v2"} {
		if got := server.MustQuery(t, "SELECT count(), uniqExact(seq) FROM "+table); got != "100\t100" {
			t.Errorf("table %s: %q after the recipe, want 100 rows", table, got)
		}
	}
}

func rowsMissing(t *testing.T, script string) {
	server := nodetest.StartClickHouse(t)
	server.MustQuery(t, clickhousetest.PlainTable("events"))
	p := newProcess(t, fmt.Sprintf(`shippers:
  clickhouse: {addrs: [%q], create_table: false, flush: {age: 50ms}}
  session: {enabled: false}
`, server.Addr()))
	p.start()
	p.postSample(t, 100)
	p.settled()
	server.MustQuery(t, "ALTER TABLE events DELETE WHERE seq = 7 OR seq >= 20 AND seq <= 23")
	nodetest.Eventually(t, waitLimit, func() bool { return server.MustQuery(t, "SELECT count() FROM events") == "95" }, "rows are deleted")
	out := p.run(t, script)
	for _, want := range []string{`missing +5: 7, 20-23`, `filled in +5: 7, 20-23`, `missing +0`, ` fill +clickhouse +rows deleted by hand`} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("the recipe does not print %q:\n%s", want, out)
		}
	}
	if got := server.MustQuery(t, "SELECT count(), uniqExact(seq) FROM events"); got != "100\t100" {
		t.Errorf("rows and seqs after the recipe: %s", got)
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
	p.postPoison(t)
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
	p.useData(t, "data.moved")
	p.start()
	p.postSample(t, 31)
	s := p.settled()
	if s.LogID == before || s.Log.DurableSeq != 61 || s.Log.FirstSeq != 1 {
		t.Errorf("the moved node: log %s (before: %s), seq %d to %d", s.LogID, before, s.Log.FirstSeq, s.Log.DurableSeq)
	}
}

// useData has the node use another directory beside its configuration.
func (p *process) useData(t *testing.T, name string) {
	t.Helper()
	text, err := os.ReadFile(p.config)
	if err == nil {
		changed := strings.Replace(string(text), filepath.Join(p.dir, "data"), filepath.Join(p.dir, name), 1)
		err = os.WriteFile(p.config, []byte(changed), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// backup loses the directory after the copy, and events with it.
func backup(t *testing.T, script string) {
	sessions := newTaken(t)
	p := newProcess(t, fmt.Sprintf("shippers: {clickhouse: {enabled: false}, session: {url: %q}}\n", sessions.url))
	p.start()
	p.postSample(t, 30)
	before := p.settled().LogID
	p.stop()
	p.run(t, script)
	p.start()
	p.postSample(t, 31)
	p.settled()
	p.kill()
	p.useData(t, "data.restored")
	p.start()
	p.postSample(t, 32)
	s := p.settled()
	if s.LogID == before || s.Log.FirstSeq != 1 || s.Log.DurableSeq != 62 {
		t.Errorf("the restored node: log %s (before: %s), seq %d to %d", s.LogID, before, s.Log.FirstSeq, s.Log.DurableSeq)
	}
	if report := sessions.receiver.Report(); !report.InOrder() || report.Events != 30+31+32 {
		t.Errorf("the receiver after the restore: %+v; want every event of both logs, in order", report)
	}
}

// upgrade goes on with the same directory, and goes back to the copy.
func upgrade(t *testing.T, script string) {
	p := newProcess(t, "shippers: {clickhouse: {enabled: false}, session: {enabled: false}, archive: {enabled: true, flush: {age: 50ms}}}\n")
	p.start()
	p.postSample(t, 30)
	before := p.settled().LogID
	p.stop()
	if out := p.run(t, script); !strings.Contains(out, "every block is whole") || !strings.Contains(out, "commit") {
		t.Errorf("the recipe says\n%s", out)
	}
	for _, data := range []string{"data", "data.before"} {
		p.start()
		if s := p.settled(); s.LogID != before || s.Log.DurableSeq != 30 {
			t.Errorf("%s: log %s (before: %s) up to seq %d", data, s.LogID, before, s.Log.DurableSeq)
		}
		p.stop()
		if data == "data" {
			p.useData(t, "data.before")
		}
	}
}
