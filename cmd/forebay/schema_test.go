package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"forebay/node/nodetest"
)

// TestSchemaCommands creates the table with the commands, on a current engine.
func TestSchemaCommands(t *testing.T) {
	engine := nodetest.StartClickHouseEngine(t)
	file := filepath.Join(t.TempDir(), "forebay.yaml")
	text := fmt.Sprintf("keys: {source: file, file: {path: keys.yaml}}\nshippers: {clickhouse: {addrs: [%q], protocol: http}, session: {enabled: false}}\n", engine.Addr())
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(verb string) string {
		t.Helper()
		var out strings.Builder
		root := newRoot(&out, os.Stderr)
		root.SetArgs([]string{"schema", verb, "--config", file})
		if err := root.ExecuteContext(t.Context()); err != nil {
			t.Fatalf("schema %s: %v", verb, err)
		}
		return out.String()
	}
	if got := run("show"); !strings.Contains(got, "ReplacingMergeTree") {
		t.Errorf("show: %s", got)
	}
	if got := run("plan"); !strings.Contains(got, "does not exist") || !strings.Contains(got, "CREATE TABLE") {
		t.Errorf("plan without a table: %s", got)
	}
	if got := run("apply"); !strings.Contains(got, "CREATE TABLE") {
		t.Errorf("apply: %s", got)
	}
	if got := run("plan"); !strings.Contains(got, "as it should be") {
		t.Errorf("plan after apply: %s", got)
	}
	engine.MustQuery(t, "ALTER TABLE events DROP COLUMN route")
	if got := run("plan"); !strings.Contains(got, "route") || !strings.Contains(got, "ALTER TABLE") {
		t.Errorf("plan without a column: %s", got)
	}
	run("apply")
	if got := run("apply"); !strings.Contains(got, "nothing to do") {
		t.Errorf("apply twice: %s", got)
	}
}
