package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func badFiles(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob("testdata/bad.*")
	if err != nil || len(paths) == 0 {
		t.Fatal("no bad files", err)
	}
	return paths
}

// TestBadFiles: each file ends with the errors that it is to give, as comments that begin with "# want: ". A
// JSON file has no comments; its errors are beside it.
func TestBadFiles(t *testing.T) {
	for _, path := range badFiles(t) {
		if strings.HasSuffix(path, ".want") {
			continue
		}
		wantFrom := path
		if strings.HasSuffix(path, ".json") {
			wantFrom += ".want"
		}
		data, err := os.ReadFile(wantFrom)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for line := range strings.Lines(string(data)) {
			if text, ok := strings.CutPrefix(line, "# want: "); ok {
				want = append(want, strings.TrimSpace(text))
			}
		}
		_, err = Load(path, nil)
		if err == nil {
			t.Errorf("%s is accepted", path)
			continue
		}
		if got := err.Error(); len(want) == 0 || got != strings.Join(want, "\n") {
			t.Errorf("%s gives\n%s\nwant\n%s", path, got, strings.Join(want, "\n"))
		}
	}
}

func TestBadEnvironment(t *testing.T) {
	for entry, want := range map[string]string{
		"FOREBAY_WAL_FSNC=always":                            "FOREBAY_WAL_FSNC: unknown variable; did you mean FOREBAY_WAL_FSYNC?",
		"FOREBAY_CLICKHOUSE_ADDRS=a:1":                       "FOREBAY_CLICKHOUSE_ADDRS: unknown variable; did you mean FOREBAY_SHIPPERS_CLICKHOUSE_ADDRS?",
		"FOREBAY_WAL_FSNYC=always":                           "FOREBAY_WAL_FSNYC: unknown variable; did you mean FOREBAY_WAL_FSYNC?",
		"FOREBAY_WALL_FSYNC=always":                          "FOREBAY_WALL_FSYNC: unknown variable; did you mean FOREBAY_WAL_FSYNC?",
		"FOREBAY_LIMITS_BURST=many":                          `FOREBAY_LIMITS_BURST: limits.burst: "many": expected a whole number`,
		"FOREBAY_LIMITS_BURST=":                              "FOREBAY_LIMITS_BURST: limits.burst: expected a whole number",
		"FOREBAY_LIMITS_REQUESTS_PER_SECOND=NaN":             `FOREBAY_LIMITS_REQUESTS_PER_SECOND: limits.requests_per_second: "NaN": expected a number`,
		"FOREBAY_WAL_FSYNC=sometimes":                        `FOREBAY_WAL_FSYNC: wal.fsync: "sometimes": expected always or interval`,
		"FOREBAY_SHIPPERS_CLICKHOUSE_ADDRS=u:hunter2@h:9000": "FOREBAY_SHIPPERS_CLICKHOUSE_ADDRS: shippers.clickhouse.addrs: holds a user or password; they go into shippers.clickhouse.username and password_file",
		"FOREBAY_SHIPPERS_CLICKHOUSE_ADDRS=":                 "FOREBAY_SHIPPERS_CLICKHOUSE_ADDRS: shippers.clickhouse.addrs: is empty; list the servers as host:port, or set enabled: false",
		"FOREBAY_SHIPPERS_CLICKHOUSE_ENABLED=yes":            `FOREBAY_SHIPPERS_CLICKHOUSE_ENABLED: shippers.clickhouse.enabled: "yes": expected true or false`,
	} {
		_, err := Load("", append(minimal(), entry))
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s gives %v, want %s", entry, err, want)
		}
	}
	for _, entry := range []string{"FOREBAY_ADMIN=localhost:1", "FOREBAY_TORTURE=1", "forebay_wal=1", "FOREBAYS=1",
		"FOREBAY_SERVICE_HOST=10.0.0.1", "FOREBAY_SERVICE_PORT=80", "FOREBAY_SERVICE_PORT_INGEST=80", "FOREBAY_PORT=tcp://10.0.0.1:80",
		"FOREBAY_PORT_80_TCP=x", "FOREBAY_PORT_80_TCP_ADDR=x", "FOREBAY_EDGE_SERVICE_HOST=x", "FOREBAY_EDGE_PORT_7070_TCP_PROTO=tcp",
		"FOREBAY_ADMIN_SERVICE_HOST=x", "FOREBAY_ADMIN_PORT_7071_TCP=x", "FOREBAY_SERVICE_PORT_HTTP=80"} {
		if _, err := Load("", append(minimal(), entry)); err != nil {
			t.Errorf("%s gives %v", entry, err)
		}
		if names := UnknownEnv([]string{entry}); names != nil {
			t.Errorf("%s is taken for unknown: %q", entry, names)
		}
	}
	unknown := []string{"FOREBAY_", "FOREBAY_API_KEY", "FOREBAY_KEY", "FOREBAY_URL", "FOREBAY_VERSION", "FOREBAY_forebay"}
	env := minimal()
	for _, name := range unknown {
		env = append(env, name+"=x")
	}
	if _, err := Load("", env); err != nil {
		t.Error(err)
	}
	if names := UnknownEnv(env); !slices.Equal(names, unknown) {
		t.Errorf("unknown are %q, want %q", names, unknown)
	}
}

func TestNearest(t *testing.T) {
	var c Config
	l := newLoader(&c)
	for path, want := range map[string]string{
		"wal.fsnc":                      "wal.fsync",
		"wal.fsycn":                     "wal.fsync",
		"wall":                          "wal",
		"retain":                        "wal.retain",
		"clickhouse":                    "shippers.clickhouse",
		"shippers.clickhouse.adresses":  "shippers.clickhouse.addrs",
		"shippers.clickhouse.parked":    "shippers.session.parked",
		"node.datadir":                  "node.data_dir",
		"dsn":                           "keys.postgres.dsn",
		"limits.request_per_second":     "limits.requests_per_second",
		"ingest.tls.cert":               "ingest.tls.cert_file",
		"shippers.clickhouse.flush.rws": "shippers.clickhouse.flush.rows",
	} {
		if got := l.nearest(path); got != want {
			t.Errorf("nearest to %s is %s, want %s", path, got, want)
		}
	}
	if got := l.nearest(strings.Repeat("x", 100_000)); got == "" {
		t.Error("nothing is near a long path")
	}
}

func TestDistance(t *testing.T) {
	for pair, want := range map[[2]string]int{
		{"", ""}: 0, {"a", ""}: 1, {"", "ab"}: 2, {"fsync", "fsnc"}: 1, {"fsync", "fsycn"}: 1, {"abc", "cab"}: 2, {"kitten", "sitting"}: 3,
	} {
		if got := distance(pair[0], pair[1]); got != want {
			t.Errorf("distance of %q is %d, want %d", pair, got, want)
		}
		if got := distance(pair[1], pair[0]); got != want {
			t.Errorf("distance of %q reversed is %d, want %d", pair, got, want)
		}
	}
}

// TestHostileNesting: what would keep the parser busy for minutes is refused before it.
func TestHostileNesting(t *testing.T) {
	for _, unit := range []string{"[", "{", "{a: ", "[a, "} {
		_, err := Load(writeFile(t, strings.Repeat(unit, maxFileBytes/len(unit))), minimal())
		if err == nil || !strings.Contains(err.Error(), "brackets") {
			t.Errorf("%q again and again gives %v", unit, err)
		}
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, make([]byte, maxFileBytes+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{filepath.Join(dir, "absent"): "--config", dir: "directory", large: "64 KiB"} {
		if _, err := Load(path, minimal()); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want something of %q", path, err, want)
		}
	}
}
