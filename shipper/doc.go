// Package shipper moves accepted events from the log to where they are
// wanted, and remembers how far it came.
//
//	         wal.Log (durable blocks)
//	            │ Reader, up to the durable position
//	            ▼
//	Cursor ── Feed ──▶ Sink.Ship          one of clickhouse, session, archive
//	  │         │          │
//	  │         │          └─▶ the outside, retried for ever
//	  │         ├─ SavePlan    what is about to be sent, durable before it is sent
//	  │         ├─ Advance     everything below is done, durable
//	  │         ├─ Bury        an event that can never be delivered, and why
//	  │         └─ Report      what operators see
//	  └─ State (Pebble)
//
// There is one cursor machine, the same for every sink. It owns the position,
// the epoch, pause, rewind and restart; a [Sink] owns only how events are
// carried out, and sees nothing but a [Feed]. [Cursors] are those of a node;
// they are independent, so that a dead sink slows nobody else. [Replays] are
// cursors over a part of the log, run by the same machine; each ends when its
// part is delivered.
//
// [Audits] ask a destination what it holds, and hold that against what the
// cursors delivered: they prove a stretch, heal what is missing there, and watch
// by proving again now and then.
//
// # Delivery
//
// A position moves only after the sink has confirmed everything below it, so
// delivery is at least once whatever dies; what makes it exactly once is the
// sink's own affair (see DELIVERY.md): tokens, plans and reconciliation in
// ClickHouse, sequence numbers and epochs at the Session Manager.
//
// # Epochs
//
// A rewind moves the position back and takes a new epoch, a number that is
// never reused on a node. Receivers tell by it that older sequence numbers
// are meant to come again.
package shipper
