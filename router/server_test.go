package router_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"forebay/router"
	"forebay/router/auth"
	"forebay/router/dedupe"
	"forebay/router/routertest"
)

// writeCertificate makes a certificate for 127.0.0.1 with a serial number.
func writeCertificate(t *testing.T, certFile, keyFile string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "forebay test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// The server speaks TLS and HTTP/2, and takes a new certificate without a
// restart; a broken one does not put it out of service.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeCertificate(t, certFile, keyFile, 1)
	door := routertest.Open(t, fixedClock)
	key := door.AddKey(auth.Key{})
	var logged lockedBuffer
	addr := door.Serve(func(o *router.ServerOptions) {
		o.CertFile, o.KeyFile = certFile, keyFile
		o.Logger = slog.New(slog.NewTextHandler(&logged, nil))
	})
	serial := func() int64 {
		conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if got := serial(); got != 1 {
		t.Errorf("certificate %d", got)
	}
	client := &http.Client{Transport: &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	defer client.CloseIdleConnections()
	var replies []string
	for _, k := range []string{key, "fbk_0123456789abcdef"} {
		for _, body := range []string{aBatch(anEvent("s", "")), "x", strings.Repeat("x", 3<<20)} {
			req, err := http.NewRequest(http.MethodPost, "https://"+addr+"/v1/events", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-API-Key", k)
			reply, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(reply.Body)
			if err != nil {
				t.Fatal(err)
			}
			_ = reply.Body.Close()
			reply.Header.Del("Date")
			var seen bytes.Buffer
			if err := reply.Header.Write(&seen); err != nil {
				t.Fatal(err)
			}
			replies = append(replies, reply.Proto+reply.Status+seen.String()+string(text))
		}
	}
	for _, reply := range replies {
		if reply != replies[0] || !strings.HasPrefix(reply, "HTTP/2.0200 OK") {
			t.Errorf("replies differ: %q, %q", replies[0], reply)
		}
	}
	if n := len(door.Stored()); n != 1 {
		t.Errorf("%d events stored", n)
	}
	writeCertificate(t, certFile, keyFile, 2)
	until(t, "the new certificate is used", func() bool { return serial() == 2 })
	if err := os.WriteFile(keyFile, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "the broken key is noticed", func() bool { return serial() == 2 && strings.Contains(logged.String(), "cannot be used") })
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestListenErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tt := range []struct {
		opts router.ServerOptions
		says string
	}{
		{router.ServerOptions{Addr: taken.Addr().String()}, "in use"},
		{router.ServerOptions{Addr: "nowhere"}, "nowhere"},
		{router.ServerOptions{Addr: "127.0.0.1:0", CertFile: "/no/such/cert.pem", KeyFile: "/no/key.pem"}, "/no/such/cert.pem"},
		{router.ServerOptions{Addr: "127.0.0.1:0", CertFile: "server_test.go", KeyFile: "server_test.go"}, "do not work together"},
		{router.ServerOptions{Addr: "127.0.0.1:0", MaxConnections: -1}, "max connections"},
	} {
		if _, err := router.Listen(tt.opts); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%+v: %v", tt.opts, err)
		}
	}
}

// Shutdown lets requests that have begun end, and ends those that do not.
func TestShutdown(t *testing.T) {
	for _, patient := range []bool{true, false} {
		entered, release := make(chan struct{}), make(chan struct{})
		door := routertest.Open(t, func(o *router.Options) {
			fixedClock(o)
			o.Log = &gatedLog{Log: o.Log, entered: entered, release: release}
		})
		server, err := router.Listen(router.ServerOptions{Addr: "127.0.0.1:0", Handler: door.Router})
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- server.Serve() }()
		conn, err := net.Dial("tcp", server.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, routertest.Post("/v1/events", aBatch(anEvent("s", "")), "X-API-Key: "+door.AddKey(auth.Key{}))); err != nil {
			t.Fatal(err)
		}
		<-entered
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan error, 1)
		go func() { stopped <- server.Shutdown(ctx) }()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		if patient {
			close(release)
			if err := <-stopped; err != nil {
				t.Errorf("shutdown: %v", err)
			}
			if reply, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(reply), `{"success":true}`) {
				t.Errorf("%q, %v", reply, err)
			}
		} else {
			cancel()
			if err := <-stopped; !errors.Is(err, context.Canceled) {
				t.Errorf("shutdown: %v", err)
			}
			close(release)
		}
		cancel()
		until(t, "the event is stored either way", func() bool { return len(door.Stored()) == 1 })
	}
}

// A server that was never started can be shut down.
func TestShutdownBeforeServe(t *testing.T) {
	server, err := router.Listen(router.ServerOptions{Addr: "127.0.0.1:0", Handler: http.NotFoundHandler()})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if conn, err := net.Dial("tcp", server.Addr().String()); err == nil {
		_ = conn.Close()
		t.Error("the listener is still open")
	}
}

// Connections beyond the bound wait until others end; headers are bounded in
// size and in time.
func TestConnectionBounds(t *testing.T) {
	door := routertest.Open(t, fixedClock)
	key := door.AddKey(auth.Key{})
	addr := door.Serve(func(o *router.ServerOptions) {
		o.MaxConnections = 2
		o.HeaderTimeout = 200 * time.Millisecond
		o.MaxHeaderBytes = 8 << 10
	})
	request := routertest.Post("/v1/events", aBatch(anEvent("s", "")), "X-API-Key: "+key)
	for range 4 { // two are served, two wait; slow headers make room
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "POST /v1/events HTTP/1.1\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	if exchange := routertest.Send(t, addr, request); exchange.Status != 200 {
		t.Errorf("%+v", exchange)
	}
	long := routertest.Post("/v1/events", "", "X-Long: "+strings.Repeat("x", 16<<10))
	if exchange := routertest.Send(t, addr, long); exchange.Status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%+v", exchange)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	if _, err := router.New(router.Options{}); err == nil {
		t.Error("no log: no error")
	}
	good := routertest.Open(t, nil)
	hasher := dedupe.NewHasher(good.Log.ID())
	for name, change := range map[string]func(*router.Options){
		"wire bytes":   func(o *router.Options) { o.WireBytes = -1 },
		"max requests": func(o *router.Options) { o.MaxRequests = -1 },
		"max bytes":    func(o *router.Options) { o.MaxBytes = 100 },
		"depth":        func(o *router.Options) { o.Limits.Depth = -1 },
		"Hasher":       func(o *router.Options) { o.Hasher = dedupe.Hasher{} },
	} {
		opts := router.Options{Log: good.Log, Keys: good.Directory, Limiter: onePerAddress{}, Window: good.Window, Hasher: hasher}
		change(&opts)
		if _, err := router.New(opts); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
