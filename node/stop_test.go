package node_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"forebay/node"
	"forebay/node/config"
	"forebay/node/nodetest"
)

const drainRequest = `{"by":"ann","why":"deploy"}`

// stopping runs a node, and returns its addresses, what stops it, and what Run
// returns then.
func stopping(t *testing.T, c config.Config) (ingest, operators string, stop func(), ended <-chan error) {
	t.Helper()
	n, err := node.Open(c, node.Options{Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	result := make(chan error, 1)
	go func() { result <- n.Run(running) }()
	return n.IngestAddr().String(), n.AdminAddr().String(), stop, result
}

// TestHangingAdminRequestDoesNotHoldTheStop: it is cut off after the time that the
// admin API has to stop.
func TestHangingAdminRequestDoesNotHoldTheStop(t *testing.T) {
	t.Parallel()
	c := nodetest.Config(t)
	nodetest.Key(t, c)
	_, operators, stop, ended := stopping(t, c)
	_, answer := upload(t, operators, "/admin/v1/drain", len(drainRequest))
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("stop the node: %v", err)
		}
	case <-time.After(limit):
		t.Fatal("the node waits for an operator's request that never ends")
	}
	if res, err := http.ReadResponse(answer, nil); err == nil {
		t.Errorf("the request that never came was answered: %s", res.Status)
	}
}

// TestAdminHasItsOwnTimeToStop: a front door that takes all of its time leaves the
// admin API enough to end what operators have begun.
func TestAdminHasItsOwnTimeToStop(t *testing.T) {
	t.Parallel()
	c := nodetest.Config(t)
	key := nodetest.Key(t, c)
	ingest, operators, stop, ended := stopping(t, c)
	hanging, err := net.Dial("tcp", ingest)
	if err != nil {
		t.Fatal(err)
	}
	defer hanging.Close()
	if _, err := io.WriteString(hanging, "POST /v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: "+key+"\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if res, err := http.ReadResponse(bufio.NewReader(hanging), nil); err != nil || res.StatusCode != http.StatusContinue {
		t.Fatalf("the front door: %+v, %v", res, err)
	}
	conn, answer := upload(t, operators, "/admin/v1/drain", len(drainRequest))
	stream, err := http.Get("http://" + operators + "/admin/v1/drops/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()

	stop()
	// Streams end when it is the turn of the admin API, and then it listens no more.
	if _, err := io.Copy(io.Discard, stream.Body); err != nil {
		t.Errorf("the stream was cut off: %v", err)
	}
	nodetest.Eventually(t, limit, func() bool {
		probe, err := net.Dial("tcp", operators)
		if err == nil {
			_ = probe.Close()
		}
		return err != nil
	}, "the admin API stops")
	if _, err := io.WriteString(conn, drainRequest); err != nil {
		t.Errorf("send the rest of the request: %v", err)
	}
	res, err := http.ReadResponse(answer, nil)
	if err != nil {
		t.Errorf("the operator's request was cut off: %v", err)
	} else if res.StatusCode != http.StatusOK {
		t.Errorf("the operator's request: %s", res.Status)
	}
	if err := <-ended; err != nil {
		t.Errorf("the stop: %v", err)
	}
	if text, err := io.ReadAll(hanging); len(text) > 0 {
		t.Errorf("the request that used up the front door's time is answered %q, %v", text, err)
	}
}
