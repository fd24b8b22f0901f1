package node_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"forebay/node"
	"forebay/node/admin"
	"forebay/node/config"
	"forebay/node/nodetest"
)

// TestAdminTokenIsReadAgain: a token that is replaced is in force within seconds,
// also towards the other nodes, and the one before no longer; a file that cannot be
// used leaves the last good one in force, and is told.
func TestAdminTokenIsReadAgain(t *testing.T) {
	tokens := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(tokens+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tokens+".new", tokens); err != nil {
			t.Fatal(err)
		}
	}
	write("first\n")
	other := nodetest.Config(t)
	nodetest.Key(t, other)
	other.Node.ID, other.Admin.TokenFile = "other", tokens
	second := nodetest.Run(t, other)
	c := nodetest.Config(t)
	nodetest.Key(t, c)
	c.Admin.TokenFile, c.Admin.Nodes = tokens, []string{second.AdminURL[len("http://"):]}
	n := nodetest.RunWith(t, c, node.Options{Load: func() (config.Config, error) { return c, nil }})
	clients := map[string]*admin.Client{} // one for each, since each keeps connections
	with := func(token string) *admin.Client {
		if clients[token] == nil {
			clients[token] = admin.NewClient(strings.TrimPrefix(n.AdminURL, "http://"), token)
		}
		return clients[token]
	}
	taken := func(token string) bool { _, err := with(token).Status(ctx); return err == nil }
	check := func(token string) (c admin.Check) {
		s, _ := with(token).Status(ctx)
		for _, c = range s.Checks {
			if c.Name == "token" {
				return c
			}
		}
		return admin.Check{}
	}
	if !taken("first") || !check("first").OK {
		t.Fatalf("the first token: %+v", check("first"))
	}
	write("second\n")
	nodetest.Eventually(t, 10*time.Second, func() bool { return taken("second") && !taken("first") }, "the new token is not in force")
	nodetest.Eventually(t, 10*time.Second, func() bool {
		rows, err := with("second").Fleet(ctx)
		return err == nil && len(rows) == 2 && rows[1].Status != nil
	}, "the other node is not asked with the new token")
	for _, broken := range []string{"", "\n", strings.Repeat("x", 70<<10)} {
		write(broken)
		nodetest.Eventually(t, 10*time.Second, func() bool { return strings.Contains(check("second").Reason, "stays in force") }, "a file of %d bytes is not told", len(broken))
		write("second\n")
		nodetest.Eventually(t, 10*time.Second, func() bool { return check("second").OK }, "a mended file is not taken")
	}

	// A reload takes it at once, and says so; without a change it says nothing.
	r, err := with("second").Reload(ctx, admin.Command{By: "ann"})
	if err != nil || len(r.Files) != 1 || r.Files[0].Field != "admin.token_file" || r.Files[0].Error != "" {
		t.Errorf("reload after a change: %+v, %v", r, err)
	}
	if r, err = with("second").Reload(ctx, admin.Command{By: "ann"}); err != nil || len(r.Files) != 0 {
		t.Errorf("reload without one: %+v, %v", r, err)
	}
	nodetest.Key(t, c)
	if r, err = with("second").Reload(ctx, admin.Command{By: "ann"}); err != nil || len(r.Files) != 1 || r.Files[0].Field != "keys.file.path" {
		t.Errorf("reload after another key: %+v, %v", r, err)
	}
	if err := os.Remove(tokens); err != nil {
		t.Fatal(err)
	}
	if r, err = with("second").Reload(ctx, admin.Command{By: "ann"}); err != nil || len(r.Files) != 1 || r.Files[0].Error == "" || !taken("second") {
		t.Errorf("reload without the file: %+v, %v", r, err)
	}
}
