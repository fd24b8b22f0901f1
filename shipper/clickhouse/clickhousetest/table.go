package clickhousetest

// PlainTable is what an operator creates on a server without DateTime64, TTL
// and codecs, such as Debian's 18.16: what create_table: false is for.
func PlainTable(name string) string {
	return "CREATE TABLE " + name + ` (
	project_id String, session_id String, event_type String, timestamp DateTime('UTC'), received_at DateTime('UTC'),
	route String, target_type String, target_id String, target_selector String, target_tag String,
	metadata String, environment String, idempotency_key String, sdk_version String, app_id String,
	node_id String, log_id String, seq UInt64
) ENGINE = ReplacingMergeTree() PARTITION BY toDate(received_at)
ORDER BY (project_id, session_id, received_at, log_id, seq)`
}
