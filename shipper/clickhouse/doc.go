// Package clickhouse ships events into a ClickHouse table, each once.
//
//	Feed.Next ─▶ prepare ─▶ plan saved ─▶ one insert ─▶ acknowledged ─▶ Feed.Advance
//	             (columns)    (durable)     (one block)        │
//	                                                           └─ or anything else
//	                                                                  │
//	                            ┌─────────────────────────────────────┘
//	                            ▼
//	                 which seqs of the plan are in the table?
//	                 all ─▶ Feed.Advance    none, a part ─▶ send what is missing, read again
//
// A batch is split so that one insert is one block of one log and one day of
// received_at: with the table that this package creates, one part, which is
// there as a whole or not at all. Before it is sent the plan (range, rows,
// token) is durable, so that after a crash of either side it is known what
// may have arrived. The token makes the server drop a repeat; it is never
// trusted alone: every plan that was not cleanly acknowledged is settled by
// reading. DELIVERY.md beside package shipper has the states and the crash
// cases.
//
// Where to begin reading: [Sink.Ship] in sink.go is the loop, deliver.go one
// plan's way, settle.go what happens when it did not go well, errors.go what
// the server's answers mean, table.go and schema.go the table.
package clickhouse
