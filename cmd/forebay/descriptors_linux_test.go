package main

import (
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"forebay/node/nodetest"
)

// TestFewDescriptors: strangers who take every connection that a low limit allows
// leave enough for the log, the state and the operator, who is told; each of the
// node's lines is its log's own form.
func TestFewDescriptors(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "shippers: {clickhouse: {enabled: false}, session: {enabled: false}, archive: {enabled: true, flush: {age: 20ms}}}\n")
	cmd := exec.Command("sh", "-c", `ulimit -S -n 64; ulimit -H -n 128; exec "$0" run --config "$1"`, "forebay", p.config)
	out := lockedWriter{p}
	cmd.Stdout, cmd.Stderr = out, out
	p.startCmd(cmd)
	if limit := p.metric("forebay_descriptors_limit"); limit != "128" {
		t.Errorf("the limit is %s: it was not raised", limit)
	}
	// The valid sender's connection is there first; strangers come then.
	body := func() []byte {
		return fmt.Appendf(nil, `{"events":[{"eventType":"click","timestamp":%q,"sessionId":"a","route":"/","target":{"type":"page"}}]}`, now())
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	if r, err := p.post(client, body()); err != nil || r.Accepted != 1 {
		t.Fatalf("got %+v, %v", r, err)
	}
	for range 200 {
		conn, err := net.Dial("tcp", p.ingest)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
	}
	nodetest.Eventually(t, waitLimit, func() bool {
		return strings.Contains(p.check("descriptors"), "connections that the front door may have")
	}, "the node says that the front door has no connection left")
	for range 20 { // some log files of 64 KiB are not needed for it: the state and the archive open files too
		if r, err := p.post(client, body()); err != nil || r.Accepted != 1 {
			t.Fatalf("beside the strangers: %+v, %v", r, err)
		}
	}
	p.settled()
	p.stop()
	for line := range strings.SplitSeq(strings.TrimSpace(p.log()), "\n") {
		if !strings.HasPrefix(line, "{") {
			t.Errorf("a line of another form: %s", line)
		}
	}
}
