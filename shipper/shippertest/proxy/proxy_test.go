package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server accepts connections, remembers all it received, and echoes it.
type server struct {
	listener net.Listener
	running  sync.WaitGroup
	mutex    sync.Mutex
	received bytes.Buffer
}

func startServer(t *testing.T) *server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{listener: listener}
	s.running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.running.Go(func() {
				defer conn.Close()
				_, _ = io.Copy(io.MultiWriter(s, conn), conn)
			})
		}
	})
	t.Cleanup(s.finish)
	return s
}

// finish takes no more connections and waits until those there are have ended and are read to the end.
func (s *server) finish() {
	s.listener.Close()
	s.running.Wait()
}

func (s *server) Write(data []byte) (int, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.received.Write(data)
}

func (s *server) text() string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.received.String()
}

func start(t *testing.T) (*server, *Proxy) {
	s := startServer(t)
	return s, Start(t, s.listener.Addr().String())
}

func dial(t *testing.T, p *Proxy) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != text {
		t.Fatalf("read %q, %v; want %q", got, err, text)
	}
}

// expectEnd reads until the connection ends, which must not be by the test's own deadline, and returns what came.
func expectEnd(t *testing.T, conn net.Conn) string {
	t.Helper()
	got, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the connection is still open")
	}
	return string(got)
}

func TestForward(t *testing.T) {
	s, p := start(t)
	conn := dial(t, p)
	send(t, conn, "hello")
	expect(t, conn, "hello")
	if p.Connections() != 1 || p.Sent() != 5 || p.Received() != 5 {
		t.Errorf("%d connections, %d bytes sent, %d received; want 1, 5, 5", p.Connections(), p.Sent(), p.Received())
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest := expectEnd(t, conn); rest != "" || s.text() != "hello" {
		t.Errorf("after the end came %q, the server has %q", rest, s.text())
	}
}

func TestCutAndDown(t *testing.T) {
	_, p := start(t)
	conn := dial(t, p)
	send(t, conn, "a")
	expect(t, conn, "a")
	p.Cut()
	expectEnd(t, conn)

	conn = dial(t, p)
	send(t, conn, "b")
	expect(t, conn, "b")
	p.Down()
	expectEnd(t, conn)
	expectEnd(t, dial(t, p))
	p.Up()
	conn = dial(t, p)
	send(t, conn, "c")
	expect(t, conn, "c")
}

func TestPause(t *testing.T) {
	s, p := start(t)
	conn := dial(t, p)
	send(t, conn, "a")
	expect(t, conn, "a")
	p.Pause()
	send(t, conn, "b")
	if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || s.text() != "a" {
		t.Fatalf("a paused proxy: read gives %v, the server has %q", err, s.text())
	}
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	p.Resume()
	expect(t, conn, "b")
	p.Pause() // the end of the test must not hang on what is held back
	send(t, conn, "c")
}

// TestCutAfterSent cuts at every byte of a message: the server has exactly what came before, and the next connection
// works.
func TestCutAfterSent(t *testing.T) {
	const message = "0123456789"
	for n := range len(message) + 1 {
		s, p := start(t)
		conn := dial(t, p)
		reached := p.CutAfterSent(int64(n))
		send(t, conn, message)
		<-reached
		expectEnd(t, conn)
		conn = dial(t, p)
		send(t, conn, "|")
		expect(t, conn, "|")
		conn.Close()
		s.finish()
		if got := strings.Replace(s.text(), "|", "", 1); got != message[:n] {
			t.Errorf("cut after %d bytes: the server has %q", n, got)
		}
	}
}

// TestCutAfterReceived cuts at every byte of the answer: the server has the whole message, the client what came before.
func TestCutAfterReceived(t *testing.T) {
	const message = "0123456789"
	for n := range len(message) + 1 {
		s, p := start(t)
		conn := dial(t, p)
		reached := p.CutAfterReceived(int64(n))
		send(t, conn, message)
		if got := expectEnd(t, conn); got != message[:n] {
			t.Errorf("cut after %d bytes: the client has %q", n, got)
		}
		<-reached
		s.finish()
		if got := s.text(); got != message {
			t.Errorf("cut after %d bytes: the server has %q", n, got)
		}
	}
}

func TestSlow(t *testing.T) {
	_, p := start(t)
	conn := dial(t, p)
	const delay = 30 * time.Millisecond
	p.Slow(delay)
	begun := time.Now()
	if _, err := conn.Write([]byte("slow")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took < 2*delay {
		t.Errorf("there and back took %v, less than twice %v", took, delay)
	}
}
