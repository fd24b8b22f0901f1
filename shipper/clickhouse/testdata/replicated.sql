CREATE TABLE IF NOT EXISTS `default`.`events`
(
    `project_id` LowCardinality(String),
    `session_id` String CODEC(ZSTD(1)),
    `event_type` LowCardinality(String),
    `timestamp` DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    `received_at` DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    `route` String CODEC(ZSTD(1)),
    `target_type` LowCardinality(String),
    `target_id` String CODEC(ZSTD(1)),
    `target_selector` String CODEC(ZSTD(1)),
    `target_tag` LowCardinality(String),
    `metadata` String CODEC(ZSTD(1)),
    `environment` LowCardinality(String),
    `idempotency_key` String CODEC(ZSTD(1)),
    `sdk_version` LowCardinality(String),
    `app_id` LowCardinality(String),
    `node_id` LowCardinality(String),
    `log_id` LowCardinality(String),
    `seq` UInt64 CODEC(Delta(8), ZSTD(1)),
    `extra` String CODEC(ZSTD(1))
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/default/events', '{replica}')
PARTITION BY toDate(received_at)
ORDER BY (project_id, session_id, received_at, log_id, seq)
TTL toDateTime(received_at) + toIntervalSecond(2592000)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, ttl_only_drop_parts = 1, replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;
