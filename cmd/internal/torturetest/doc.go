// Package torturetest is someone who wants a node to fail. It runs a node as a process, with a real ClickHouse, a real
// PostgreSQL and the reference receiver, lets clients send, and meanwhile kills, freezes, cuts off, fills and damages
// what it can reach; then it lets everything come to rest and compares what became of each event with its own record.
//
//	clients ──▶ link ──▶ node ──▶ link ──▶ ClickHouse
//	   │                 │  │ └─▶ link ──▶ receiver
//	   ▼                 │  └───▶ link ──▶ PostgreSQL
//	  book  ◀── oracle   └ data directory on a small disk of its own
//
// What it does next is drawn from a seed and the number of the step alone, so a run can be repeated; how the processes
// interleave is up to the machine. See node/TORTURE.md.
package torturetest
