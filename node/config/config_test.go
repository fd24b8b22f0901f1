package config

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"forebay/router/event"
	"forebay/router/privacy"
)

var update = flag.Bool("update", false, "write the files that are made from the table of fields")

// minimal is what the defaults lack.
func minimal() []string {
	return []string{"FOREBAY_KEYS_POSTGRES_DSN=host=db", "FOREBAY_NODE_ID=n"}
}

func writeFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "forebay.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustLoad(t testing.TB, path string, env []string) Config {
	t.Helper()
	c, err := Load(path, env)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestGeneratedFiles: the sample and the reference are those of the table; -update writes them.
func TestGeneratedFiles(t *testing.T) {
	reference := "# Configuration\n\nEvery setting, from the table in fields.go. What a file leaves out has the default; the environment\n" +
		"overrides the file. Lists in the environment are separated by commas. A running node takes\n" +
		"changes of the fields that are *live*, by `forebay config reload` or SIGHUP; the others want a restart.\n\n" + Reference()
	for path, want := range map[string]string{
		filepath.Join("..", "..", "cmd", "forebay", "deploy", "forebay.yaml"): Sample(),
		"REFERENCE.md": reference,
	} {
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s is out of date; run: go test ./node/config -update", path)
		}
	}
}

// TestSampleIsTheDefault: the sample names every field, and sets each to what it is without it.
func TestSampleIsTheDefault(t *testing.T) {
	var c Config
	l := newLoader(&c)
	l.file("sample", []byte(Sample()))
	if len(l.errs) > 0 {
		t.Fatal(l.errs)
	}
	for _, f := range l.fields {
		if l.sources[f.path] == "" {
			t.Errorf("the sample lacks %s", f.path)
		}
	}
	if !reflect.DeepEqual(mustLoad(t, writeFile(t, Sample()), minimal()), mustLoad(t, "", minimal())) {
		t.Error("the sample sets something to another value than the default")
	}
}

// TestTableMatchesTheStruct: each leaf of Config is one field, whose path is spelled like the Go names.
func TestTableMatchesTheStruct(t *testing.T) {
	var c Config
	byTarget := map[any]field{}
	for _, f := range fields(&c) {
		if _, twice := byTarget[f.target]; twice {
			t.Errorf("%s shares its variable with %s", f.path, byTarget[f.target].path)
		}
		byTarget[f.target] = f
		if f.doc == "" || !strings.HasSuffix(f.doc, ".") {
			t.Errorf("%s is not documented: %q", f.path, f.doc)
		}
		if foreignEnv.MatchString(f.env()) {
			t.Errorf("%s is taken for a foreign variable", f.env())
		}
		for at := parent(f.path); at != ""; at = parent(at) {
			if sections()[at] == "" {
				t.Errorf("group %s is not described", at)
			}
		}
	}
	leaves := 0
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		if v.Kind() == reflect.Struct {
			for i := range v.NumField() {
				walk(path+v.Type().Field(i).Name+".", v.Field(i))
			}
			return
		}
		leaves++
		f, ok := byTarget[v.Addr().Interface()]
		spelled := strings.ReplaceAll(f.path, "_", "")
		if !ok || !strings.EqualFold(spelled, strings.TrimSuffix(path, ".")) {
			t.Errorf("%s is field %q of the table", path, f.path)
		}
	}
	walk("", reflect.ValueOf(&c).Elem())
	if leaves != len(byTarget) {
		t.Errorf("%d leaves, %d fields", leaves, len(byTarget))
	}
}

// TestDefaultsAreThoseOfTheParts: what is written down twice is the same.
func TestDefaultsAreThoseOfTheParts(t *testing.T) {
	c, want := Default(), event.DefaultLimits()
	got := event.Limits{BatchEvents: c.Limits.BatchEvents, BatchBytes: int(c.Limits.BatchBytes), EventBytes: int(c.Limits.EventBytes),
		StringBytes: int(c.Limits.StringBytes), SessionBytes: int(c.Limits.SessionBytes), Depth: c.Limits.Depth,
		MaxAhead: c.Limits.TimestampAhead, MaxAge: c.Limits.TimestampAge, EventTypes: c.Ingest.EventTypes}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("limits are %+v, in package event %+v", got, want)
	}
}

func TestDefaultLacksTheKeysAlone(t *testing.T) {
	var errs Errors
	if err := Default().Validate(); !errors.As(err, &errs) || len(errs) != 1 || errs[0].Field != "keys.postgres.dsn" {
		t.Errorf("the defaults lack %v", err)
	}
}

func TestDevIsValid(t *testing.T) {
	c := Dev("/tmp/dev")
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if c.Shippers.ClickHouse.Enabled || !c.Shippers.Archive.Enabled || !c.Shippers.Session.Enabled || c.Keys.Source != KeysFile {
		t.Errorf("--dev is %s", c.Show())
	}
	for _, path := range []string{c.Node.DataDir, c.Keys.File.Path, c.Shippers.Archive.Dir} {
		if !strings.HasPrefix(path, "/tmp/dev/") {
			t.Errorf("--dev leaves its folder: %s", path)
		}
	}
}

func TestDevTakesTheEnvironment(t *testing.T) {
	c, err := Dev("/tmp/dev").Over([]string{"FOREBAY_LIMITS_DEPTH=21", "FOREBAY_NODE_ID="})
	if err != nil || c.Limits.Depth != 21 || c.Node.ID == "" || c.Node.DataDir != "/tmp/dev/data" {
		t.Errorf("%v\n%s", err, c.Show())
	}
	if _, err := Dev("/tmp/dev").Over([]string{"FOREBAY_LIMITS_DEPHT=21"}); err == nil {
		t.Error("a near miss is taken")
	}
}

func TestLayers(t *testing.T) {
	path := writeFile(t, "limits: {burst: 10, depth: 20, batch_events: 30}\nwal: {retain: {age: 1h}}\n")
	env := append(minimal(), "FOREBAY_LIMITS_DEPTH=21", "FOREBAY_LIMITS_BATCH_EVENTS=31", "FOREBAY_TORTURE=1", "PATH=/bin",
		"FOREBAY_INGEST_TRUSTED_PROXIES=10.0.0.0/8, ::1,", "FOREBAY_INGEST_EVENT_TYPES=*")
	c := mustLoad(t, path, env)
	if c.Limits.Burst != 10 || c.Limits.Depth != 21 || c.Limits.BatchEvents != 31 || c.WAL.Retain.Age != time.Hour || c.WAL.Fsync != FsyncAlways {
		t.Errorf("got %s", c.Show())
	}
	if !reflect.DeepEqual(c.Ingest.TrustedProxies, []string{"10.0.0.0/8", "::1"}) || !reflect.DeepEqual(c.Ingest.EventTypes, []string{"*"}) {
		t.Errorf("lists are %q and %q", c.Ingest.TrustedProxies, c.Ingest.EventTypes)
	}
}

func TestDerivedFields(t *testing.T) {
	c := mustLoad(t, "", []string{"FOREBAY_KEYS_POSTGRES_DSN=x", "FOREBAY_NODE_DATA_DIR=/data"})
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if c.Node.ID != host || c.Shippers.Archive.Dir != "/data/archive" || c.WAL.SyncInterval() != 0 {
		t.Errorf("derived are %q and %q", c.Node.ID, c.Shippers.Archive.Dir)
	}
	c.WAL.Fsync = FsyncInterval
	if c.WAL.SyncInterval() != 50*time.Millisecond {
		t.Errorf("interval is %v", c.WAL.SyncInterval())
	}
}

// drawConfig sets every field to a random value of its type.
func drawConfig(t *rapid.T) Config {
	var c Config
	for _, f := range fields(&c) {
		switch v := f.target.(type) {
		case *string:
			*v = rapid.String().Draw(t, f.path)
		case *[]string:
			if n := rapid.IntRange(0, 3).Draw(t, f.path+" length"); n > 0 {
				*v = rapid.SliceOfN(rapid.StringN(1, 10, -1), n, n).Draw(t, f.path)
			}
		case *bool:
			*v = rapid.Bool().Draw(t, f.path)
		case *int:
			*v = rapid.Int().Draw(t, f.path)
		case *float64:
			*v = rapid.Float64().Draw(t, f.path)
		case *Bytes:
			*v = Bytes(rapid.Int64Range(0, 1<<62).Draw(t, f.path)) << rapid.SampledFrom([]int{0, 0}).Draw(t, "shift")
			if rapid.Bool().Draw(t, "round") {
				*v = *v >> 40 << 20
			}
		case *time.Duration:
			*v = time.Duration(rapid.Int64().Draw(t, f.path))
			if rapid.Bool().Draw(t, "round") {
				*v = v.Truncate(time.Minute)
			}
		default:
			t.Fatalf("%s has type %T", f.path, v)
		}
	}
	return c
}

// TestWhatIsShownReadsBack: whatever the values, YAML, JSON and the environment give the same configuration.
func TestWhatIsShownReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawConfig(t)
		c.Keys.Postgres.DSN = "" // it would be redacted
		asJSON, err := c.ShowJSON()
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid([]byte(asJSON)) {
			t.Fatalf("not JSON: %s", asJSON)
		}
		for _, text := range []string{c.Show(), asJSON} {
			var got Config
			l := newLoader(&got)
			l.file("shown", []byte(text))
			if len(l.errs) > 0 || !reflect.DeepEqual(got, c) {
				t.Fatalf("%v\n%s\nread back as\n%s", l.errs, text, got.Show())
			}
		}
		var env []string
		for _, f := range fields(&c) {
			value, isText := f.target.(*string)
			if _, isList := f.target.(*[]string); isList {
				continue // an element with a comma cannot be given
			} else if isText {
				env = append(env, f.env()+"="+*value)
			} else {
				env = append(env, f.env()+"="+formatValue(f.target))
			}
		}
		want := c
		for _, f := range fields(&want) {
			if list, isList := f.target.(*[]string); isList {
				*list = nil
			}
		}
		var got Config
		l := newLoader(&got)
		l.environment(env)
		if len(l.errs) > 0 || !reflect.DeepEqual(got, want) {
			t.Fatalf("%v\n%q\nread back as\n%s", l.errs, env, got.Show())
		}
	})
}

func TestPrivacyOptions(t *testing.T) {
	p := Privacy{Action: PrivacyReport, Rules: []string{"phone=drop", "a/b=c/email=report", "shop/email=drop"}, DeniedKeys: []string{"nick"}}
	got, err := p.Options()
	if err != nil {
		t.Fatal(err)
	}
	want := privacy.Options{Action: privacy.Report, Rules: privacy.Rules{privacy.Phone: privacy.Drop}, DeniedKeys: []string{"nick"},
		Projects: map[string]privacy.Rules{"a/b=c": {privacy.Email: privacy.Report}, "shop": {privacy.Email: privacy.Drop}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, rule := range []string{"", "phone", "phone=", "phone=hide", "/phone=drop", "shop/=drop", "fone=drop", "=drop"} {
		if _, err := (Privacy{Rules: []string{rule}}).Options(); err == nil {
			t.Errorf("rule %q is accepted", rule)
		}
	}
}

func TestBytesAndDurations(t *testing.T) {
	for text, want := range map[string]Bytes{"0": 0, "1": 1, "500KiB": 500 << 10, "8MiB": 8 << 20, "2GiB": 2 << 30, "1TiB": 1 << 40,
		"1KB": 1000, "3MB": 3e6, "1 GiB": 1 << 30} {
		if got, ok := parseBytes(text); !ok || got != want {
			t.Errorf("%q is %d, want %d", text, got, want)
		}
	}
	for _, text := range []string{"", "-1", "1.5MiB", "KiB", "8 mib", "9223372036854775808", "9007199254740992KiB", "1e3", "0x10"} {
		if got, ok := parseBytes(text); ok {
			t.Errorf("%q is taken for %d", text, got)
		}
	}
	for d, want := range map[time.Duration]string{0: "0s", time.Hour: "1h", 168 * time.Hour: "168h", 90 * time.Second: "1m30s",
		10 * time.Minute: "10m", 50 * time.Millisecond: "50ms", time.Hour + time.Second: "1h0m1s", 20 * time.Second: "20s"} {
		if got := formatDuration(d); got != want {
			t.Errorf("%v is written %q, want %q", d, got, want)
		}
	}
}

func TestRedaction(t *testing.T) {
	for dsn, want := range map[string]string{
		"": `""`,
		"postgres://user:s3cret@db:5432/app?sslmode=require": `"postgres://user:REDACTED@db:5432/app?sslmode=require"`,
		"postgresql://user@db/app?password=s3cret":           `"postgresql://user@db/app?password=REDACTED"`,
		"postgres://user:s3cret@[bad/":                       "REDACTED",
		"host=db password=s3cret user=x":                     `"host=db password=REDACTED user=x"`,
		`host=db PASSWORD = 's3c\'ret s3cret' user=x`:        `"host=db PASSWORD=REDACTED user=x"`,
		"host=db sslpassword='s3cret":                        `"host=db sslpassword=REDACTED"`,
		"s3cret":                                             "REDACTED",
	} {
		c := Default()
		c.Keys.Postgres.DSN = dsn
		shown := c.Show()
		if strings.Contains(shown, "s3cret") || !strings.Contains(shown, "    dsn: "+want+"\n") {
			t.Errorf("%q is shown as\n%s", dsn, shown[strings.Index(shown, "postgres:"):][:150])
		}
		if asJSON, err := c.ShowJSON(); err != nil || strings.Contains(asJSON, "s3cret") {
			t.Errorf("%q is shown in JSON: %v", dsn, err)
		}
		if c.Keys.Postgres.DSN != dsn {
			t.Error("showing changed the configuration")
		}
	}
	_, err := Load("", []string{"FOREBAY_KEYS_POSTGRES_DSN=postgres://u:s3cret@db/x", "FOREBAY_KEYS_POSTGRES_DSN_FILE=/y"})
	if err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("the error is %v", err)
	}
}

func TestCheckFiles(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "there")
	if err := os.WriteFile(there, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := mustLoad(t, "", minimal())
	if err := c.CheckFiles(); err != nil {
		t.Errorf("no file is named: %v", err)
	}
	c.Admin.TokenFile, c.Ingest.TLS.CertFile, c.Keys.Postgres.DSNFile = there, filepath.Join(dir, "absent"), dir
	c.Shippers.Session.TokenFile, c.Shippers.ClickHouse.PasswordFile = filepath.Join(there, "below"), there
	c.Shippers.ClickHouse.TLS.CAFile = "/not/needed/without/tls"
	var errs Errors
	if err := c.CheckFiles(); !errors.As(err, &errs) || len(errs) != 3 {
		t.Fatalf("got %v", err)
	}
	for i, field := range []string{"ingest.tls.cert_file", "keys.postgres.dsn_file", "shippers.session.token_file"} {
		if errs[i].Field != field || !strings.Contains(errs[i].Error(), "create the file or correct the path") {
			t.Errorf("finding %d is %v, want %s", i, errs[i], field)
		}
	}
}

func TestReadSecret(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{"s3cret": "s3cret", "s3cret\n": "s3cret", " a b \r\n": " a b ", "": "", "\n": "", strings.Repeat("x", 70<<10): ""} {
		path := filepath.Join(dir, "secret")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := ReadSecret("admin.token_file", path)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%.20q is read as %q, %v", text, got, err)
		}
		if err != nil && !strings.Contains(err.Error(), "admin.token_file") {
			t.Errorf("the error names no field: %v", err)
		}
	}
	if got, err := ReadSecret("x", ""); got != "" || err != nil {
		t.Errorf("no file: %q, %v", got, err)
	}
	if _, err := (Postgres{DSNFile: filepath.Join(dir, "absent")}).ReadDSN(); err == nil || !strings.Contains(err.Error(), "keys.postgres.dsn_file") {
		t.Errorf("absent file: %v", err)
	}
	if dsn, err := (Postgres{DSN: "x"}).ReadDSN(); dsn != "x" || err != nil {
		t.Errorf("got %q, %v", dsn, err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(Sample()))
	f.Add([]byte(`{"wal": {"fsync": "interval"}, "limits": {"burst": 1}}`))
	for _, path := range badFiles(f) {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := Default()
		l := newLoader(&c)
		l.file("fuzz", data)
		if len(l.errs) > 0 {
			return
		}
		c.Keys.Postgres.DSN = ""
		var again Config
		l = newLoader(&again)
		l.file("shown", []byte(c.Show()))
		if len(l.errs) > 0 || fmt.Sprint(again) != fmt.Sprint(c) {
			t.Errorf("%v\n%s\nread back as\n%s", l.errs, c.Show(), again.Show())
		}
	})
}

// TestChanges: what a running node takes and what it does not, secrets never shown.
func TestChanges(t *testing.T) {
	old := mustLoad(t, "", minimal())
	next := mustLoad(t, "", append(minimal(), "FOREBAY_LIMITS_BURST=7", "FOREBAY_WAL_RETAIN_AGE=1h", "FOREBAY_PRIVACY_RULES=phone=report",
		"FOREBAY_INGEST_LISTEN=:1", "FOREBAY_KEYS_POSTGRES_DSN=host=db password=hunter2"))
	live, fixed := old.Changes(next)
	want := []Change{{"limits.burst", "2000", "7"}, {"privacy.rules", "[]", `["phone=report"]`}, {"wal.retain.age", "24h", "1h"}}
	if !reflect.DeepEqual(live, want) {
		t.Errorf("live: %+v, want %+v", live, want)
	}
	want = []Change{{"ingest.listen", `":7070"`, `":1"`}, {"keys.postgres.dsn", redacted, redacted}}
	if !reflect.DeepEqual(fixed, want) {
		t.Errorf("fixed: %+v, want %+v", fixed, want)
	}
	mixed := old.WithLive(next)
	if live, fixed := mixed.Changes(next); len(live) != 0 || len(fixed) != 2 {
		t.Errorf("after the live fields are taken: live %+v, fixed %+v", live, fixed)
	}
	if live, _ := old.Changes(mixed); len(live) != 3 {
		t.Error("taking the live fields has changed the configuration that they were taken into")
	}
}
