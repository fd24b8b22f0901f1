package config

import "strings"

// field is one setting: the only place that knows its path, its default and its meaning.
type field struct {
	path   string // dotted, as in the file
	target any    // where the value is stored; parseValue lists the types
	def    string // as one would write it in the file
	choice string // the allowed values, separated by spaces, when the field is a choice
	secret bool   // the value is, or may hold, a secret
	live   bool   // a running node takes a change of it; the others want a restart
	doc    string // for the operator: meaning, unit, what 0 or empty means
}

// env is the field's environment variable.
func (f field) env() string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(f.path, ".", "_"))
}

// fields is the table of all settings, in the order of the file, bound to c.
func fields(c *Config) []field {
	return append(nodeFields(c), shipperFields(c)...)
}

func nodeFields(c *Config) []field {
	return []field{
		{path: "node.id", target: &c.Node.ID,
			doc: "Label of this node in rows, metrics and status, such as edge-1. Empty: the host's name."},
		{path: "node.data_dir", target: &c.Node.DataDir, def: "/var/lib/forebay",
			doc: "Directory of the log and the node's small state. One node at a time uses it."},

		{path: "log.level", live: true, target: &c.Log.Level, def: "info", choice: "debug info warn error",
			doc: "Least level that is logged, on standard error."},
		{path: "log.format", target: &c.Log.Format, def: "json", choice: "json text",
			doc: "Form of a log line."},

		{path: "ingest.listen", target: &c.Ingest.Listen, def: ":7070",
			doc: "Address of the front door, host:port. Port 0 takes a free one."},
		{path: "ingest.tls.cert_file", target: &c.Ingest.TLS.CertFile,
			doc: "PEM certificate chain of the front door. Empty: plain HTTP, for use behind a proxy that speaks TLS."},
		{path: "ingest.tls.key_file", target: &c.Ingest.TLS.KeyFile,
			doc: "PEM private key that belongs to cert_file."},
		{path: "ingest.trusted_proxies", live: true, target: &c.Ingest.TrustedProxies,
			doc: "Addresses or CIDR ranges whose X-Forwarded-For is believed. Empty: the client is the peer of the connection."},
		{path: "ingest.event_types", live: true, target: &c.Ingest.EventTypes,
			def: "click,scroll,input,input_focus,input_blur,form_submit,navigation,error,unhandled_rejection,network,performance,loading",
			doc: "The eventType values that are accepted. A single \"*\" accepts all."},

		{path: "admin.listen", target: &c.Admin.Listen, def: "127.0.0.1:7071",
			doc: "Address of the admin API, console and metrics: host:port, or unix:/path. Beyond loopback a token is required."},
		{path: "admin.token_file", target: &c.Admin.TokenFile,
			doc: "File that holds the token of the admin API. Empty: no token, which is allowed on loopback and a Unix socket only."},
		{path: "admin.nodes", live: true, target: &c.Admin.Nodes,
			doc: "Admin addresses of other nodes, which this node's console shows beside it. They are asked with this node's token. At most 1,000."},

		{path: "keys.source", target: &c.Keys.Source, def: KeysPostgres, choice: KeysPostgres + " " + KeysFile,
			doc: "Where API keys come from."},
		{path: "keys.postgres.dsn", target: &c.Keys.Postgres.DSN, secret: true,
			doc: "Connection string of the key database. Prefer dsn_file when it holds a password."},
		{path: "keys.postgres.dsn_file", target: &c.Keys.Postgres.DSNFile,
			doc: "File that holds the connection string, in place of dsn."},
		{path: "keys.file.path", target: &c.Keys.File.Path,
			doc: "The key file, when it is the source. It is read again whenever it changes."},
		{path: "keys.max_stale", live: true, target: &c.Keys.MaxStale, def: "168h",
			doc: "How long the cached keys serve while their source cannot be reached."},
		{path: "keys.doubt_for", live: true, target: &c.Keys.DoubtFor, def: "1h",
			doc: "How long a source that has lost all keys, or more than half and at least 3, at once is not believed: the lost keys stay in force. Revoked keys are revoked at once. 0: not at all; at most 168h."},

		{path: "limits.batch_events", live: true, target: &c.Limits.BatchEvents, def: "100",
			doc: "Most events in a request. A larger batch is dropped whole."},
		{path: "limits.batch_bytes", live: true, target: &c.Limits.BatchBytes, def: "500KiB",
			doc: "Largest decoded body. A larger batch is dropped whole."},
		{path: "limits.event_bytes", live: true, target: &c.Limits.EventBytes, def: "10KiB",
			doc: "Largest event. A larger one is dropped, its neighbours are kept."},
		{path: "limits.wire_bytes", live: true, target: &c.Limits.WireBytes, def: "2MiB",
			doc: "Most bytes of a body, as sent, that are read; past it the connection is closed."},
		{path: "limits.string_bytes", live: true, target: &c.Limits.StringBytes, def: "10000",
			doc: "Longest text or key within an event, escapes decoded."},
		{path: "limits.session_bytes", live: true, target: &c.Limits.SessionBytes, def: "256",
			doc: "Longest sessionId."},
		{path: "limits.depth", live: true, target: &c.Limits.Depth, def: "10",
			doc: "Deepest nesting of an event; the event itself is 1."},
		{path: "limits.timestamp_ahead", live: true, target: &c.Limits.TimestampAhead, def: "24h",
			doc: "How far an event's timestamp may be ahead of the node's clock."},
		{path: "limits.timestamp_age", live: true, target: &c.Limits.TimestampAge, def: "720h",
			doc: "How old an event's timestamp may be."},
		{path: "limits.requests_per_second", live: true, target: &c.Limits.RequestsPerSecond, def: "1000",
			doc: "Requests per second of a key that sets no rate of its own."},
		{path: "limits.burst", live: true, target: &c.Limits.Burst, def: "2000",
			doc: "Requests that such a key may send at once."},

		{path: "privacy.action", live: true, target: &c.Privacy.Action, def: PrivacyDrop, choice: PrivacyDrop + " " + PrivacyReport,
			doc: "What happens to an event with personal data: it is dropped, or it is kept and only counted."},
		{path: "privacy.rules", live: true, target: &c.Privacy.Rules,
			doc: "Exceptions, each DETECTOR=ACTION, or PROJECT/DETECTOR=ACTION for one project, such as phone=report. Detectors: " + detectorNames() + "."},
		{path: "privacy.denied_keys", live: true, target: &c.Privacy.DeniedKeys,
			doc: "Names of fields that count as personal data, in addition to the built-in ones. Case, _ and - do not matter."},

		{path: "dedupe.window", target: &c.Dedupe.Window, def: "24h",
			doc: "How long an idempotency key is remembered, as far as max_keys and the retained log reach."},
		{path: "dedupe.max_keys", target: &c.Dedupe.MaxKeys, def: "1000000",
			doc: "Most keys that are remembered, at up to 32 bytes of memory each. The oldest go first."},

		{path: "wal.fsync", target: &c.WAL.Fsync, def: FsyncAlways, choice: FsyncAlways + " " + FsyncInterval,
			doc: "always: a reply waits until its events are on disk. interval: replies do not wait, so a crash of the machine or a power cut loses up to fsync_interval of events that were already answered."},
		{path: "wal.fsync_interval", target: &c.WAL.FsyncInterval, def: "50ms",
			doc: "Time between syncs when fsync is interval; not used otherwise."},
		{path: "wal.segment_bytes", target: &c.WAL.SegmentBytes, def: "8MiB",
			doc: "Size of a log file. The node holds about two of them in memory; history is deleted a file at a time."},
		{path: "wal.compression", target: &c.WAL.Compression, def: "s2", choice: "none s2 zstd",
			doc: "Compression of the log: s2 is fast, zstd smaller."},
		{path: "wal.disk_budget", live: true, target: &c.WAL.DiskBudget, def: "0",
			doc: "Most disk the log may take. 0: 80 % of the file system. Near it new events are dropped and counted, accepted ones never."},
		{path: "wal.retain.age", live: true, target: &c.WAL.Retain.Age, def: "24h",
			doc: "How long shipped events are kept for rewinding. 0: no limit by age. They go earlier when the disk fills."},
		{path: "wal.retain.bytes", live: true, target: &c.WAL.Retain.Bytes, def: "0",
			doc: "Most bytes of shipped events that are kept for rewinding. 0: no limit by size."},

		{path: "audit.every", target: &c.Audit.Every, def: "10m",
			doc: "How often the node asks ClickHouse and the Session Manager for what was delivered since, to prove that it is there; 1s to 24h. What was proven is looked at again within about 30m. 0: only while an operator has switched it on (forebay audit --watch)."},
	}
}

func shipperFields(c *Config) []field {
	clickhouse, session, archive := &c.Shippers.ClickHouse, &c.Shippers.Session, &c.Shippers.Archive
	return []field{
		{path: "shippers.clickhouse.enabled", target: &clickhouse.Enabled, def: "true",
			doc: "Ship every event to ClickHouse."},
		{path: "shippers.clickhouse.addrs", target: &clickhouse.Addrs, def: "127.0.0.1:9000",
			doc: "Servers, host:port, that are replicas of one table."},
		{path: "shippers.clickhouse.replay_addrs", target: &clickhouse.ReplayAddrs,
			doc: "Further servers, host:port, to which a replay may send the password. To others it goes without."},
		{path: "shippers.clickhouse.protocol", target: &clickhouse.Protocol, def: "native", choice: "native http",
			doc: "Protocol of those ports: native (usually 9000) or http (usually 8123)."},
		{path: "shippers.clickhouse.database", target: &clickhouse.Database, def: "default",
			doc: "Database of the table. It must exist."},
		{path: "shippers.clickhouse.table", target: &clickhouse.Table, def: "events",
			doc: "The table."},
		{path: "shippers.clickhouse.username", target: &clickhouse.Username, def: "default",
			doc: "User name."},
		{path: "shippers.clickhouse.password_file", target: &clickhouse.PasswordFile,
			doc: "File that holds the password. Empty: no password."},
		{path: "shippers.clickhouse.compression", target: &clickhouse.Compression, def: "lz4", choice: "lz4 zstd none",
			doc: "Compression on the wire."},
		{path: "shippers.clickhouse.tls.enabled", target: &clickhouse.TLS.Enabled, def: "false",
			doc: "Speak TLS to the servers."},
		{path: "shippers.clickhouse.tls.ca_file", target: &clickhouse.TLS.CAFile,
			doc: "PEM certificates of the authorities that are trusted. Empty: those of the system."},
		{path: "shippers.clickhouse.tls.cert_file", target: &clickhouse.TLS.CertFile,
			doc: "PEM certificate that the node shows. Empty: none."},
		{path: "shippers.clickhouse.tls.key_file", target: &clickhouse.TLS.KeyFile,
			doc: "PEM private key that belongs to cert_file."},
		{path: "shippers.clickhouse.tls.server_name", target: &clickhouse.TLS.ServerName,
			doc: "Name that the server's certificate has to be for. Empty: the host of its address."},
		{path: "shippers.clickhouse.dial_timeout", target: &clickhouse.DialTimeout, def: "5s",
			doc: "Longest time that a connection and its handshake may take. 100ms to 1m."},
		{path: "shippers.clickhouse.read_timeout", target: &clickhouse.ReadTimeout, def: "1m",
			doc: "Longest time without an answer until a query counts as failed; an insert has twice that. 1s to 1h."},
		{path: "shippers.clickhouse.create_table", target: &clickhouse.CreateTable, def: "true",
			doc: "Create the table when it is missing. false: it is the operator's own, with these columns or some of them."},
		{path: "shippers.clickhouse.optional_columns", target: &clickhouse.OptionalColumns,
			doc: "Columns that a table of the operator's own is meant to lack: that their values are not stored is in order."},
		{path: "shippers.clickhouse.ttl", target: &clickhouse.TTL, def: "720h",
			doc: "How long rows live in a table that the node creates. 0: for ever."},
		{path: "shippers.clickhouse.cluster", target: &clickhouse.Cluster,
			doc: "Cluster on which the table is created. Empty: on the one server."},
		{path: "shippers.clickhouse.replicated.enabled", target: &clickhouse.Replicated.Enabled, def: "false",
			doc: "Create a replicated table."},
		{path: "shippers.clickhouse.replicated.path", target: &clickhouse.Replicated.Path,
			doc: "Path of the table in ClickHouse Keeper. Empty: /clickhouse/tables/{shard}/DATABASE/TABLE."},
		{path: "shippers.clickhouse.replicated.replica", target: &clickhouse.Replicated.Replica,
			doc: "Name of the replica there. Empty: {replica}, which each server knows for itself."},
		{path: "shippers.clickhouse.flush.rows", live: true, target: &clickhouse.Flush.Rows, def: "50000",
			doc: "Most rows of an insert."},
		{path: "shippers.clickhouse.flush.bytes", live: true, target: &clickhouse.Flush.Bytes, def: "32MiB",
			doc: "Most bytes of an insert."},
		{path: "shippers.clickhouse.flush.age", live: true, target: &clickhouse.Flush.Age, def: "1s",
			doc: "Longest time that an insert waits to fill."},

		{path: "shippers.session.enabled", target: &session.Enabled, def: "true",
			doc: "Ship every event, in the order of its session, to a Session Manager."},
		{path: "shippers.session.url", target: &session.URL, secret: true, def: "http://127.0.0.1:8081",
			doc: "Its base URL; /v1/sessions/events is appended."},
		{path: "shippers.session.replay_urls", target: &session.ReplayURLs,
			doc: "Further Session Managers, base URLs, to which a replay may send the token. To others it goes without."},
		{path: "shippers.session.token_file", target: &session.TokenFile,
			doc: "File that holds the bearer token for it. Empty: no token."},
		{path: "shippers.session.ca_file", target: &session.CAFile,
			doc: "PEM certificates that are trusted in place of the system's, for an https URL."},
		{path: "shippers.session.gzip", target: &session.Gzip, def: "false",
			doc: "Compress requests."},
		{path: "shippers.session.lanes", target: &session.Lanes, def: "32",
			doc: "Sessions that are sent to at the same time."},
		{path: "shippers.session.request.events", target: &session.Request.Events, def: "100",
			doc: "Most events of a request. 1 to 1000. What the Session Manager refuses for its size goes in smaller requests by itself."},
		{path: "shippers.session.request.bytes", target: &session.Request.Bytes, def: "512KiB",
			doc: "Most bytes of events in a request, before compression; a larger event goes alone. 1 KiB to 16 MiB."},
		{path: "shippers.session.parked.max_age", target: &session.Parked.MaxAge, def: "1h",
			doc: "How long a session that fails is retried before its events are set aside as dead letters."},

		{path: "shippers.archive.enabled", target: &archive.Enabled, def: "false",
			doc: "Write every event to compressed files on this machine."},
		{path: "shippers.archive.dir", target: &archive.Dir,
			doc: "Directory of those files. Empty: archive under node.data_dir."},
		{path: "shippers.archive.flush.bytes", target: &archive.Flush.Bytes, def: "64MiB",
			doc: "Size, before compression, at which a file is completed."},
		{path: "shippers.archive.flush.age", target: &archive.Flush.Age, def: "10s",
			doc: "Longest time that a file waits to fill."},
	}
}

// sections says, for the sample, what each group of settings is about.
func sections() map[string]string {
	return map[string]string{
		"node":                           "Who this node is and where it keeps its data.",
		"log":                            "The node's own log lines.",
		"ingest":                         "The front door, where SDKs post events.",
		"ingest.tls":                     "Both files or none.",
		"admin":                          "The operators' listener: API, console, metrics.",
		"keys":                           "API keys, kept in memory and cached on disk: no request waits for their source.",
		"keys.postgres":                  "Exactly one of the two when the source is postgres.",
		"keys.file":                      "The file when the source is file.",
		"limits":                         "What one request may hold and how often a key may send.",
		"privacy":                        "Events with personal data in them.",
		"dedupe":                         "Events that are sent twice, recognised by their idempotencyKey.",
		"audit":                          "The watch that proves what was delivered.",
		"wal":                            "The log on disk, which every event is in before its request is answered.",
		"wal.retain":                     "History that every shipper has passed, kept for rewinding.",
		"shippers":                       "Where events go. At least one is enabled; each goes at its own pace.",
		"shippers.clickhouse":            "Rows in ClickHouse.",
		"shippers.clickhouse.tls":        "Connections to the servers.",
		"shippers.clickhouse.replicated": "Replication of a table that the node creates.",
		"shippers.clickhouse.flush":      "An insert is sent at whichever is reached first.",
		"shippers.session":               "Sessions, each in order, to a Session Manager over HTTP.",
		"shippers.session.request":       "A request is sent as soon as its session's turn comes, with what has gathered, up to these.",
		"shippers.session.parked":        "Sessions that the Session Manager refuses or fails.",
		"shippers.archive":               "Files of JSON lines, compressed with zstd.",
		"shippers.archive.flush":         "A file is completed at whichever is reached first, and at the end of the hour.",
	}
}
