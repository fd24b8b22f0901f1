package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"forebay/node/admin"
	"forebay/node/nodetest"
)

// waitLimit is how long a broken program is given.
const waitLimit = 60 * time.Second

// process is a node that runs as a process of its own, so that it can be
// killed. Its addresses stay the same over restarts.
type process struct {
	tb     testing.TB
	dir    string
	config string
	ingest string
	key    string // strict

	adminAddr string
	admin     *admin.Client

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{} // closed once it has ended
	ended  error         // how, then
	output bytes.Buffer
}

// newProcess writes a configuration: extra is YAML for shippers and what else
// differs from a small, file-keyed node.
func newProcess(tb testing.TB, extra string) *process {
	tb.Helper()
	dir := tb.TempDir()
	adminAddr := nodetest.FreeAddr(tb)
	p := &process{tb: tb, dir: dir, config: filepath.Join(dir, "forebay.yaml"), ingest: nodetest.FreeAddr(tb), adminAddr: adminAddr, admin: admin.NewClient(adminAddr, "")}
	keys := filepath.Join(dir, "keys.yaml")
	p.key = p.forebay("keys", "create", "--file", keys, "--project", "shop", "--strict", "--rate", "1000000", "--burst", "1000000")
	text := fmt.Sprintf(`node: {id: crash, data_dir: %q}
ingest: {listen: %q}
admin: {listen: %q}
keys: {source: file, file: {path: %q}}
wal: {segment_bytes: 64KiB}
%s`, filepath.Join(dir, "data"), p.ingest, adminAddr, keys, extra)
	if err := os.WriteFile(p.config, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.kill)
	return p
}

// forebay runs a command to its end and returns what it printed.
func (p *process) forebay(args ...string) string {
	p.tb.Helper()
	var errOut strings.Builder
	cmd := exec.Command("forebay", args...)
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		p.tb.Fatalf("forebay %s: %v\n%s", strings.Join(args, " "), err, errOut.String())
	}
	return strings.TrimSpace(string(out))
}

// start runs the node and returns once it accepts.
func (p *process) start() {
	p.tb.Helper()
	cmd := exec.Command("forebay", "run", "--config", p.config)
	out := lockedWriter{p}
	cmd.Stdout, cmd.Stderr = out, out
	p.startCmd(cmd)
}

// startCmd starts the node by a command and returns once it accepts.
func (p *process) startCmd(cmd *exec.Cmd) {
	p.tb.Helper()
	if err := cmd.Start(); err != nil {
		p.tb.Fatal(err)
	}
	exited := make(chan struct{})
	p.cmd, p.exited = cmd, exited
	go func() {
		defer close(exited)
		p.ended = cmd.Wait()
	}()
	nodetest.Eventually(p.tb, waitLimit, func() bool {
		select {
		case <-exited:
			p.tb.Fatalf("the node ended at its start: %v\n%s", p.ended, p.log())
		default:
		}
		s, err := p.admin.Status(context.Background())
		return err == nil && s.Accepting
	}, "the node accepts")
}

// kill ends the node as a power cut of the process would.
func (p *process) kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill() // it may be gone already
		<-p.exited
		p.cmd = nil
	}
}

// stop ends the node in order, and fails the test if it does not end well.
func (p *process) stop() {
	p.tb.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.tb.Fatal(err)
	}
	<-p.exited
	if p.ended != nil {
		p.tb.Fatalf("the node did not stop well: %v\n%s", p.ended, p.log())
	}
	p.cmd = nil
}

func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

type lockedWriter struct{ p *process }

func (w lockedWriter) Write(b []byte) (int, error) {
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	return w.p.output.Write(b)
}

// strictReply is what a strict key is told.
type strictReply struct {
	Accepted int    `json:"accepted"`
	FirstSeq uint64 `json:"first_seq"`
	Events   []struct {
		Seq     uint64 `json:"seq"`
		Dropped string `json:"dropped"`
	} `json:"events"`
}

// errTryAgain marks an answer that says to come back.
var errTryAgain = errors.New("try again")

// post sends one body and returns the receipt.
func (p *process) post(client *http.Client, body []byte) (strictReply, error) {
	var r strictReply
	req, err := http.NewRequest(http.MethodPost, "http://"+p.ingest+"/v1/events", bytes.NewReader(body))
	if err != nil {
		return r, err
	}
	req.Header.Set("X-API-Key", p.key)
	res, err := client.Do(req)
	if err != nil {
		return r, fmt.Errorf("%w: %w", errTryAgain, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode == http.StatusServiceUnavailable {
		return r, fmt.Errorf("%w: %s: %w", errTryAgain, res.Status, err)
	}
	if res.StatusCode != http.StatusOK {
		return r, fmt.Errorf("%s: %s", res.Status, text)
	}
	return r, json.Unmarshal(text, &r)
}

// settled waits until no cursor is behind the log.
func (p *process) settled() admin.Status {
	p.tb.Helper()
	var s admin.Status
	nodetest.Eventually(p.tb, waitLimit, func() bool {
		var err error
		if s, err = p.admin.Status(context.Background()); err != nil {
			return false
		}
		for _, c := range s.Cursors {
			if c.NextSeq <= s.Log.DurableSeq {
				return false
			}
		}
		return true
	}, "every cursor has come to the log's end; the node said:\n%s", p.log())
	return s
}

// now is a timestamp for an event.
func now() string { return time.Now().UTC().Format(time.RFC3339Nano) }
