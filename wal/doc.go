// Package wal is a durable, segmented log of opaque entries.
//
// # The life of a record
//
// A caller hands an [Entry] to [Log.Append]: bytes, the number of events in
// them, and digests of their idempotency keys. Append copies it into the open
// group and waits. One goroutine, the committer, takes the group as soon as the
// disk is free; the next group fills meanwhile. It gives the group the next seqs
// and a commit time, compresses it, frames it as one block with checksums,
// writes the block with one write to the newest segment file, syncs once, and
// only then moves the durable position and wakes the appenders. So an Append
// that has returned is on the disk, and many appends share one sync.
//
// A [Reader] has its own file handle and reads the segment files up to the
// durable position, never past it. At the tail it is told of a block when the
// next one is on its way to the disk, or 2 ms after it; the newest four blocks it
// takes from memory. It checks each block that it reads. Where one is damaged it looks for the next good
// one, and that comes with a [Gap] naming exactly the seqs that were lost;
// nothing damaged is delivered and nothing intact is left out.
//
// When a segment file has grown to [Options].SegmentBytes it is sealed and an
// empty one is started. [Log.Retain] deletes whole sealed files, oldest first.
//
// # When things fail
//
// After a write or sync that failed, nothing is known about what the disk
// holds behind the durable position. The log closes for appends
// ([UnavailableError]), its readers go on, and the committer tries until it
// has brought the newest file back to the durable position and started a new
// one. After a crash [Open] does the same: it cuts a torn tail, keeps a copy of
// it in the quarantine folder, and says so in [Recovery].
//
// # What it is built on
//
// tidwall/wal is the appender underneath: its files and names, and its Open,
// LastIndex, WriteBatch, Sync, ClearCache and Close. No block is ever read
// through it. One of its entries is one block. FORMAT.md specifies every byte, the crash cases
// and the assumptions.
//
// A goroutine in fsync holds a processor for a while, so a program with this
// log wants GOMAXPROCS above the number of cores, 4 or more.
package wal
