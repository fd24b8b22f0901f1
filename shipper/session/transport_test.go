package session

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority is a certificate for loopback that is its own authority.
func authority(t *testing.T) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// TestAuthoritiesAreReadAgain: a rewritten CA file is in force within seconds, a
// broken one leaves the one before in force.
func TestAuthoritiesAreReadAgain(t *testing.T) {
	t.Parallel()
	first, firstPEM := authority(t)
	second, secondPEM := authority(t)
	serve := func(c tls.Certificate) string {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		s.TLS = &tls.Config{Certificates: []tls.Certificate{c}}
		s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // of handshakes that are to fail
		s.StartTLS()
		t.Cleanup(s.Close)
		return s.URL
	}
	one, two := serve(first), serve(second)
	file := filepath.Join(t.TempDir(), "ca.pem")
	put := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(firstPEM)
	c, err := newClient(Options{URL: one, CAFile: file, Lanes: 1, Timeout: time.Minute, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	trusts := func(url string) bool {
		t.Helper()
		c.http.mu.Lock()
		c.http.checked = time.Time{} // the next request reads the file
		c.http.mu.Unlock()
		transport, err := c.http.current()
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := transport.RoundTrip(req)
		if err == nil {
			_ = res.Body.Close()
		}
		return err == nil
	}
	if !trusts(one) || trusts(two) {
		t.Error("the first authority is not the one in force")
	}
	put([]byte("no certificate"))
	if !trusts(one) || trusts(two) {
		t.Error("a broken file changes what is trusted")
	}
	put(secondPEM)
	if trusts(one) || !trusts(two) {
		t.Error("the second authority is not the one in force")
	}
}

// TestConnectionsHaveAnAge: a busy connection is not used past its age, so that a
// name that has moved is followed.
func TestConnectionsHaveAnAge(t *testing.T) {
	t.Parallel()
	from := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { from <- r.RemoteAddr }))
	defer s.Close()
	c, err := newClient(Options{URL: s.URL, Lanes: 1, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	ask := func() string {
		t.Helper()
		res, err := c.do(context.Background(), http.MethodGet, c.url, http.Header{}, "")
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return <-from
	}
	first := ask()
	if again := ask(); again != first {
		t.Errorf("a young connection was not used again: %s, then %s", first, again)
	}
	c.http.mu.Lock()
	c.http.opened = c.http.opened.Add(-connectionAge)
	c.http.mu.Unlock()
	if later := ask(); later == first {
		t.Error("an old connection is still in use")
	}
}
