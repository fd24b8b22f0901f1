package nodetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"forebay/node"
	"forebay/node/admin"
	"forebay/node/config"
	"forebay/router/auth"
	"forebay/router/auth/file"
)

// Node is a whole node that runs in the test's process.
type Node struct {
	TB    testing.TB
	Admin *admin.Client
	URL   string // of the front door

	AdminURL string

	stop func() error
}

// Config is a small node in a temporary folder: a key file, free ports, and
// no shipper but the archive. A test changes what it is about.
func Config(tb testing.TB) config.Config {
	tb.Helper()
	dir := tb.TempDir()
	c := config.Dev(dir)
	c.Node.ID = "test"
	c.Ingest.Listen, c.Admin.Listen = "127.0.0.1:0", "127.0.0.1:0"
	c.Keys.File.Path = filepath.Join(dir, "keys.yaml")
	c.Shippers.Session.Enabled = false
	c.Shippers.Archive.Flush.Age = 10 * time.Millisecond
	c.WAL.SegmentBytes = 64 << 10
	return c
}

// Key adds a strict key without a limit worth the name to the configuration's
// key file and returns it.
func Key(tb testing.TB, c config.Config) string {
	tb.Helper()
	text, digest := auth.Generate()
	key := auth.Key{ID: digest.ID(), Digest: digest, Project: "shop", Strict: true, RequestsPerSecond: 1e6, Burst: 1e6}
	if err := file.NewStore(c.Keys.File.Path).Create(context.Background(), key); err != nil {
		tb.Fatal(err)
	}
	return text
}

// Run opens and runs a node until Stop or the end of the test.
func Run(tb testing.TB, c config.Config) *Node {
	tb.Helper()
	return RunBuilt(tb, c, time.Time{})
}

// RunBuilt is Run of a program that was built at a certain time.
func RunBuilt(tb testing.TB, c config.Config, built time.Time) *Node {
	tb.Helper()
	return RunWith(tb, c, node.Options{Version: "test", Built: built})
}

// RunWith is Run with options.
func RunWith(tb testing.TB, c config.Config, o node.Options) *Node {
	tb.Helper()
	n, err := node.Open(c, o)
	if err != nil {
		tb.Fatalf("open the node: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	r := &Node{TB: tb, Admin: admin.NewClient(n.AdminAddr().String(), ""), URL: "http://" + n.IngestAddr().String(), AdminURL: "http://" + n.AdminAddr().String()}
	r.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	tb.Cleanup(r.Stop)
	return r
}

// Stop ends the node as SIGTERM does, and fails the test if that goes wrong.
func (n *Node) Stop() {
	n.TB.Helper()
	if err := n.stop(); err != nil {
		n.TB.Errorf("stop the node: %v", err)
	}
}

// Status is the node's status.
func (n *Node) Status() admin.Status {
	n.TB.Helper()
	s, err := n.Admin.Status(context.Background())
	if err != nil {
		n.TB.Fatal(err)
	}
	return s
}

// label is one label of a metric.
var label = regexp.MustCompile(`[a-z_]+="(?:[^"\\]|\\.)*"`)

// Metrics are the node's metrics by name and labels, such as
// `forebay_check_ok{check="accept"}`. The labels that all of them have, node
// and log_id, are left out.
func (n *Node) Metrics() map[string]float64 {
	n.TB.Helper()
	res, err := http.Get(n.AdminURL + "/metrics")
	if err != nil {
		n.TB.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		n.TB.Fatalf("/metrics: %s: %v\n%s", res.Status, err, text)
	}
	all := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		at := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(strings.TrimSpace(line[at+1:]), 64)
		if strings.HasPrefix(line, "#") || err != nil {
			continue
		}
		name, labels, _ := strings.Cut(line[:at], "{")
		own := slices.DeleteFunc(label.FindAllString(labels, -1), func(l string) bool {
			return strings.HasPrefix(l, "node=") || strings.HasPrefix(l, "log_id=")
		})
		if len(own) > 0 {
			name += "{" + strings.Join(own, ",") + "}"
		}
		all[name] = value
	}
	return all
}

// Event is one valid event; extra goes into it as it is, such as
// `,"idempotencyKey":"k"`.
func Event(session, extra string) string {
	return fmt.Sprintf(`{"eventType":"click","timestamp":%q,"sessionId":%q,"route":"/","target":{"type":"page"}%s}`,
		time.Now().UTC().Format(time.RFC3339Nano), session, extra)
}

// Post sends events under a key and returns the status and the body.
func (n *Node) Post(key string, events ...string) (status int, body string) {
	n.TB.Helper()
	text := `{"events":[`
	for i, e := range events {
		if i > 0 {
			text += ","
		}
		text += e
	}
	req, err := http.NewRequest(http.MethodPost, n.URL+"/v1/events", bytes.NewReader([]byte(text+"]}")))
	if err != nil {
		n.TB.Fatal(err)
	}
	req.Header.Set("X-API-Key", key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		n.TB.Fatal(err)
	}
	defer res.Body.Close()
	reply, err := io.ReadAll(res.Body)
	if err != nil {
		n.TB.Fatal(err)
	}
	return res.StatusCode, string(reply)
}
