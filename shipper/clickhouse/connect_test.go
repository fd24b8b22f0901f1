package clickhouse

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"forebay/shipper"
	"forebay/shipper/clickhouse/clickhousetest"
	"forebay/shipper/shippertest/proxy"
)

// TestCompression ships with each codec over each protocol.
func TestCompression(t *testing.T) {
	bothEngines(t, func(t *testing.T, o Options, server oracle, _ string) {
		r := newRig(t)
		for _, o.Compression = range []string{"lz4", "zstd", "none"} {
			r.append(300)
			r.start(o)
			r.shipped()
		}
		wantEach(t, server, "", 900)
	})
}

// TestPasswordFileIsReadAgain changes the file while the cursor runs; the
// next connection uses it.
func TestPasswordFileIsReadAgain(t *testing.T) {
	t.Parallel()
	server, o := startOld(t)
	p := proxy.Start(t, o.Addrs[0])
	file := filepath.Join(t.TempDir(), "password")
	write := func(password string) {
		if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(clickhousetest.Password + "\n")
	o.Addrs, o.Username, o.PasswordFile = []string{p.Addr()}, clickhousetest.PasswordUser, file
	r := newRig(t)
	r.append(10)
	r.start(o)
	r.shipped()

	write("rotated too early")
	p.Cut()
	r.append(10)
	if got := r.paused(); !strings.Contains(got, "193 WRONG_PASSWORD") || strings.Contains(got, "rotated") {
		t.Errorf("paused because %q", got)
	}
	write(clickhousetest.Password)
	r.shipped()
	wantEach(t, server, "", 20)
}

// TestTLS ships through an endpoint with a certificate of its own authority,
// and refuses one of another.
func TestTLS(t *testing.T) {
	bothEngines(t, func(t *testing.T, o Options, server oracle, _ string) {
		certificate, authority := newAuthority(t)
		_, other := newAuthority(t)
		plain := o.Addrs[0]
		o.Addrs = []string{terminateTLS(t, certificate, plain)}

		r := newRig(t)
		r.append(100)
		o.TLS = &TLS{CAFile: other}
		r.start(o)
		if got := r.paused(); !strings.Contains(got, "does not trust the server's certificate") {
			t.Errorf("paused because %q", got)
		}
		o.TLS = &TLS{CAFile: authority}
		r.start(o)
		r.shipped()
		wantEach(t, server, "", 100)
	})
}

// newAuthority makes a certificate for 127.0.0.1 and the file of the
// authority that signed it: itself.
func newAuthority(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// terminateTLS listens with the certificate and forwards to addr.
func terminateTLS(t *testing.T, certificate tls.Certificate, addr string) string {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer client.Close()
				server, err := net.Dial("tcp", addr)
				if err != nil {
					return
				}
				running.Go(func() {
					_, _ = io.Copy(client, server)
					_ = client.Close()
				})
				_, _ = io.Copy(server, client)
				_ = server.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		running.Wait()
	})
	return listener.Addr().String()
}

// TestAddressesWithoutReplication: what was not sent goes to the next
// address; what may have arrived waits for its own.
func TestAddressesWithoutReplication(t *testing.T) {
	first, o := startOld(t)
	second, other := startOld(t)
	p := proxy.Start(t, o.Addrs[0])
	o.Addrs = []string{p.Addr(), other.Addrs[0]}
	r := newRig(t)
	r.flush = shipper.Flush{Rows: 20, Bytes: 32 << 20, Age: time.Minute}
	r.append(20)
	r.start(o)
	r.shipped()
	count := func(server oracle) string { return server.MustQuery(t, "SELECT count() FROM events") }
	if count(first) != "20" || count(second) != "0" {
		t.Fatalf("the first plan went to %s and %s rows", count(first), count(second))
	}

	// Half a block has left when the connection breaks, and the address stays away.
	sent := p.Sent()
	r.append(20)
	r.shipped()
	cut := p.CutAfterSent((p.Sent() - sent) * 3 / 4)
	r.append(20)
	<-cut
	p.Down()
	eventually(t, func() bool {
		s := r.cursor.Status()
		return s.Plan != nil && s.Plan.Addr == p.Addr() && s.ErrorCount > 2
	}, func() string { return fmt.Sprintf("%+v", r.cursor.Status()) })
	if count(second) != "0" {
		t.Fatal("a plan that may have arrived went to another server")
	}
	p.Up()
	r.shipped()
	if got := count(first); got != "60" {
		t.Fatalf("the first server has %s rows", got)
	}

	// Away with nothing under way: the next plan goes to the second address.
	p.Down()
	r.append(20)
	r.shipped()
	if count(first) != "60" || count(second) != "20" {
		t.Errorf("after the move the servers have %s and %s rows", count(first), count(second))
	}
}

// TestAddressesOfOneReplicatedTable: another replica takes over a plan that
// may have arrived, after it caught up. The replicas are two ways to one
// engine, which says of its table that it is replicated.
func TestAddressesOfOneReplicatedTable(t *testing.T) {
	engine, o := startEngine(t)
	var synced atomic.Int64
	pretend := pretendReplication(t, engine.Addr(), &synced)
	p := proxy.Start(t, pretend)
	o.Addrs = []string{p.Addr(), pretend}
	r := newRig(t)
	r.flush = shipper.Flush{Rows: 20, Bytes: 32 << 20, Age: time.Minute}
	r.append(20)
	r.start(o)
	r.shipped()
	sent, received := traffic(r, p)
	dead, err := clickhousetest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(4) {
		for _, arm := range []func() <-chan struct{}{
			func() <-chan struct{} { return p.CutAfterSent(sent * (2 + i) / 6) },
			func() <-chan struct{} { return p.CutAfterReceived(received * (2 + i) / 6) },
		} {
			r.start(o) // back to the first address
			traffic(r, p)
			p.Target(fmt.Sprint("127.0.0.1:", dead)) // for connections after the one that is cut
			cut := arm()
			r.append(20)
			<-cut
			r.shipped()
			p.Target(pretend)
			wantEach(t, engine, "", r.log.DurableSeq())
		}
	}
	if synced.Load() == 0 {
		t.Error("no replica was told to catch up before it took over")
	}
}

// pretendReplication forwards HTTP to addr and makes the engine's answers
// those of a replicated table.
func pretendReplication(t *testing.T, addr string, synced *atomic.Int64) string {
	t.Helper()
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr})
	forward.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // of connections that the test cuts
	handler := http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if request.URL.Query().Get("query") == "" { // a statement, not an insert's data
			body, err := io.ReadAll(request.Body)
			if err != nil {
				return
			}
			body = bytes.ReplaceAll(body, []byte("any(engine),"), []byte("'ReplicatedReplacingMergeTree',"))
			body = bytes.ReplaceAll(body, []byte("name = 'replicated_ded"), []byte("name = 'non_replicated_ded"))
			if bytes.Contains(body, []byte("SYSTEM SYNC REPLICA")) {
				synced.Add(1)
				body = []byte("CREATE DATABASE IF NOT EXISTS default") // answered with nothing, too
			}
			request.Body, request.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		}
		forward.ServeHTTP(w, request)
	})
	server := &http.Server{Handler: handler}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return listener.Addr().String()
}

func TestOptionsAreChecked(t *testing.T) {
	good := Options{Addrs: []string{"127.0.0.1:9000"}}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for field, change := range map[string]func(*Options){
		"addrs":       func(o *Options) { o.Addrs = nil },
		"host:port":   func(o *Options) { o.Addrs = []string{"localhost"} },
		"protocol":    func(o *Options) { o.Protocol = "tcp" },
		"database":    func(o *Options) { o.Database = "a`b" },
		"table":       func(o *Options) { o.Table = "a b" },
		"cluster":     func(o *Options) { o.Cluster = "a'b" },
		"compression": func(o *Options) { o.Compression = "gzip" },
		"ttl":         func(o *Options) { o.TTL = time.Second / 2 },
		"timeouts":    func(o *Options) { o.ReadTimeout = -1 },
	} {
		o := good
		change(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: error %v", field, err)
		}
	}
}
