package clickhouse

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
)

// server is one address with what was learned of it when it was connected.
// It is thrown away, and all is asked again, after any failure; what is known
// of the table is asked again besides, see renew.
type server struct {
	addr     string
	conn     driver.Conn
	timeout  time.Duration
	version  string
	release  release
	dialect  dialect
	settings driver.Settings // of every insert
	tokens   bool            // the server knows insert_deduplication_token
	table    table
	learnt   time.Time // when the table was read; zero: to be read before the next insert
	into     string    // INSERT INTO … (columns)
	spare    spareTexts
}

// dial opens a connection pool to addr. Its connections are closed as soon
// as life ends: the driver itself waits out a handshake.
func (o Options) dial(life context.Context, addr string) (driver.Conn, error) {
	compression, err := o.compression()
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	protocol := driver.Native
	if o.Protocol == HTTP {
		protocol = driver.HTTP
	}
	connect := func(ctx context.Context, network, addr string, secure *tls.Config) (net.Conn, error) {
		conn, err := (&net.Dialer{Timeout: o.DialTimeout}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		bound := &boundConn{TCPConn: conn.(*net.TCPConn)}
		bound.unbind = context.AfterFunc(life, func() { _ = bound.TCPConn.Close() })
		if secure == nil {
			return bound, nil
		}
		return tls.Client(bound, secure), nil
	}
	return driver.Open(&driver.Options{
		Protocol:     protocol,
		Addr:         []string{addr},
		Auth:         driver.Auth{Username: o.Username},
		Compression:  compression,
		DialTimeout:  o.DialTimeout,
		ReadTimeout:  o.ReadTimeout,
		MaxOpenConns: 2, MaxIdleConns: 2, ConnMaxLifetime: connectionAge,
		MaxCompressionBuffer: 1 << 20,
		ClientInfo:           driver.ClientInfo{Products: []struct{ Name, Version string }{{Name: "forebay", Version: "1"}}},
		DialStrategy: func(ctx context.Context, _ int, shared *driver.Options, dial driver.Dial) (driver.DialResult, error) {
			own := *shared
			password, err := o.password()
			if err != nil {
				return driver.DialResult{}, err
			}
			own.Auth.Password = password
			if own.TLS, err = o.TLS.config(host); err != nil {
				return driver.DialResult{}, err
			}
			secure := own.TLS
			if protocol == driver.HTTP {
				secure = nil // HTTP's transport does it, on top of this connection
			}
			own.DialContext = func(ctx context.Context, addr string) (net.Conn, error) {
				return connect(ctx, "tcp", addr, secure)
			}
			own.TransportFunc = func(t *http.Transport) (http.RoundTripper, error) {
				t.Proxy = nil
				t.IdleConnTimeout = 3 * time.Second // below any server's keep_alive_timeout
				return checkedTransport{t}, nil
			}
			return dial(ctx, addr, &own)
		},
	})
}

// connectionAge is how long a connection is used: then the name is resolved, and
// the password and the certificates are read again.
const connectionAge = time.Minute

// boundConn is a connection that a context closes.
type boundConn struct {
	*net.TCPConn
	unbind func() bool
}

func (c *boundConn) Close() error {
	c.unbind()
	return c.TCPConn.Close()
}

// connect opens addr and learns the server and the table. A table that is
// missing is created if the options say so.
func (s *Sink) connect(ctx context.Context, addr string) (_ *server, err error) {
	conn, err := s.opts.dial(ctx, addr)
	if err != nil {
		return nil, about(addr, explain(err))
	}
	srv := &server{addr: addr, conn: conn, timeout: s.opts.ReadTimeout}
	defer func() {
		if err != nil {
			srv.close()
		}
	}()
	if err := srv.learnServer(ctx); err != nil {
		return nil, err
	}
	return srv, s.learn(ctx, srv)
}

func (c *server) close() { _ = c.conn.Close() }

// wantedSettings go with every insert, each where the server knows it.
func wantedSettings() driver.Settings {
	return driver.Settings{
		"async_insert":                   0, // the answer comes when the rows are there
		"insert_deduplicate":             1,
		"insert_deduplication_token":     "", // the plan's, set at each insert
		"deduplicate_insert":             "enable",
		"use_strict_insert_block_limits": 0, // one block stays one block
		"insert_distributed_sync":        1, // through a Distributed table too
	}
}

// learnServer asks for the version and which settings there are.
func (c *server) learnServer(ctx context.Context) error {
	wanted := wantedSettings()
	names := make([]string, 0, len(wanted))
	for name := range wanted {
		names = append(names, quoteText(name))
	}
	var known []string
	err := c.queryRow(ctx, "SELECT version(), (SELECT groupArray(name) FROM system.settings WHERE name IN ("+strings.Join(names, ", ")+"))", &c.version, &known)
	if err != nil {
		return err
	}
	c.release = parseRelease(c.version)
	c.settings = driver.Settings{}
	for _, name := range known {
		c.settings[name] = wanted[name]
	}
	_, c.tokens = c.settings["insert_deduplication_token"]
	return c.learnDialect(ctx)
}

// queryRow runs a query that yields exactly one row. Where a broken
// connection could pass for an empty answer, having a row tells it apart.
func (c *server) queryRow(ctx context.Context, query string, into ...any) error {
	ctx, cancel := withTimer(ctx, c.timeout)
	defer cancel()
	if err := c.conn.QueryRow(ctx, query).Scan(into...); err != nil {
		return c.failed(ctx, "read", err)
	}
	return nil
}

// exec runs a statement.
func (c *server) exec(ctx context.Context, statement string) error {
	ctx, cancel := withTimer(ctx, c.timeout)
	defer cancel()
	ctx = expecting(ctx, answerNothing)
	if strings.Contains(statement, " ON CLUSTER ") {
		ctx = expecting(ctx, answerHosts)
	}
	if err := c.conn.Exec(ctx, statement); err != nil {
		return c.failed(ctx, "execute", err)
	}
	return nil
}

// failed names the address and the cause, which is the context's own if it
// ended: the driver then shows only what became of its socket.
func (c *server) failed(ctx context.Context, what string, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("%s: %s: %w", c.addr, what, cause)
	}
	return fmt.Errorf("%s: %s: %w", c.addr, what, explain(err))
}

// withTimer bounds a request by cancelling, not by a deadline: the driver
// would pass a deadline on to the server as max_execution_time.
func withTimer(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(d, func() { cancel(fmt.Errorf("no answer within %s", d)) })
	return ctx, func() {
		timer.Stop()
		cancel(nil)
	}
}

func quoteText(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

func quoteName(s string) string { return "`" + s + "`" }

// name is the table's full name, quoted.
func (o Options) name() string { return quoteName(o.Database) + "." + quoteName(o.Table) }

func number(n uint64) string { return strconv.FormatUint(n, 10) }
