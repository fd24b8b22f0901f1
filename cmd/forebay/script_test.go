package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"forebay/cmd/internal/sample"
	"forebay/node/admin"
	"forebay/shipper/clickhouse/clickhousetest"
	"forebay/shipper/session/receiver"
)

// startNodeCmd writes forebay.yaml for a node with a file key, an archive and a
// Session Manager, unless the script has one, and runs it in the background.
// It sets $INGEST, $ADMIN, $KEY and FOREBAY_ADMIN.
func startNodeCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: startnode")
	}
	if ts.Getenv("INGEST") == "" {
		prepareNode(ts)
	}
	cmd := exec.Command("forebay", "run", "--config", ts.MkAbs("forebay.yaml"))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	ts.Check(cmd.Start())
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	stop := func() error {
		_ = cmd.Process.Signal(syscall.SIGTERM) // gone already: exited tells
		select {
		case err := <-exited:
			exited <- err
			return err
		case <-time.After(waitLimit):
			return cmd.Process.Kill()
		}
	}
	ts.Defer(func() { _ = stop() })
	started := ts.Value(startedKey).(*started)
	started.process, started.stop = cmd.Process, stop
	client := admin.NewClient(ts.Getenv("ADMIN"), "")
	waitUntil(ts, func() error {
		s, err := client.Status(context.Background())
		if err == nil && !s.Accepting {
			err = fmt.Errorf("not accepting: %+v\n%s", s.Checks, out.String())
		}
		return err
	})
}

// started is the node that a script started. Scripts run in parallel, each
// with its own.
type started struct {
	process *os.Process
	stop    func() error
}

const startedKey = "started"

func stopNodeCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: stopnode")
	}
	ts.Check(ts.Value(startedKey).(*started).stop())
}

func hupNodeCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: hupnode")
	}
	ts.Check(ts.Value(startedKey).(*started).process.Signal(syscall.SIGHUP))
}

// waitForCmd runs a command until its output matches: waitfor REGEXP COMMAND.
func waitForCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: waitfor REGEXP COMMAND...")
	}
	pattern, err := regexp.Compile(args[0])
	ts.Check(err)
	waitUntil(ts, func() error {
		cmd := exec.Command(args[1], args[2:]...)
		cmd.Dir, cmd.Env = ts.MkAbs("."), append(os.Environ(), "FOREBAY_ADMIN="+ts.Getenv("ADMIN"))
		out, err := cmd.CombinedOutput()
		if err == nil && !pattern.Match(out) {
			err = fmt.Errorf("%q does not match %s", out, pattern)
		}
		return err
	})
}

func prepareNode(ts *testscript.TestScript) {
	addr := func() string {
		port, err := clickhousetest.FreePort()
		ts.Check(err)
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	r, err := receiver.New(receiver.Options{})
	ts.Check(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	server := &http.Server{Handler: r, ReadHeaderTimeout: waitLimit}
	go func() { _ = server.Serve(l) }() // ends with Close
	ts.Defer(func() { _ = server.Close() })

	ts.Setenv("INGEST", addr())
	ts.Setenv("ADMIN", addr())
	ts.Setenv("FOREBAY_ADMIN", ts.Getenv("ADMIN"))
	ts.Setenv("SESSION", l.Addr().String())
	keys := ts.MkAbs("keys.yaml")
	create := exec.Command("forebay", "keys", "create", "--file", keys, "--project", "shop", "--strict")
	key, err := create.Output()
	ts.Check(err)
	ts.Setenv("KEY", strings.TrimSpace(string(key)))
	text := fmt.Sprintf(`node: {id: script, data_dir: %q}
ingest: {listen: %q}
admin: {listen: %q}
keys: {source: file, file: {path: %q}}
shippers:
  clickhouse: {enabled: false}
  session: {url: "http://%s"}
  archive: {enabled: true, dir: %q, flush: {age: 50ms}}
`, ts.MkAbs("data"), ts.Getenv("INGEST"), ts.Getenv("ADMIN"), keys, l.Addr(), ts.MkAbs("archive"))
	if _, err := os.Stat(ts.MkAbs("extra.yaml")); err == nil {
		text += ts.ReadFile("extra.yaml")
	}
	ts.Check(os.WriteFile(ts.MkAbs("forebay.yaml"), []byte(text), 0o600))
}

// postCmd posts N sample events, ten at a time; they are accepted, or each
// request is answered with STATUS: post N [STATUS].
func postCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: post N [STATUS]")
	}
	want := http.StatusOK
	if len(args) == 2 {
		var err error
		want, err = strconv.Atoi(args[1])
		ts.Check(err)
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	g := sample.New(uint64(time.Now().UnixNano()), 5)
	for i := 0; n > 0; i++ {
		size := min(n, 10)
		postBody(ts, "/v1/events", g.Batch(i%5, size).Body, want)
		n -= size
	}
}

// refusedCmd posts N requests with a wrong key, and N whose event is dropped:
// refused N.
func refusedCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: refused N")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	for range n {
		for _, key := range []string{ts.Getenv("KEY"), "fbk_SECRETSECRETSECRET"} {
			ts.Check(postPersonal("http://"+ts.Getenv("INGEST"), key))
		}
	}
}

// postPersonal posts one event that holds personal data.
func postPersonal(url, key string) error {
	body := fmt.Sprintf(`{"sdk_version":"2.0.0","app_id":"the shop","events":[{"eventType":"click","timestamp":%q,"sessionId":"s","route":"/",`+
		`"target":{"type":"page"},"metadata":{"email":"ann@example.com"}}]}`, now())
	req, err := http.NewRequest(http.MethodPost, url+"/v1/events", strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("X-API-Key", key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// postFileCmd posts one event: postfile FILE.
func postFileCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: postfile FILE")
	}
	postBody(ts, "/v1/event", []byte(ts.ReadFile(args[0])), http.StatusOK)
}

func postBody(ts *testscript.TestScript, path string, body []byte, want int) {
	req, err := http.NewRequest(http.MethodPost, "http://"+ts.Getenv("INGEST")+path, bytes.NewReader(body))
	ts.Check(err)
	req.Header.Set("X-API-Key", ts.Getenv("KEY"))
	res, err := http.DefaultClient.Do(req)
	ts.Check(err)
	text, err := io.ReadAll(res.Body)
	ts.Check(err)
	ts.Check(res.Body.Close())
	if res.StatusCode != want {
		ts.Fatalf("post: %s: %s", res.Status, text)
	}
}

// settledCmd waits until no running cursor is behind.
func settledCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: settled")
	}
	client := admin.NewClient(ts.Getenv("ADMIN"), "")
	waitUntil(ts, func() error {
		s, err := client.Status(context.Background())
		if err != nil {
			return err
		}
		for _, c := range s.Cursors {
			if c.NextSeq <= s.Log.DurableSeq {
				return fmt.Errorf("cursor %s stands at %d of %d: %s", c.Name, c.NextSeq, s.Log.DurableSeq, c.LastError)
			}
		}
		return nil
	})
}

// replayedCmd waits until a replay is in a state: replayed NAME STATE.
func replayedCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: replayed NAME STATE")
	}
	client := admin.NewClient(ts.Getenv("ADMIN"), "")
	waitUntil(ts, func() error {
		r, err := client.Replay(context.Background(), args[0])
		if err == nil && r.State != args[1] {
			err = fmt.Errorf("it is %+v", r)
		}
		return err
	})
}

func waitUntil(ts *testscript.TestScript, try func() error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(waitLimit); ; <-tick.C {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("waited %s in vain: %v", waitLimit, err)
		}
	}
}
