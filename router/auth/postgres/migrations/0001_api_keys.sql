-- Who may send. A key is known by the SHA-256 of its text alone.
CREATE TABLE forebay_api_keys (
    key_sha256          bytea PRIMARY KEY CHECK (octet_length(key_sha256) = 32),
    project             text NOT NULL CHECK (octet_length(project) BETWEEN 1 AND 128),
    -- 0: the node's default
    requests_per_second double precision NOT NULL DEFAULT 0 CHECK (requests_per_second BETWEEN 0 AND 1000000),
    burst               integer NOT NULL DEFAULT 0 CHECK (burst BETWEEN 0 AND 10000000),
    strict              boolean NOT NULL DEFAULT false,
    -- empty: any
    origins             text[] NOT NULL DEFAULT '{}' CHECK (cardinality(origins) <= 100 AND array_position(origins, NULL) IS NULL),
    created_at          timestamptz NOT NULL DEFAULT now(),
    expires_at          timestamptz CHECK (isfinite(expires_at)),
    revoked_at          timestamptz CHECK (isfinite(revoked_at))
);

-- Nodes listen on this channel, and read the table again when they hear of a change.
CREATE FUNCTION forebay_api_keys_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('forebay_api_keys', '');
    RETURN NULL;
END
$$;

CREATE TRIGGER forebay_api_keys_changed
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON forebay_api_keys
    FOR EACH STATEMENT EXECUTE FUNCTION forebay_api_keys_changed();
