package routertest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// patience is how long a test waits for a reply before it fails.
const patience = 20 * time.Second

// Exchange is what a sender sees of a request: every byte of the reply, and
// whether the connection can be used again.
type Exchange struct {
	Reply  string // the value of Date is blanked
	Status int
	Header http.Header
	Body   string
	Open   bool // a further request on the connection was answered
}

var date = regexp.MustCompile(`(?m)^Date: .*\r$`)

// Send writes request to a new connection to addr, byte for byte, and reads the
// reply. Then it tries the connection with another request.
func Send(t testing.TB, addr, request string) Exchange {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return SendOn(t, conn, request)
}

// SendAll writes request to a new connection to addr, byte for byte, says that
// nothing more will come, and returns all that is answered until the connection
// ends; the values of Date are blanked.
func SendAll(t testing.TB, addr, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(conn, request)
	if err == nil {
		err = conn.(*net.TCPConn).CloseWrite()
	}
	if err != nil {
		t.Fatal(err)
	}
	replies, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("replies to %.200q: %v", request, err)
	}
	return date.ReplaceAllString(string(replies), "Date: (blanked)\r")
}

// SendExpecting is Send of a request whose header asks for leave to send the
// body: the body is sent once leave is given.
func SendExpecting(t testing.TB, addr, request string) Exchange {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	end := strings.Index(request, "\r\n\r\n") + 4
	if _, err := io.WriteString(conn, request[:end]); err != nil {
		t.Fatal(err)
	}
	const leave = "HTTP/1.1 100 Continue\r\n\r\n"
	given := make([]byte, len(leave))
	if _, err := io.ReadFull(conn, given); err != nil || string(given) != leave {
		t.Fatalf("instead of leave to send: %q, %v", given, err)
	}
	return SendOn(t, conn, request[end:])
}

// SendOn is Send on a connection that is there. The connection is used up.
func SendOn(t testing.TB, conn net.Conn, request string) Exchange {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	// The reply may come, and the connection close, before all is written: what
	// was answered then counts.
	_, _ = io.WriteString(conn, request)
	var raw bytes.Buffer
	reader := bufio.NewReader(io.TeeReader(conn, &raw))
	response, err := http.ReadResponse(reader, &http.Request{Method: http.MethodPost})
	for err == nil && response.StatusCode == http.StatusContinue {
		response, err = http.ReadResponse(reader, &http.Request{Method: http.MethodPost})
	}
	if err != nil {
		t.Fatalf("no reply to %.200q: %v", request, err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("reply to %.200q: %v", request, err)
	}
	exchange := Exchange{
		Reply:  date.ReplaceAllString(raw.String(), "Date: (blanked)\r"),
		Status: response.StatusCode, Header: response.Header, Body: string(body),
	}
	_, _ = io.WriteString(conn, "GET /nowhere HTTP/1.1\r\nHost: test\r\n\r\n")
	again, err := http.ReadResponse(reader, nil)
	exchange.Open = err == nil && again.StatusCode == http.StatusNotFound
	return exchange
}

// Diff tells how two exchanges differ, or returns "".
func (e Exchange) Diff(other Exchange) string {
	if e.Reply != other.Reply {
		return fmt.Sprintf("replies differ:\n%q\n%q", e.Reply, other.Reply)
	}
	if e.Open != other.Open {
		return fmt.Sprintf("one connection stays open, the other does not: %v, %v", e.Open, other.Open)
	}
	return ""
}

// Post writes the bytes of a POST request. Headers are lines such as
// "X-API-Key: abc".
func Post(path, body string, headers ...string) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n", path, len(body))
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	return b.String() + "\r\n" + body
}
