package config

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"forebay/router/privacy"
	"forebay/shipper"
)

// Validate reports everything that is wrong with the values, as an [Errors], without touching a file or
// the network. Load has done it already; it is for a Config that was built in another way.
func (c Config) Validate() error { return c.check(nil).join() }

// check validates c; sources says where each field was set.
func (c *Config) check(sources map[string]string) Errors {
	v := validator{sources: sources, fields: map[string]field{}}
	order := map[string]int{}
	for i, f := range fields(c) {
		v.fields[f.path], order[f.path] = f, i
		if choices := strings.Fields(f.choice); f.choice != "" && !slices.Contains(choices, *f.target.(*string)) {
			v.fail(f.path, "expected %s", alternatives(choices))
		}
	}
	v.node(c)
	v.listeners(c)
	v.keys(c.Keys)
	v.limits(c.Limits)
	v.privacy(c.Privacy)
	v.duration("dedupe.window", c.Dedupe.Window, time.Second, year)
	v.count("dedupe.max_keys", c.Dedupe.MaxKeys, 1, 100_000_000)
	v.wal(c.WAL)
	if c.Audit.Every != 0 {
		v.duration("audit.every", c.Audit.Every, shipper.LeastWatch, shipper.MostWatch)
	}
	v.shippers(c.Shippers)
	slices.SortStableFunc(v.errs, func(a, b *FieldError) int { return order[a.Field] - order[b.Field] })
	return v.errs
}

func alternatives(choices []string) string {
	last := len(choices) - 1
	return strings.Join(choices[:last], ", ") + " or " + choices[last]
}

type validator struct {
	sources map[string]string
	fields  map[string]field
	errs    Errors
}

// fail records what is wrong with the field at path. Its value is shown unless it may be a secret, or is
// a list, of which the finding names the element.
func (v *validator) fail(path, format string, args ...any) {
	f := v.fields[path]
	value := ""
	switch target := f.target.(type) {
	case *string:
		value = *target
	case *[]string:
	default:
		value = formatValue(target)
	}
	v.errs.add(v.sources[path], path, f.shown(value), format, args...)
}

// nodeID is what is safe in a metric's label, a header and a file's name.
var nodeID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

func (v *validator) node(c *Config) {
	if c.Node.ID != "" && !nodeID.MatchString(c.Node.ID) {
		v.fail("node.id", "use up to 128 letters, digits, dots, dashes and underscores")
	}
	if c.Node.DataDir == "" {
		v.fail("node.data_dir", "is empty; name the directory for the log")
	}
	v.eventTypes(c.Ingest.EventTypes, c.Limits.StringBytes)
}

// MaxNodes bounds admin.nodes, and how many nodes one question is put to.
const MaxNodes = 1000

func (v *validator) listeners(c *Config) {
	ingest := v.address("ingest.listen", c.Ingest.Listen)
	if (c.Ingest.TLS.CertFile == "") != (c.Ingest.TLS.KeyFile == "") {
		v.fail("ingest.tls.cert_file", "cert_file and key_file belong together; set both or none")
	}
	v.proxies(c.Ingest.TrustedProxies)
	v.adminNodes(c.Admin.Nodes)
	if path, isUnix := strings.CutPrefix(c.Admin.Listen, "unix:"); isUnix {
		if path == "" {
			v.fail("admin.listen", "write the socket's path after unix:")
		}
		return
	}
	admin := v.address("admin.listen", c.Admin.Listen)
	if admin.ok && !admin.loopback && c.Admin.TokenFile == "" {
		v.fail("admin.listen", "is reachable from other machines; set admin.token_file, or listen on 127.0.0.1 or unix:/path")
	}
	if admin.ok && ingest.ok && admin.port == ingest.port && admin.port != 0 {
		v.fail("admin.listen", "has the port of ingest.listen; give each its own")
	}
}

func (v *validator) keys(k Keys) {
	both, none := k.Postgres.DSN != "" && k.Postgres.DSNFile != "", k.Postgres.DSN == "" && k.Postgres.DSNFile == ""
	switch {
	case both:
		v.fail("keys.postgres.dsn", "dsn and dsn_file exclude each other; set one")
	case k.Source == KeysPostgres && none:
		v.fail("keys.postgres.dsn", "is empty; set dsn or dsn_file, or keys.source: file with keys.file.path")
	case k.Source == KeysFile && k.File.Path == "":
		v.fail("keys.file.path", "is empty; name the key file (forebay keys create --file adds keys to it), or set keys.source: postgres")
	}
	v.duration("keys.max_stale", k.MaxStale, time.Minute, 10*year)
	v.duration("keys.doubt_for", k.DoubtFor, 0, 7*24*time.Hour)
}

func (v *validator) limits(l Limits) {
	v.count("limits.batch_events", l.BatchEvents, 1, 10_000)
	v.bytes("limits.event_bytes", l.EventBytes, 64, maxBatchBytes)
	if v.bytes("limits.batch_bytes", l.BatchBytes, 64, maxBatchBytes) && l.BatchBytes < l.EventBytes {
		v.fail("limits.batch_bytes", "is less than limits.event_bytes (%s); a batch holds at least one event", l.EventBytes)
	}
	if v.bytes("limits.wire_bytes", l.WireBytes, 64, 64<<20) && l.WireBytes < l.BatchBytes {
		v.fail("limits.wire_bytes", "is less than limits.batch_bytes (%s); such a batch could not be sent", l.BatchBytes)
	}
	v.bytes("limits.string_bytes", l.StringBytes, 64, maxBatchBytes)
	v.bytes("limits.session_bytes", l.SessionBytes, 16, 4096)
	v.count("limits.depth", l.Depth, 2, 1000)
	v.duration("limits.timestamp_ahead", l.TimestampAhead, time.Second, year)
	v.duration("limits.timestamp_age", l.TimestampAge, time.Second, 100*year)
	if l.RequestsPerSecond <= 0 || l.RequestsPerSecond > 1e6 {
		v.fail("limits.requests_per_second", "expected more than 0 and at most 1000000")
	}
	v.count("limits.burst", l.Burst, 1, 10_000_000)
}

func (v *validator) privacy(p Privacy) {
	for _, rule := range p.Rules {
		if _, err := parseRule(rule); err != nil {
			v.fail("privacy.rules", "%v", err)
		}
	}
	if _, err := privacy.New(privacy.Options{DeniedKeys: p.DeniedKeys}); err != nil {
		v.fail("privacy.denied_keys", "%v", err)
	}
}

func (v *validator) wal(w WAL) {
	v.duration("wal.fsync_interval", w.FsyncInterval, time.Millisecond, time.Minute)
	v.bytes("wal.segment_bytes", w.SegmentBytes, 16<<10, 256<<20)
	if w.DiskBudget != 0 && w.DiskBudget < 4*w.SegmentBytes {
		v.fail("wal.disk_budget", "expected 0, or at least four times wal.segment_bytes (%s)", 4*w.SegmentBytes)
	}
	v.duration("wal.retain.age", w.Retain.Age, 0, 100*year)
}

func (v *validator) shippers(s Shippers) {
	if !s.ClickHouse.Enabled && !s.Session.Enabled && !s.Archive.Enabled {
		v.fail("shippers.archive.enabled", "no shipper is enabled, so events would be deleted undelivered; enable one")
	}
	if s.ClickHouse.Enabled {
		v.clickhouse(s.ClickHouse)
	}
	if s.Session.Enabled {
		v.session(s.Session)
	}
	if s.Archive.Enabled {
		v.bytes("shippers.archive.flush.bytes", s.Archive.Flush.Bytes, 1<<10, 16<<30)
		v.duration("shippers.archive.flush.age", s.Archive.Flush.Age, 10*time.Millisecond, time.Hour)
	}
}

func (v *validator) clickhouse(c ClickHouse) {
	if len(c.Addrs) == 0 {
		v.fail("shippers.clickhouse.addrs", "is empty; list the servers as host:port, or set enabled: false")
	}
	v.addrs("shippers.clickhouse.addrs", c.Addrs)
	v.addrs("shippers.clickhouse.replay_addrs", c.ReplayAddrs)
	v.identifier("shippers.clickhouse.database", c.Database, false)
	v.identifier("shippers.clickhouse.table", c.Table, false)
	v.identifier("shippers.clickhouse.cluster", c.Cluster, true)
	if c.Username == "" {
		v.fail("shippers.clickhouse.username", "is empty; name the user")
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		v.fail("shippers.clickhouse.tls.cert_file", "cert_file and key_file belong together; set both or none")
	}
	v.duration("shippers.clickhouse.dial_timeout", c.DialTimeout, 100*time.Millisecond, time.Minute)
	v.duration("shippers.clickhouse.read_timeout", c.ReadTimeout, time.Second, time.Hour)
	if c.TTL < 0 || c.TTL%time.Second != 0 {
		v.fail("shippers.clickhouse.ttl", "expected 0 or whole seconds, such as 720h")
	}
	v.count("shippers.clickhouse.flush.rows", c.Flush.Rows, 1, 1_000_000)
	v.bytes("shippers.clickhouse.flush.bytes", c.Flush.Bytes, 1<<10, 1<<30)
	v.duration("shippers.clickhouse.flush.age", c.Flush.Age, time.Millisecond, time.Hour)
}

// identifier is what a database, table or cluster may be called.
var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,127}$`)

func (v *validator) identifier(path, name string, optional bool) {
	if !identifier.MatchString(name) && (name != "" || !optional) {
		v.fail(path, "expected letters, digits, _ and -, a letter first")
	}
}

func (v *validator) session(s Session) {
	v.baseURL("shippers.session.url", s.URL)
	for _, u := range s.ReplayURLs {
		v.baseURL("shippers.session.replay_urls", u)
	}
	v.once("shippers.session.replay_urls", s.ReplayURLs)
	v.count("shippers.session.lanes", s.Lanes, 1, 4096)
	v.count("shippers.session.request.events", s.Request.Events, 1, 1000)
	v.bytes("shippers.session.request.bytes", s.Request.Bytes, 1<<10, 16<<20)
	v.duration("shippers.session.parked.max_age", s.Parked.MaxAge, time.Second, year)
}

const (
	year = 365 * 24 * time.Hour
	// maxBatchBytes keeps a stored batch, which may be somewhat larger than the body, below the
	// largest block of the log (4 MiB).
	maxBatchBytes Bytes = 2 << 20
)

func (v *validator) count(path string, n, least, most int) {
	if n < least || n > most {
		v.fail(path, "expected %d to %d", least, most)
	}
}

func (v *validator) bytes(path string, n, least, most Bytes) bool {
	if n < least || n > most {
		v.fail(path, "expected %s to %s", least, most)
		return false
	}
	return true
}

func (v *validator) duration(path string, d, least, most time.Duration) {
	if d < least || d > most {
		v.fail(path, "expected %s to %s", formatDuration(least), formatDuration(most))
	}
}
