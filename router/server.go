package router

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"
)

// ServerOptions set a Server up. Addr and Handler are required; any other zero
// field takes its default.
type ServerOptions struct {
	Addr    string // host:port; port 0 takes a free one
	Handler http.Handler

	// CertFile and KeyFile hold a certificate chain and its key in PEM. With
	// them the server speaks TLS 1.2 or later, and HTTP/2. They are read again
	// when they change.
	CertFile, KeyFile string

	// MaxConnections is how many connections are open at a time; default
	// 10,000. Further ones wait in the kernel's queue.
	MaxConnections int
	// MaxHeaderBytes bounds a request's header; default 16 KiB. More is
	// answered with 431, though net/http lets up to 4 KiB more pass over HTTP/1.
	MaxHeaderBytes int
	// HeaderTimeout bounds the time that a header may take; default 10 s.
	HeaderTimeout time.Duration
	// ReadTimeout bounds the time from a request's first byte to the last byte
	// of its body; default 30 s.
	ReadTimeout time.Duration
	// WriteTimeout bounds the time from the end of the header to the end of the
	// reply, waiting for the disk included; default 60 s.
	WriteTimeout time.Duration
	// IdleTimeout bounds the time that a connection may wait for its next
	// request; default 2 min.
	IdleTimeout time.Duration

	Logger *slog.Logger // default: nothing is logged
}

// maxStreams is how many requests one HTTP/2 connection may have open.
const maxStreams = 100

func (o *ServerOptions) setDefaults() {
	if o.MaxConnections == 0 {
		o.MaxConnections = 10_000
	}
	if o.MaxHeaderBytes == 0 {
		o.MaxHeaderBytes = 16 << 10
	}
	for _, d := range []struct {
		field *time.Duration
		byDef time.Duration
	}{
		{&o.HeaderTimeout, 10 * time.Second},
		{&o.ReadTimeout, 30 * time.Second},
		{&o.WriteTimeout, 60 * time.Second},
		{&o.IdleTimeout, 2 * time.Minute},
	} {
		if *d.field == 0 {
			*d.field = d.byDef
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Server runs a handler on a listener, within bounds.
type Server struct {
	listener *BoundedListener
	http     http.Server
	tls      bool
}

// Listen binds the address and reads the certificate. Connections wait until
// Serve is called.
func Listen(opts ServerOptions) (*Server, error) {
	opts.setDefaults()
	if opts.MaxConnections < 1 || opts.MaxHeaderBytes < 1 {
		return nil, fmt.Errorf("router: max connections %d and max header bytes %d must be above 0", opts.MaxConnections, opts.MaxHeaderBytes)
	}
	s := &Server{tls: opts.CertFile != "" || opts.KeyFile != ""}
	s.http = http.Server{
		Handler:           opts.Handler,
		MaxHeaderBytes:    opts.MaxHeaderBytes,
		ReadHeaderTimeout: opts.HeaderTimeout,
		ReadTimeout:       opts.ReadTimeout,
		WriteTimeout:      opts.WriteTimeout,
		IdleTimeout:       opts.IdleTimeout,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		// What net/http reports here are senders' failures, such as broken
		// handshakes.
		ErrorLog: slog.NewLogLogger(opts.Logger.Handler(), slog.LevelDebug),
	}
	if s.tls {
		certificate, err := newCertificate(opts.CertFile, opts.KeyFile, opts.Logger)
		if err != nil {
			return nil, err
		}
		s.http.TLSConfig = &tls.Config{GetCertificate: certificate.get, MinVersion: tls.VersionTLS12}
	}
	listener, err := net.Listen("tcp", opts.Addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("router: %s is in use by another process: stop it or listen on another address: %w", opts.Addr, err)
	case err != nil:
		return nil, fmt.Errorf("router: listen on %s: %w", opts.Addr, err)
	}
	s.listener = NewBoundedListener(listener, opts.MaxConnections)
	return s, nil
}

// Addr is the address that the server listens on, with the port it was given.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Connections returns how many connections are open, and how many may be. The one
// that Serve waits for counts as open.
func (s *Server) Connections() (open, most int) { return s.listener.Connections() }

// Serve answers requests until Shutdown is called; then it returns nil. It is
// called once.
func (s *Server) Serve() error {
	var err error
	if s.tls {
		err = s.http.ServeTLS(s.listener, "", "")
	} else {
		err = s.http.Serve(s.listener)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("router: serve on %s: %w", s.listener.Addr(), err)
}

// Shutdown stops listening and waits until the requests that have begun are
// answered. When ctx ends first it closes their connections and returns the
// error of ctx.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	// Serve may never have been called: then the listener is still open. A
	// second close says so, which means nothing here.
	_ = s.listener.Close()
	if err == nil {
		return nil
	}
	_ = s.http.Close()
	return fmt.Errorf("router: requests were cut off: %w", err)
}
