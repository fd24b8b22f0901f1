package session

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

const (
	dialTimeout      = 5 * time.Second
	pingAfter        = 15 * time.Second // silence on an HTTP/2 connection before it is asked whether it lives
	maxHeaderBytes   = 64 << 10         // of an answer's header
	writeBufferBytes = 64 << 10         // of a connection: most requests go out in one write

	// connectionAge is how long connections are used: then the name is resolved
	// again, though requests keep them busy.
	connectionAge = time.Minute
	// caRefresh is how often, at most, the file of the authorities is read again.
	caRefresh = time.Second
)

// transports gives out one pool of connections after another: a new one when the
// present is old, or when the authorities that are trusted have changed. Requests
// under way end on the connections that they have.
type transports struct {
	lanes  int
	caFile string // "": the system's authorities
	logger *slog.Logger

	mu      sync.Mutex
	pool    *http.Transport
	opened  time.Time
	checked time.Time         // when the file was read last
	sum     [sha256.Size]byte // of the file that roots came from
	roots   *x509.CertPool
	failure string // of the last reading, so that it is logged once
}

// current is the pool to use now. The error is that of the first reading of the
// authorities: later ones that fail leave those before in use.
func (t *transports) current() (*http.Transport, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if t.pool != nil && now.Sub(t.opened) < connectionAge && (t.caFile == "" || now.Sub(t.checked) < caRefresh) {
		return t.pool, nil
	}
	changed, err := t.readRoots(now)
	if err != nil && t.pool == nil {
		return nil, err
	}
	if t.pool != nil && !changed && now.Sub(t.opened) < connectionAge {
		return t.pool, nil
	}
	t.retire()
	t.pool, t.opened = t.open(), now
	return t.pool, nil
}

// readRoots reads the authorities, and reports whether they are others.
func (t *transports) readRoots(now time.Time) (changed bool, err error) {
	if t.caFile == "" {
		return false, nil
	}
	t.checked = now
	pem, err := os.ReadFile(t.caFile)
	if err != nil {
		err = fmt.Errorf("session: CA file: %w", err)
	}
	sum, roots := sha256.Sum256(pem), x509.NewCertPool()
	if err == nil && sum != t.sum && !roots.AppendCertsFromPEM(pem) {
		err = fmt.Errorf("session: CA file %s holds no PEM certificate", t.caFile)
	}
	if err != nil {
		if t.pool != nil && t.failure != err.Error() {
			t.failure = err.Error()
			t.logger.Error("the authorities of the Session Manager cannot be read again; those before stay in use", "err", err)
		}
		return false, err
	}
	t.failure = ""
	if sum == t.sum {
		return false, nil
	}
	if t.pool != nil {
		t.logger.Info("the authorities of the Session Manager were read again", "file", t.caFile)
	}
	t.sum, t.roots = sum, roots
	return true, nil
}

func (t *transports) open() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:    dialTimeout,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: t.roots},
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter},
		MaxIdleConns:           t.lanes,
		MaxIdleConnsPerHost:    t.lanes,
		IdleConnTimeout:        90 * time.Second,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeaderBytes,
		WriteBufferSize:        writeBufferBytes,
	}
}

// retire gives up the connections of the pool, those in use once they are idle.
func (t *transports) retire() {
	if t.pool != nil {
		t.pool.CloseIdleConnections()
	}
}

func (t *transports) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.retire()
}
