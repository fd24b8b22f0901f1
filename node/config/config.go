// Package config is the node's configuration: one typed value, read at start and again at each reload.
//
// A Config is built in three layers, each over the one before: the defaults, the file (YAML or JSON) and
// the environment. [Load] does all three and then validates the result, so that a Config it returned can be used without further checks. Whatever is
// wrong is collected first and reported together, each finding with its place, field, value and remedy.
//
// Every field is one line of the table in fields.go: its path, where its value is stored, its default
// and its meaning. The environment's names, the reference ([Reference], REFERENCE.md), the commented
// sample ([Sample]) and what `config show` prints ([Config.Show]) are all made from that table.
//
// Files that a field names (certificates, tokens, the key file) are not touched by Load, since a host
// without them may well check a configuration; [Config.CheckFiles] looks at them.
package config

import (
	"path/filepath"
	"time"
)

// Config is the whole configuration. The meaning, default and range of each field are in fields.go and,
// as a table, in REFERENCE.md. Copying a Config shares its lists, so treat a Config as read-only.
type Config struct {
	Node     Node
	Log      Log
	Ingest   Ingest
	Admin    Admin
	Keys     Keys
	Limits   Limits
	Privacy  Privacy
	Dedupe   Dedupe
	WAL      WAL
	Audit    Audit
	Shippers Shippers
}

// Node is who this node is and where it keeps its data.
type Node struct {
	ID      string // never empty in a Config that Load or Dev returned
	DataDir string
}

// Log is the node's own logging, on standard error.
type Log struct {
	Level  string // debug, info, warn or error
	Format string // json or text
}

// Ingest is the front door.
type Ingest struct {
	Listen         string // host:port
	TLS            TLS
	TrustedProxies []string // CIDR ranges or single addresses
	EventTypes     []string // the allow-list; "*" allows all
}

// TLS is a listener's certificate and key; both are set or neither.
type TLS struct {
	CertFile string
	KeyFile  string
}

// Enabled reports whether the listener speaks TLS.
func (t TLS) Enabled() bool { return t.CertFile != "" }

// Admin is the operators' listener: API, console and metrics.
type Admin struct {
	Listen    string // host:port, or unix:/path/to/socket
	TokenFile string
	Nodes     []string // admin addresses of other nodes
}

// Keys is where API keys come from.
type Keys struct {
	Source   string // KeysPostgres or KeysFile
	Postgres Postgres
	File     KeysFromFile
	MaxStale time.Duration
	DoubtFor time.Duration
}

// Where keys may come from.
const (
	KeysPostgres = "postgres"
	KeysFile     = "file"
)

// Postgres is the key database; exactly one of the two is set when it is the source.
type Postgres struct {
	DSN     string
	DSNFile string
}

// KeysFromFile is the key file.
type KeysFromFile struct {
	Path string
}

// Limits bound what one request may hold and how often a key may send.
type Limits struct {
	BatchEvents       int
	BatchBytes        Bytes
	EventBytes        Bytes
	WireBytes         Bytes
	StringBytes       Bytes
	SessionBytes      Bytes
	Depth             int
	TimestampAhead    time.Duration
	TimestampAge      time.Duration
	RequestsPerSecond float64
	Burst             int
}

// Privacy is what happens to an event with personal data in it.
type Privacy struct {
	Action     string   // PrivacyDrop or PrivacyReport
	Rules      []string // exceptions; Options parses them
	DeniedKeys []string
}

// What may happen to an event with personal data in it.
const (
	PrivacyDrop   = "drop"
	PrivacyReport = "report"
)

// Dedupe is the window of idempotency keys.
type Dedupe struct {
	Window  time.Duration
	MaxKeys int
}

// WAL is the log on disk.
type WAL struct {
	Fsync         string        // FsyncAlways or FsyncInterval
	FsyncInterval time.Duration // used by FsyncInterval alone
	SegmentBytes  Bytes
	Compression   string // none, s2 or zstd
	DiskBudget    Bytes  // 0 = 80 % of the file system
	Retain        Retain
}

// When the log is synced.
const (
	FsyncAlways   = "always"
	FsyncInterval = "interval"
)

// SyncInterval is the time between syncs: 0 when every reply waits for its own.
func (w WAL) SyncInterval() time.Duration {
	if w.Fsync == FsyncInterval {
		return w.FsyncInterval
	}
	return 0
}

// Retain bounds the shipped history that is kept for rewinding; 0 = no limit.
type Retain struct {
	Age   time.Duration
	Bytes Bytes
}

// Audit is the watch over what was delivered.
type Audit struct {
	Every time.Duration // 0 = off
}

// Shippers are the destinations.
type Shippers struct {
	ClickHouse ClickHouse
	Session    Session
	Archive    Archive
}

// ClickHouse is the shipper of that name.
type ClickHouse struct {
	Enabled      bool
	Addrs        []string // host:port, replicas of one table
	ReplayAddrs  []string // where else a replay may take the password
	Protocol     string   // native or http
	Database     string
	Table        string
	Username     string
	PasswordFile string
	Compression  string // lz4, zstd or none
	TLS          ClientTLS
	DialTimeout  time.Duration
	ReadTimeout  time.Duration
	CreateTable  bool

	OptionalColumns []string // of those that the table may lack

	TTL        time.Duration
	Cluster    string
	Replicated Replicated
	Flush      Flush
}

// ClientTLS is how connections to a server are secured.
type ClientTLS struct {
	Enabled    bool
	CAFile     string
	CertFile   string
	KeyFile    string
	ServerName string
}

// Replicated makes a created table a replicated one.
type Replicated struct {
	Enabled bool
	Path    string
	Replica string
}

// Flush closes a batch at whichever is reached first.
type Flush struct {
	Rows  int
	Bytes Bytes
	Age   time.Duration
}

// Session is the shipper to the Session Manager.
type Session struct {
	Enabled    bool
	ReplayURLs []string // where else a replay may take the token
	URL        string
	TokenFile  string
	CAFile     string
	Gzip       bool
	Lanes      int
	Request    Request
	Parked     Parked
}

// Request bounds what one request holds.
type Request struct {
	Events int
	Bytes  Bytes
}

// Parked bounds how long a failing session waits before its events become dead letters.
type Parked struct {
	MaxAge time.Duration
}

// Archive is the shipper to files on this machine.
type Archive struct {
	Enabled bool
	Dir     string // never empty in a Config that Load or Dev returned
	Flush   ArchiveFlush
}

// ArchiveFlush closes a file at whichever is reached first, and at the end of the hour.
type ArchiveFlush struct {
	Bytes Bytes
	Age   time.Duration
}

// Default returns the defaults. They are not a complete configuration: `keys` needs to be told where
// the keys are, so a bare Default does not pass Validate.
func Default() Config {
	var c Config
	for _, f := range fields(&c) {
		if problem := parseValue(f.target, f.def); problem != "" {
			panic("BUG: config default of " + f.path + ": " + problem) // held by a test: each default parses
		}
	}
	return c
}

// Dev returns the configuration of `forebay run --dev`: everything under dir, nothing outside the
// machine needed. Keys come from dir/keys.yaml, the archive is written to dir/archive within a second,
// ClickHouse is off, and both listeners are on loopback. The caller points Shippers.Session.URL at the
// built-in Session Manager.
func Dev(dir string) Config {
	c := Default()
	c.Node.ID = "dev"
	c.Node.DataDir = filepath.Join(dir, "data")
	c.Log.Format = "text"
	c.Ingest.Listen = "127.0.0.1:7070"
	c.Keys.Source = KeysFile
	c.Keys.File.Path = filepath.Join(dir, "keys.yaml")
	c.Shippers.ClickHouse.Enabled = false
	c.Shippers.Archive.Enabled = true
	c.Shippers.Archive.Dir = filepath.Join(dir, "archive")
	c.Shippers.Archive.Flush.Age = time.Second
	return c
}
