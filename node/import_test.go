package node_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"forebay/node/admin"
	"forebay/node/nodetest"
	"forebay/shipper"
	"forebay/wal"
)

// upload begins a request to the admin API whose body is not there yet, and waits
// until the node reads it.
func upload(t *testing.T, addr, path string, length int) (*net.TCPConn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", path, length); err != nil {
		t.Fatal(err)
	}
	answer := bufio.NewReader(conn)
	if res, err := http.ReadResponse(answer, nil); err != nil || res.StatusCode != http.StatusContinue {
		t.Fatalf("%s: %+v, %v; want %d", path, res, err, http.StatusContinue)
	}
	return conn.(*net.TCPConn), answer
}

// TestImportTakesAllOrNothing: an upload of dead letters that is cut off, or longer
// than an import may be, is refused as a whole, even if it ends between two letters.
func TestImportTakesAllOrNothing(t *testing.T) {
	t.Parallel()
	const most = 64 << 20
	c := nodetest.Config(t)
	nodetest.Key(t, c)
	n := nodetest.Run(t, c)
	log, err := wal.ParseID(strings.Repeat("5a", 16))
	if err != nil {
		t.Fatal(err)
	}
	var letters [2]string
	for i := range letters {
		text, err := json.Marshal(shipper.DeadLetter{Seq: uint64(i + 1), LogID: log, Project: "shop", Session: "a", Raw: []byte(nodetest.Event("a", "")), Reason: "no such column"})
		if err != nil {
			t.Fatal(err)
		}
		letters[i] = string(text) + "\n"
	}
	whole := letters[0] + letters[1]
	ann := admin.Command{By: "ann", Why: "moved"}
	nothing := func(what string) {
		t.Helper()
		if err := n.Admin.Dead(ctx, "archive", nil, func(d shipper.DeadLetter) error { return fmt.Errorf("letter %d is there", d.Seq) }); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if err := n.Admin.AuditLog(ctx, func(e shipper.TrailEntry) error { return fmt.Errorf("the audit trail has %s", e.Verb) }); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, body := range map[string]string{
		"cut off in a letter": whole[:len(whole)-20],
		"longer than the limit, which is between two letters": letters[0] + strings.Repeat("\n", most-len(letters[0])) + letters[1],
	} {
		r, err := n.Admin.Import(ctx, "archive", ann, strings.NewReader(body))
		if err == nil || !strings.Contains(err.Error(), "letter 2 cannot be read") || !strings.Contains(err.Error(), fmt.Sprintf("at most %d bytes", most)) {
			t.Errorf("%s: %+v, %v", what, r, err)
		}
		nothing(what)
	}

	// The connection ends behind the first letter, before the length that was told.
	conn, answer := upload(t, strings.TrimPrefix(n.AdminURL, "http://"), "/admin/v1/cursors/archive/dead/import", len(whole))
	if _, err := io.WriteString(conn, letters[0]); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(answer, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusBadRequest || !strings.Contains(string(text), "letter 2 cannot be read") {
		t.Errorf("the connection is cut: %s %s, %v", res.Status, text, err)
	}
	nothing("the connection is cut")

	if r, err := n.Admin.Import(ctx, "archive", ann, strings.NewReader(whole)); err != nil || r.Letters != 2 {
		t.Errorf("whole: %+v, %v", r, err)
	}
}
