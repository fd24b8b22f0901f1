package clickhouse

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
)

// The protocols of Options.Protocol.
const (
	Native = "native"
	HTTP   = "http"
)

// Options say where the table is and how it is written.
type Options struct {
	Addrs        []string // host:port each, replicas of one table, tried in this order
	Protocol     string   // Native (default) or HTTP
	Database     string   // default "default"
	Table        string   // default "events"
	Username     string   // default "default"
	PasswordFile string   // read at each connect, a line end is cut; "" is no password
	TLS          *TLS     // nil: plain connections
	Compression  string   // of blocks on the wire: lz4 (default), zstd, none

	// CreateTable creates the table where it is missing. Without it the
	// operator's own table is filled, which may lack some columns.
	CreateTable bool
	Optional    []string      // columns that the table is meant to lack: see Stats.Lacking
	TTL         time.Duration // of a created table, whole seconds; 0 keeps rows for ever
	Cluster     string        // DDL runs ON CLUSTER this; "" on the one server
	Replicated  *Replicated   // a created table's replication; nil is none

	DialTimeout time.Duration // for a connection and its handshake, default 5 s
	ReadTimeout time.Duration // without an answer to a request until it counts as failed, default 60 s

	tableAge time.Duration // for how long what was learnt of the table is believed, see renew

	Clock  Clock        // the node's, to be compared with the server's before anything is inserted; nil: it is not
	NodeID string       // column node_id
	Logger *slog.Logger // nil: silent
}

// TLS is how connections are secured. The files are read at each connect.
type TLS struct {
	CAFile     string // PEM; "" trusts the system's authorities
	CertFile   string // PEM, the client's certificate; "" is none
	KeyFile    string
	ServerName string // to check the certificate against; "" is the address's host
}

// Replicated names the table in ClickHouse Keeper or ZooKeeper.
type Replicated struct {
	Path    string // default "/clickhouse/tables/{shard}/DATABASE/TABLE"
	Replica string // default "{replica}"
}

// identifier is what a database, table or cluster may be called: it spares
// every statement the question of what quoting can break.
var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,127}$`)

// withDefaults fills what is left out and refuses what cannot work.
func (o Options) withDefaults() (Options, error) {
	def := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	def(&o.Protocol, Native)
	def(&o.Database, "default")
	def(&o.Table, "events")
	def(&o.Username, "default")
	def(&o.Compression, "lz4")
	if o.DialTimeout == 0 {
		o.DialTimeout = 5 * time.Second
	}
	if o.ReadTimeout == 0 {
		o.ReadTimeout = time.Minute
	}
	if o.tableAge == 0 {
		o.tableAge = defaultTableAge
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Replicated != nil {
		r := *o.Replicated
		def(&r.Path, "/clickhouse/tables/{shard}/"+o.Database+"/"+o.Table)
		def(&r.Replica, "{replica}")
		o.Replicated = &r
	}
	return o, o.check()
}

func (o Options) check() error {
	if len(o.Addrs) == 0 {
		return errors.New("clickhouse: addrs is empty: name at least one host:port")
	}
	for _, addr := range o.Addrs {
		if _, port, err := net.SplitHostPort(addr); err != nil || port == "" {
			return fmt.Errorf("clickhouse: addrs: %q is not host:port", addr)
		}
	}
	for _, name := range []struct{ field, value string }{
		{"database", o.Database}, {"table", o.Table}, {"cluster", o.Cluster},
	} {
		if !identifier.MatchString(name.value) && (name.value != "" || name.field != "cluster") {
			return fmt.Errorf("clickhouse: %s: %q: use letters, digits, _ and -, a letter first", name.field, name.value)
		}
	}
	if o.Protocol != Native && o.Protocol != HTTP {
		return fmt.Errorf("clickhouse: protocol: %q is not one of native, http", o.Protocol)
	}
	if _, err := o.compression(); err != nil {
		return err
	}
	if o.TTL < 0 || o.TTL%time.Second != 0 {
		return fmt.Errorf("clickhouse: ttl: %s is not a whole number of seconds from 0", o.TTL)
	}
	for _, name := range o.Optional {
		if !slices.ContainsFunc(fields[:], func(c column) bool { return c.name == name && !c.required }) {
			return fmt.Errorf("clickhouse: optional_columns: %q is no column that a table may lack: those are %s", name, strings.Join(optional(), ", "))
		}
	}
	if o.DialTimeout < 0 || o.ReadTimeout < 0 {
		return errors.New("clickhouse: timeouts must be above 0")
	}
	return nil
}

func (o Options) compression() (*driver.Compression, error) {
	switch o.Compression {
	case "lz4":
		return &driver.Compression{Method: driver.CompressionLZ4}, nil
	case "zstd":
		return &driver.Compression{Method: driver.CompressionZSTD, Level: 1}, nil
	case "none":
		return nil, nil
	}
	return nil, fmt.Errorf("clickhouse: compression: %q is not one of lz4, zstd, none", o.Compression)
}

// password reads the password file.
func (o Options) password() (string, error) {
	if o.PasswordFile == "" {
		return "", nil
	}
	data, err := os.ReadFile(o.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("clickhouse: password_file: %w", err)
	}
	return strings.TrimRight(string(data), "\r\n"), nil
}

// config makes the TLS configuration for a server on host.
func (t *TLS) config(host string) (*tls.Config, error) {
	if t == nil {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if c.ServerName == "" {
		c.ServerName = host
	}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("clickhouse: tls ca_file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("clickhouse: tls ca_file: no certificate in %s", t.CAFile)
		}
	}
	if t.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("clickhouse: tls cert_file: %w", err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c, nil
}
