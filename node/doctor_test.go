package node_test

import (
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"forebay/node"
	"forebay/node/admin"
	"forebay/node/config"
	"forebay/node/nodetest"
	"forebay/router/auth"
	"forebay/router/auth/postgres"
	"forebay/shipper/clickhouse/clickhousetest"
	"forebay/shipper/session/receiver"
)

// healthy is a stopped node whose ports are known and free.
func healthy(t *testing.T) config.Config {
	t.Helper()
	c := nodetest.Config(t)
	c.Ingest.Listen, c.Admin.Listen = nodetest.FreeAddr(t), nodetest.FreeAddr(t)
	nodetest.Key(t, c)
	return c
}

func examine(c config.Config) []node.Finding { return node.Examine(ctx, c, node.Options{}) }

// found fails the test unless there is a finding of that check and state with
// every text in what it says or advises.
func wantFinding(t *testing.T, all []node.Finding, check, state string, texts ...string) {
	t.Helper()
	if !slices.ContainsFunc(all, func(f node.Finding) bool {
		return f.Check == check && f.State == state && (f.Remedy != "") == (state != node.FindingOK) &&
			!slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(f.Text+" -> "+f.Remedy, text) })
	}) {
		t.Errorf("no finding %s of %s with %q in\n%s", state, check, texts, list(all))
	}
}

func list(all []node.Finding) (text string) {
	for _, f := range all {
		text += fmt.Sprintf("%s %s: %s -> %s\n", f.State, f.Check, f.Text, f.Remedy)
	}
	return text
}

// sound fails the test if anything fails.
func sound(t *testing.T, all []node.Finding) {
	t.Helper()
	if len(all) < 5 || slices.ContainsFunc(all, func(f node.Finding) bool { return f.State == node.FindingFail }) {
		t.Errorf("a sound node:\n%s", list(all))
	}
}

// files are all below dir but those of Pebble, which rolls its own at an open.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if !strings.Contains(path, "/state/") {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestDoctorFindsASoundNodeSound(t *testing.T) {
	c := healthy(t)
	all := examine(c)
	sound(t, all)
	wantFinding(t, all, "data directory", node.FindingOK, "creates it at its first start")
	wantFinding(t, all, "ingest.listen", node.FindingOK, "is free")
	if _, err := os.Stat(c.Node.DataDir); err == nil {
		t.Error("the examination made the data directory")
	}

	n := nodetest.Run(t, c)
	all = examine(c)
	sound(t, all)
	wantFinding(t, all, "running node", node.FindingOK, "answers at")
	wantFinding(t, all, "node: durable", node.FindingOK, "in order since")
	wantFinding(t, all, "ingest.listen", node.FindingOK, "takes connections")
	if _, err := n.Admin.Pause(ctx, "archive", admin.PauseRequest{Command: admin.Command{By: "ann", Why: "deploy"}}); err != nil {
		t.Fatal(err)
	}
	nodetest.Eventually(t, time.Minute, func() bool {
		return slices.ContainsFunc(n.Status().Checks, func(c admin.Check) bool { return c.Name == "ship" && !c.OK })
	}, "the check sees the pause")
	wantFinding(t, examine(c), "node: ship", node.FindingWarn, "paused by ann", "resume")
	n.Stop()

	before := files(t, c.Node.DataDir)
	all = examine(c)
	sound(t, all)
	wantFinding(t, all, "log and state", node.FindingOK, "seq ")
	if after := files(t, c.Node.DataDir); !slices.Equal(before, after) {
		t.Errorf("files before %v\nafter %v", before, after)
	}
	nodetest.Run(t, c).Stop() // the directory is left as a node wants it
}

func TestDoctorFindsWhatIsWrongWithTheDirectory(t *testing.T) {
	c := healthy(t)
	nodetest.Run(t, c).Stop()
	if err := os.Chmod(c.Node.DataDir, 0o755); err != nil {
		t.Fatal(err)
	}
	wantFinding(t, examine(c), "data directory", node.FindingWarn, "open to every user", "chmod o=")

	version := filepath.Join(c.Node.DataDir, "VERSION")
	write(t, version, "99\n")
	wantFinding(t, examine(c), "data directory", node.FindingFail, `"99"`, "newer")
	write(t, version, "1\n")

	large := c
	large.WAL.DiskBudget = 1 << 60
	wantFinding(t, examine(large), "free space", node.FindingWarn, "disk_budget")
	hasty := c
	hasty.WAL.Fsync, hasty.WAL.FsyncInterval = config.FsyncInterval, time.Second
	wantFinding(t, examine(hasty), "wal.fsync", node.FindingWarn, "power cut loses")

	taken, err := net.Listen("tcp", c.Ingest.Listen)
	if err != nil {
		t.Fatal(err)
	}
	wantFinding(t, examine(c), "ingest.listen", node.FindingFail, "is in use", "ss -ltnp")
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}

	late := node.Examine(ctx, c, node.Options{Built: time.Now().Add(time.Hour)})
	wantFinding(t, late, "clock", node.FindingFail, "this program was built at", "timedatectl")

	n, err := node.Open(c, node.Options{}) // holds the directory, and answers nobody
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := c
	elsewhere.Admin.Listen = nodetest.FreeAddr(t)
	wantFinding(t, examine(elsewhere), "running node", node.FindingFail, "does not answer", "admin.listen")
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}

	if err := os.RemoveAll(filepath.Join(c.Node.DataDir, "wal")); err != nil {
		t.Fatal(err)
	}
	wantFinding(t, examine(c), "log and state", node.FindingFail, "no such file", "backup")

	file := c
	file.Node.DataDir = c.Keys.File.Path
	wantFinding(t, examine(file), "data directory", node.FindingFail, "not a folder")
	if _, err := os.Stat("/dev/shm"); err == nil {
		memory := c
		memory.Node.DataDir = "/dev/shm/forebay-doctor-test-that-is-not-there"
		wantFinding(t, examine(memory), "file system", node.FindingWarn, "tmpfs", "lost with the machine")
		wantFinding(t, examine(memory), "disk", node.FindingWarn, "no disk")
	}
}

func TestDoctorFindsWhatIsWrongWithKeys(t *testing.T) {
	c := healthy(t)
	if err := os.Chmod(c.Keys.File.Path, 0o666); err != nil {
		t.Fatal(err)
	}
	wantFinding(t, examine(c), "key file", node.FindingFail, "may add keys", "chmod o-w")
	write(t, c.Keys.File.Path, "[]")
	wantFinding(t, examine(c), "key file", node.FindingWarn, "none in force")
	write(t, c.Keys.File.Path, "- project: shop\n  key: plain\n")
	wantFinding(t, examine(c), "key file", node.FindingFail)

	server := nodetest.StartPostgres(t)
	c.Keys = config.Keys{Source: config.KeysPostgres, Postgres: config.Postgres{DSN: server.DSN()}, MaxStale: time.Hour}
	all := examine(c)
	wantFinding(t, all, "PostgreSQL", node.FindingOK, "answers")
	wantFinding(t, all, "key table", node.FindingFail, "no table", "keys create")
	store, err := postgres.OpenStore(ctx, server.DSN())
	if err != nil {
		t.Fatal(err)
	}
	wantFinding(t, examine(c), "key table", node.FindingWarn, "none in force")
	_, digest := auth.Generate()
	if err := store.Create(ctx, auth.Key{ID: digest.ID(), Digest: digest, Project: "shop"}); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(ctx); err != nil {
		t.Fatal(err)
	}
	all = examine(c)
	sound(t, all)
	wantFinding(t, all, "key table", node.FindingOK, "1 keys, 1 in force")
	wantFinding(t, all, "key changes", node.FindingOK, "arrive")
	wrong := c
	wrong.Keys.Postgres.DSN = strings.Replace(server.DSN(), server.Password(), "wrong", 1)
	wantFinding(t, examine(wrong), "PostgreSQL", node.FindingFail, "password")
	server.Stop()
	wantFinding(t, examine(c), "PostgreSQL", node.FindingFail, "max_stale")
}

func TestDoctorFindsWhatIsWrongWithClickHouse(t *testing.T) {
	server := nodetest.StartClickHouse(t)
	c := healthy(t)
	c.Shippers.Archive.Enabled = false
	c.Shippers.ClickHouse = config.Default().Shippers.ClickHouse
	ch := &c.Shippers.ClickHouse
	ch.Addrs, ch.CreateTable = []string{server.Addr()}, false
	name := "ClickHouse " + server.Addr()
	wantFinding(t, examine(c), name, node.FindingFail, "does not exist", "schema apply")
	server.MustQuery(t, clickhousetest.PlainTable("events"))
	all := examine(c)
	sound(t, all)
	wantFinding(t, all, name, node.FindingOK, "version 18.16", "takes rows for default.events")
	wantFinding(t, all, name, node.FindingWarn, "deduplication tokens")

	two := c
	two.Shippers.ClickHouse.Addrs = []string{server.Addr(), nodetest.FreeAddr(t)}
	all = examine(two)
	wantFinding(t, all, name, node.FindingOK, "takes rows")
	wantFinding(t, all, "ClickHouse "+two.Shippers.ClickHouse.Addrs[1], node.FindingFail, "refused", "wait in the log")

	reader := c
	reader.Shippers.ClickHouse.Username = clickhousetest.ReadOnlyUser
	wantFinding(t, examine(reader), name, node.FindingFail, "READONLY", "readonly = 0")
	reader.Shippers.ClickHouse.Table, reader.Shippers.ClickHouse.CreateTable = "later", true
	wantFinding(t, examine(reader), name, node.FindingFail, "may only read")
	guarded := c
	guarded.Shippers.ClickHouse.Username = clickhousetest.PasswordUser
	wantFinding(t, examine(guarded), name, node.FindingFail, "password")

	server.MustQuery(t, strings.Replace(clickhousetest.PlainTable("narrow"), "route String,", "", 1))
	narrow := c
	narrow.Shippers.ClickHouse.Table = "narrow"
	wantFinding(t, examine(narrow), "schema", node.FindingFail, "column route is missing", "ALTER TABLE `default`.`narrow` ADD COLUMN `route` String")
	narrow.Shippers.ClickHouse.OptionalColumns = []string{"route"}
	sound(t, examine(narrow))
	server.MustQuery(t, strings.Replace(clickhousetest.PlainTable("wrong"), "route String,", "route UInt8,", 1))
	wrong := c
	wrong.Shippers.ClickHouse.Table = "wrong"
	wantFinding(t, examine(wrong), name, node.FindingFail, "column route is UInt8", "ALTER TABLE `default`.`wrong` MODIFY COLUMN `route`")
	if rows := server.MustQuery(t, "SELECT count() FROM events"); rows != "0" {
		t.Errorf("the examinations left %s rows", rows)
	}
}

// TestDoctorKnowsTokens: a current engine has them, and takes the insert of no
// row as the old server does.
func TestDoctorKnowsTokens(t *testing.T) {
	engine := nodetest.StartClickHouseEngine(t)
	c := healthy(t)
	c.Shippers.ClickHouse = config.Default().Shippers.ClickHouse
	c.Shippers.ClickHouse.Addrs, c.Shippers.ClickHouse.Protocol = []string{engine.Addr()}, "http"
	name := "ClickHouse " + engine.Addr()
	wantFinding(t, examine(c), name, node.FindingWarn, "tries to create it")
	key := nodetest.Key(t, c)
	n := nodetest.Run(t, c)
	n.Post(key, nodetest.Event("a", ""))
	nodetest.Eventually(t, time.Minute, func() bool { return engine.MustQuery(t, "EXISTS TABLE events") == "1" }, "the node makes the table")
	n.Stop()
	all := examine(c)
	sound(t, all)
	if slices.ContainsFunc(all, func(f node.Finding) bool { return f.Check == name && f.State != node.FindingOK }) {
		t.Errorf("a table of the node's own:\n%s", list(all))
	}
}

func TestDoctorFindsWhatIsWrongWithTheSessionManager(t *testing.T) {
	r, err := receiver.New(receiver.Options{Token: "opensesame"})
	if err != nil {
		t.Fatal(err)
	}
	sessions := httptest.NewServer(r)
	defer sessions.Close()
	c := healthy(t)
	c.Shippers.Session = config.Default().Shippers.Session
	c.Shippers.Session.URL = sessions.URL
	const name = "Session Manager"
	wantFinding(t, examine(c), name, node.FindingFail, "401", "token_file")
	c.Shippers.Session.TokenFile = filepath.Join(t.TempDir(), "token")
	write(t, c.Shippers.Session.TokenFile, "opensesame\n")
	all := examine(c)
	sound(t, all)
	wantFinding(t, all, name, node.FindingOK, "as the contract says")
	if report := r.Report(); report.Events != 0 || report.Malformed != 0 {
		t.Errorf("the receiver took something for events: %+v", report)
	}

	for status, want := range map[int][]string{
		http.StatusNotFound:           {node.FindingOK, "404"},
		http.StatusMethodNotAllowed:   {node.FindingOK, "shows with the first"},
		http.StatusMovedPermanently:   {node.FindingFail, "final address"},
		http.StatusForbidden:          {node.FindingFail, "token_file"},
		http.StatusServiceUnavailable: {node.FindingFail, "mend the Session Manager"},
	} {
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.Method != http.MethodGet {
				t.Errorf("the examination sent a %s", req.Method)
			}
			w.WriteHeader(status)
		}))
		c.Shippers.Session.URL = other.URL
		wantFinding(t, examine(c), name, want[0], want[1])
		other.Close()
	}
	wantFinding(t, examine(c), name, node.FindingFail, "refused", "events wait") // the last one is closed

	secure := httptest.NewTLSServer(r)
	defer secure.Close()
	c.Shippers.Session.URL = secure.URL
	wantFinding(t, examine(c), name, node.FindingFail, "certificate", "ca_file")
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
