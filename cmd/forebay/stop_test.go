package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"forebay/node/nodetest"
)

// halfSent is a request whose handler waits for the second half of its body.
type halfSent struct {
	conn net.Conn
	in   *bufio.Reader
	rest string
}

// sendHalf returns once the node has begun to read the body.
func sendHalf(t *testing.T, p *process, body string) halfSent {
	t.Helper()
	conn, err := net.Dial("tcp", p.ingest)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(waitLimit)); err != nil {
		t.Fatal(err)
	}
	h := halfSent{conn: conn, in: bufio.NewReader(conn), rest: body[len(body)/2:]}
	fmt.Fprintf(conn, "POST /v1/events HTTP/1.1\r\nHost: %s\r\nX-API-Key: %s\r\nX-Session-Id: s1\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n",
		p.ingest, p.key, len(body))
	if line, err := h.in.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("the node answers %q: %v", line, err)
	}
	if _, err := h.in.ReadString('\n'); err != nil { // the empty line behind it
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, body[:len(body)/2]); err != nil {
		t.Fatal(err)
	}
	return h
}

// TestStopAmidBodies: a stop waits for bodies that come, cuts off the one that
// does not, and is no failure for that.
func TestStopAmidBodies(t *testing.T) {
	t.Parallel() // it waits as long as a stop may
	p := newProcess(t, "shippers: {clickhouse: {enabled: false}, session: {enabled: false}, archive: {enabled: true}}\n")
	p.start()
	body := fmt.Sprintf(`{"events":[{"eventType":"click","timestamp":%q,"sessionId":"s1","route":"/","target":{"type":"page"}}]}`, now())
	slow, stuck := sendHalf(t, p, body), sendHalf(t, p, body)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	nodetest.Eventually(t, waitLimit, func() bool { return strings.Contains(p.log(), "node stops") }, "the node stops")
	if _, err := io.WriteString(slow.conn, slow.rest); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(slow.in, nil)
	if err != nil {
		t.Fatal("a body that came during the stop is not answered: ", err)
	}
	if err := res.Body.Close(); err != nil || res.StatusCode/100 != 2 {
		t.Fatal("a body that came during the stop is answered ", res.Status, err)
	}
	select {
	case <-p.exited:
	case <-time.After(waitLimit):
		t.Fatal("the node did not end\n", p.log())
	}
	if p.ended != nil {
		t.Errorf("the node ended with %v\n%s", p.ended, p.log())
	}
	if text, err := io.ReadAll(stuck.in); len(text) > 0 {
		t.Errorf("the body that never was whole is answered %q, %v", text, err)
	}
	if !strings.Contains(p.log(), "cut off unanswered") {
		t.Error("the log does not tell of the request that was cut off\n", p.log())
	}
	p.start()
	if s := p.settled(); s.Log.DurableSeq != 1 || !s.Ledger.Balanced {
		t.Errorf("after the stop the log ends at %d, balanced %v", s.Log.DurableSeq, s.Ledger.Balanced)
	}
	p.stop()
}
