package router

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificateRefresh is how often, at most, the files are looked at again.
const certificateRefresh = time.Second

// certificate is a key pair in files. It is read again, during a handshake,
// when the files have changed; a pair that does not fit is logged, and the one
// before stays in use.
type certificate struct {
	certFile, keyFile string
	logger            *slog.Logger

	mu       sync.Mutex
	checked  time.Time
	sum      [sha256.Size]byte // of both files, as they were read last
	pair     *tls.Certificate
	failures string // the last failure, so that it is logged once
}

func newCertificate(certFile, keyFile string, logger *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, logger: logger, checked: time.Now()}
	if err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

// load reads the files if they have changed.
func (c *certificate) load() error {
	cert, err := os.ReadFile(c.certFile)
	if err != nil {
		return fmt.Errorf("router: read the TLS certificate: %w", err)
	}
	key, err := os.ReadFile(c.keyFile)
	if err != nil {
		return fmt.Errorf("router: read the TLS key: %w", err)
	}
	sum := sha256.Sum256(append(append(cert[:len(cert):len(cert)], 0), key...))
	if sum == c.sum {
		return nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("router: the TLS certificate %s and key %s do not work together: %w", c.certFile, c.keyFile, err)
	}
	c.sum, c.pair = sum, &pair
	return nil
}

// get returns the certificate for a handshake.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.checked) >= certificateRefresh {
		c.checked = now
		c.refresh()
	}
	return c.pair, nil
}

func (c *certificate) refresh() {
	before := c.pair
	err := c.load()
	switch {
	case err != nil && err.Error() != c.failures:
		c.failures = err.Error()
		c.logger.Error("the TLS certificate has changed but cannot be used; the one before stays in use", "error", err)
	case err == nil:
		c.failures = ""
		if c.pair != before {
			c.logger.Info("the TLS certificate was read again", "file", c.certFile)
		}
	}
}
