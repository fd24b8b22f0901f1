// Package node puts a Forebay node together and runs it.
//
//	SDKs ──HTTP──▶ router ──Append──▶ wal ──Reader──▶ cursors ──▶ ClickHouse
//	                 │ ▲               │                 │    └─▶ Session Manager
//	     keys ───────┘ │               │                 └─▶ archive
//	  (file, postgres) └── gate ◀── disk keeper        state (Pebble)
//
// Things start in the order in which they depend on each other, and stop in
// the reverse: data directory and its lock, state, log, keys, cursors, and the
// listeners of front door and admin API, which answer once cursors and replays
// have begun. A stop closes the front door first, lets appends in flight finish,
// then ends the shippers, saves the ledger, ends the admin API, and closes log,
// state and directory. Nothing needs to be saved for safety: what
// was acknowledged is on disk before.
//
// What else is here watches and accounts: the disk keeper (retention,
// watermarks, forecast), the ledger, the health checks, and the metrics.
package node
