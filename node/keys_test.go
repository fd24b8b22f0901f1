package node_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"forebay/node"
	"forebay/node/admin"
	"forebay/node/config"
	"forebay/node/nodetest"
	"forebay/router/auth"
	"forebay/router/auth/file"
	"forebay/router/auth/postgres"
	"forebay/shipper"
)

// lines is a log that tests can read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func ready(t *testing.T, n *nodetest.Node) bool {
	t.Helper()
	res, err := http.Get(n.AdminURL + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

func check(t *testing.T, n *nodetest.Node, name string) admin.Check {
	t.Helper()
	for _, c := range n.Status().Checks {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no check %s", name)
	return admin.Check{}
}

func trail(t *testing.T, n *nodetest.Node) (all []shipper.TrailEntry) {
	t.Helper()
	if err := n.Admin.AuditLog(t.Context(), func(e shipper.TrailEntry) error { all = append(all, e); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// taken tells whether an event under a strict key is accepted: to others than those the reply says nothing.
func taken(n *nodetest.Node, key string) bool {
	_, body := n.Post(key, nodetest.Event("s", ""))
	return strings.Contains(body, `"accepted":1`)
}

// verbs are the trail's verbs about keys.
func verbs(t *testing.T, n *nodetest.Node) (all []string) {
	for _, e := range trail(t, n) {
		if strings.Contains(e.Verb, "key") {
			all = append(all, e.Verb)
		}
	}
	return all
}

// postgresConfig is a node whose keys are in PostgreSQL, with the connection string in a file.
func postgresConfig(t *testing.T, dsn string) (c config.Config, dsnFile string) {
	t.Helper()
	c = nodetest.Config(t)
	dsnFile = filepath.Join(t.TempDir(), "dsn")
	writeFile(t, dsnFile, dsn+"\n")
	c.Keys.Source, c.Keys.Postgres.DSNFile = config.KeysPostgres, dsnFile
	return c, dsnFile
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// createKey makes a strict key in PostgreSQL and returns its text and itself.
func createKey(t *testing.T, dsn string) (string, auth.Key) {
	t.Helper()
	text, digest := auth.Generate()
	key := auth.Key{ID: digest.ID(), Digest: digest, Project: "shop", Strict: true, RequestsPerSecond: 1e6, Burst: 1e6}
	store, err := postgres.OpenStore(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close(context.Background())
	if err := store.Create(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	return text, key
}

const soon = 30 * time.Second

// TestNodeThatNeverReadItsKeysIsNotReady, says why without the password, and becomes ready with its source; a restart
// while that is away is served by the cache.
func TestNodeThatNeverReadItsKeysIsNotReady(t *testing.T) {
	server := nodetest.StartPostgres(t)
	text, _ := createKey(t, server.DSN())
	wrong := strings.Replace(server.DSN(), server.Password(), "wr0ng-secret", 1)
	c, dsnFile := postgresConfig(t, wrong)
	n := nodetest.Run(t, c)
	nodetest.Eventually(t, soon, func() bool { return strings.Contains(check(t, n, "keys").Reason, "28P01") }, "the reason is told")
	s := n.Status()
	if ready(t, n) || s.Accepting || s.Keys.Known || n.Metrics()["forebay_keys_known"] != 0 || n.Metrics()["forebay_ready"] != 0 {
		t.Errorf("a node that never read its keys: ready %v, %+v", ready(t, n), s.Keys)
	}
	for _, name := range []string{"keys", "accept"} {
		c := check(t, n, name)
		if c.OK || !strings.Contains(c.Reason, "never been read") || c.Remedy == "" || strings.Contains(c.Reason, "wr0ng") {
			t.Errorf("check %s: %+v", name, c)
		}
	}
	if reason := check(t, n, "keys").Reason; strings.Count(reason, "28P01") != 1 || strings.Contains(reason, "\n") {
		t.Errorf("the reason is not one clear line: %s", reason)
	}
	writeFile(t, dsnFile, server.DSN())
	nodetest.Eventually(t, soon, func() bool { return ready(t, n) }, "ready once the connection string is right")
	if !taken(n, text) {
		t.Error("the key is refused")
	}
	nodetest.Eventually(t, soon, func() bool { return check(t, n, "keys").OK }, "the keys are in order")
	n.Stop()

	server.Kill()
	n = nodetest.Run(t, c)
	nodetest.Eventually(t, soon, func() bool {
		return strings.Contains(check(t, n, "keys").Reason, "1 cached keys serve")
	}, "the cache is told from the source")
	if !ready(t, n) || !check(t, n, "accept").OK {
		t.Errorf("a node that the cache serves is not ready: %+v", n.Status().Checks)
	}
	if !taken(n, text) {
		t.Error("the cached key is refused")
	}
	server.Restart()
	nodetest.Eventually(t, soon, func() bool { return check(t, n, "keys").OK }, "in order again")
}

// TestStartWarnsOfNothingThatIsFalse: neither a fresh node nor a restarted one says of its keys what is over 10 ms later.
func TestStartWarnsOfNothingThatIsFalse(t *testing.T) {
	server := nodetest.StartPostgres(t)
	createKey(t, server.DSN())
	c, _ := postgresConfig(t, server.DSN())
	for range 2 {
		var log lines
		n := nodetest.RunWith(t, c, node.Options{Version: "test", Logger: slog.New(slog.NewTextHandler(&log, nil))})
		nodetest.Eventually(t, soon, func() bool { return check(t, n, "keys").OK && check(t, n, "accept").OK }, "the keys are in order")
		n.Stop()
		for line := range strings.Lines(log.String()) {
			if strings.Contains(line, "in order") && (strings.Contains(line, "keys") || strings.Contains(line, "accept")) {
				t.Errorf("said of keys at a start where all is well: %s", line)
			}
		}
	}
}

// TestSourceThatAnswersWithNoKeysIsToldApart from one that was never read.
func TestSourceThatAnswersWithNoKeysIsToldApart(t *testing.T) {
	server := nodetest.StartPostgres(t)
	_, key := createKey(t, server.DSN())
	c, _ := postgresConfig(t, server.DSN())
	store, err := postgres.OpenStore(t.Context(), server.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close(context.Background())
	if _, err := store.Revoke(t.Context(), key.ID); err != nil {
		t.Fatal(err)
	}
	n := nodetest.Run(t, c)
	nodetest.Eventually(t, soon, func() bool {
		return strings.Contains(check(t, n, "accept").Reason, "all 1 keys are revoked or expired")
	}, "no key in force is told")
	if !ready(t, n) || !check(t, n, "keys").OK || n.Metrics()["forebay_keys_in_force"] != 0 {
		t.Errorf("ready %v, keys %+v", ready(t, n), check(t, n, "keys"))
	}
}

// TestEmptiedKeyFileIsNotBelieved, loudly, over a restart too, until an operator accepts it.
func TestEmptiedKeyFileIsNotBelieved(t *testing.T) {
	c := nodetest.Config(t)
	key := nodetest.Key(t, c)
	n := nodetest.Run(t, c)
	accepted := func() bool { return taken(n, key) }
	if !accepted() {
		t.Fatal("the key is refused")
	}
	if _, err := n.Admin.AcceptKeys(t.Context(), admin.Command{}); err == nil {
		t.Error("a loss was accepted while there is none")
	}
	writeFile(t, c.Keys.File.Path, "")
	for range 2 {
		nodetest.Eventually(t, soon, func() bool { return strings.Contains(check(t, n, "keys").Reason, "lost 1 of 1 keys") }, "the loss is told")
		s := n.Status()
		if !accepted() || !ready(t, n) || s.Keys.Doubt == nil || n.Metrics()["forebay_keys_doubted"] != 1 || !strings.Contains(check(t, n, "keys").Remedy, "forebay keys accept") {
			t.Errorf("amid the doubt: accepted %v, ready %v, %+v", accepted(), ready(t, n), s.Keys)
		}
		n.Stop()
		n = nodetest.Run(t, c)
	}
	d, err := n.Admin.AcceptKeys(t.Context(), admin.Command{By: "ann", Why: "given up"})
	if err != nil || d.Lost != 1 || accepted() {
		t.Errorf("after accept: %+v, %v, accepted %v", d, err, accepted())
	}
	nodetest.Eventually(t, soon, func() bool { return slices.Contains(verbs(t, n), "accept loss of keys") && len(verbs(t, n)) == 3 }, "it is in the trail: %v", verbs(t, n))
}

// TestDenialNeedsNoSource: a key is denied while PostgreSQL is away, at once and over a restart, stays denied while the
// source lists it as valid, and the denial ends when the source says that the key is revoked. The trail has it all.
func TestDenialNeedsNoSource(t *testing.T) {
	server := nodetest.StartPostgres(t)
	text, key := createKey(t, server.DSN())
	other, _ := createKey(t, server.DSN())
	c, _ := postgresConfig(t, server.DSN())
	n := nodetest.Run(t, c)
	nodetest.Eventually(t, soon, func() bool { return taken(n, text) && taken(n, other) }, "both keys are taken")
	nodetest.Eventually(t, soon, func() bool { return check(t, n, "keys").OK }, "keys are in order")
	server.Kill()
	for name, ref := range map[string]string{"unknown": "0123456789ab", "short": "12", "none": ""} {
		if _, err := n.Admin.DenyKey(t.Context(), admin.KeyRequest{Key: ref}); err == nil {
			t.Errorf("%s: denied", name)
		}
	}
	k, err := n.Admin.DenyKey(t.Context(), admin.KeyRequest{Command: admin.Command{By: "ann", Why: "leaked"}, Key: key.ID})
	if err != nil || k.State != "denied" || k.Project != "shop" || k.Denied.By != "ann" {
		t.Fatalf("deny = %+v, %v", k, err)
	}
	if taken(n, text) || !taken(n, other) {
		t.Error("the denied key is taken, or the other is not")
	}
	// All digits name a key that the node does not know.
	unknown := strings.Repeat("ab", 32)
	if _, err := n.Admin.DenyKey(t.Context(), admin.KeyRequest{Key: unknown}); err != nil {
		t.Error(err)
	}
	n.Stop()
	n = nodetest.Run(t, c)
	if taken(n, text) || !taken(n, other) {
		t.Error("after a restart the denied key is taken, or the other is not")
	}
	server.Restart()
	nodetest.Eventually(t, soon, func() bool { return n.Status().Keys.Answered }, "the source answers")
	if taken(n, text) || n.Status().Keys.Denied != 2 {
		t.Error("the denial went since the source lists the key as valid")
	}
	n.Stop()

	stopped, err := node.OpenStopped(c, "test") // and on a node that is stopped
	if err != nil {
		t.Fatal(err)
	}
	client := admin.InProcess(stopped.Handler())
	var denied []string
	if err := client.KnownKeys(t.Context(), true, func(k admin.KnownKey) error { denied = append(denied, k.ID); return nil }); err != nil || len(denied) != 2 {
		t.Errorf("denied on the stopped node: %v, %v", denied, err)
	}
	if s, err := client.Status(t.Context()); err != nil || s.Keys.Count != 2 || s.Keys.Denied != 2 {
		t.Errorf("status of the stopped node: %+v, %v", s.Keys, err)
	}
	if k, err := client.AllowKey(t.Context(), admin.KeyRequest{Key: unknown[:12]}); err != nil || k.State != "unknown" {
		t.Errorf("allow = %+v, %v", k, err)
	}
	if err := stopped.Close(); err != nil {
		t.Fatal(err)
	}

	n = nodetest.Run(t, c)
	store, err := postgres.OpenStore(t.Context(), server.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close(context.Background())
	if _, err := store.Revoke(t.Context(), key.ID); err != nil {
		t.Fatal(err)
	}
	nodetest.Eventually(t, soon, func() bool { return n.Status().Keys.Denied == 0 }, "the denial ends with the source's revocation")
	if taken(n, text) {
		t.Error("the revoked key is taken")
	}
	want := []string{"deny key", "deny key", "allow key", "keys", "allow key"}
	nodetest.Eventually(t, soon, func() bool { return len(verbs(t, n)) == len(want) }, "the trail is complete: %v", verbs(t, n))
	for _, e := range trail(t, n) {
		if text := string(e.After); e.Verb == "keys" && (!strings.Contains(text, fmt.Sprintf(`"revoked":{"count":1,"ids":[%q]}`, key.ID)) || !strings.Contains(e.By, "postgres")) {
			t.Errorf("the entry about the revocation: %s %s", e.By, text)
		}
	}
}

// TestKeyChangesAreInTheTrail: what the node sees change, in the file as in PostgreSQL, while it ran and while it did not.
func TestKeyChangesAreInTheTrail(t *testing.T) {
	c := nodetest.Config(t)
	nodetest.Key(t, c)
	n := nodetest.Run(t, c)
	if got := verbs(t, n); len(got) != 0 {
		t.Errorf("the first set is told as a change: %v", got)
	}
	nodetest.Key(t, c)
	nodetest.Eventually(t, soon, func() bool { return len(verbs(t, n)) == 1 }, "a new key is in the trail")
	n.Stop()
	keys, err := file.NewStore(c.Keys.File.Path).List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.NewStore(c.Keys.File.Path).Revoke(t.Context(), keys[0].ID); err != nil {
		t.Fatal(err)
	}
	n = nodetest.Run(t, c)
	nodetest.Eventually(t, soon, func() bool { return len(verbs(t, n)) == 2 }, "what changed while the node was stopped is in the trail")
	var change auth.Change
	entries := trail(t, n)
	if err := json.Unmarshal(entries[len(entries)-1].After, &change); err != nil || change.Revoked.Count != 1 || change.Revoked.IDs[0] != keys[0].ID || change.Added.Count != 0 {
		t.Errorf("change %+v, %v", change, err)
	}
}
