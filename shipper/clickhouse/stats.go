package clickhouse

import "sync"

// Stats is what the sink did since it was made, and what it knows of the
// server that it last met.
type Stats struct {
	Inserts  uint64 `json:"inserts"`  // acknowledged
	Rows     uint64 `json:"rows"`     // in them
	Failed   uint64 `json:"failed"`   // inserts without an acknowledgement
	Settled  uint64 `json:"settled"`  // plans brought to their end by reading the table
	Repaired uint64 `json:"repaired"` // rows sent again because the table lacked them

	// What was refused for its size left: 0 is no limit.
	InsertRows    int    `json:"insert_rows,omitempty"`     // as many go in one insert at most
	InsertRowsWhy string `json:"insert_rows_why,omitempty"` // the last such refusal
	ReadRows      int    `json:"read_rows,omitempty"`       // as many are looked for at once at most

	LastQueryID   string   `json:"last_query_id,omitempty"` // also the insert's token
	Addr          string   `json:"addr,omitempty"`
	ServerVersion string   `json:"server_version,omitempty"`
	Tokens        string   `json:"tokens,omitempty"` // whether the server drops a repeated insert, see Sink.Stats
	Schema        []string `json:"schema,omitempty"` // what the table lacks

	Table    string     `json:"table,omitempty"`    // with its database; "": not read yet
	Unstored []Unstored `json:"unstored,omitempty"` // the columns that it does not keep, see Lacking
}

type counters struct {
	mu      sync.Mutex
	stats   Stats
	omitted map[string]uint64 // values that were not stored, by column
	proven  map[string]string // what the probe of tokens found, by address and version
}

// met notes the server that a connection was made to.
func (c *counters) met(srv *server, schema []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Addr, c.stats.ServerVersion, c.stats.Schema = srv.addr, srv.version, schema
	c.stats.Tokens = srv.expectTokens()
	if found, has := c.proven[proof(srv)]; has && c.stats.Tokens == tokensExpected {
		c.stats.Tokens = found
	}
}

// unproven tells whether tokens should work on the server, but were not yet
// seen to.
func (c *counters) unproven(srv *server) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, has := c.proven[proof(srv)]
	return !has && srv.expectTokens() == tokensExpected
}

// found notes what the probe of tokens came to.
func (c *counters) found(srv *server, result string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.proven == nil {
		c.proven = map[string]string{}
	}
	c.proven[proof(srv)] = result
	c.stats.Tokens = result
}

// proof is what a proof holds for; its number is bounded by the addresses
// and their upgrades.
func proof(srv *server) string { return srv.addr + " " + srv.version }

func (c *counters) change(f func(*Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.stats)
}
