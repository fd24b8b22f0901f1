package wal

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Defaults of [Options].
const (
	DefaultSegmentBytes    = 8 << 20
	DefaultMaxPendingBytes = 32 << 20
	DefaultMaxBlockBytes   = 4 << 20
	DefaultQuarantineBytes = 64 << 20
	DefaultReserveBytes    = 16 << 20
)

// Options configure [Open]. Dir is required; the zero value of every other
// field is a usable default.
type Options struct {
	// Dir is the log's directory; it is made if missing. One log owns it.
	Dir string
	// ReadOnly opens a stopped log for looking at it: nothing in the directory
	// is changed, a torn tail stays and is not read, appends are refused.
	ReadOnly bool
	// SegmentBytes is the size from which a segment file is sealed and the next
	// one started. A file ends with a whole block, so it may be larger by one
	// block. Default 8 MiB; a segment is also what the appender holds in memory.
	SegmentBytes int64
	// Compression of the blocks written. Blocks of any compression can be read.
	// The zero value is none.
	Compression Compression
	// SyncInterval 0 syncs every group before its appends return. Above 0,
	// appends return once written and the file is synced this often: a crash of
	// the machine, or a sync that fails, then loses up to that much of what was
	// accepted. A crash of the process alone loses nothing.
	SyncInterval time.Duration
	// MaxPendingBytes bounds the appends that wait for the disk, default 32 MiB.
	MaxPendingBytes int64
	// MaxBlockBytes bounds the data of one entry, and the payload of a block of
	// several before compression, default 4 MiB. A block of one entry may be
	// larger by its framing, so it is at most 10 bytes less than 64 MiB.
	MaxBlockBytes int
	// Floor is the highest seq that is known to be used elsewhere, such as by a
	// cursor: the next seq is above it even if the log ends before.
	Floor uint64
	// Built is a time that has come for certain: a clock before it is not believed.
	Built time.Time
	// ClockSettle is how long a clock that contradicts what is known, or has jumped
	// back, must go on steadily before it is believed. Default 10 min.
	ClockSettle time.Duration
	// ReserveBytes is the size of a file that is given up when the disk is full,
	// so that recovery and deletion have room; appends go on once it is back.
	// Default 16 MiB; negative for none.
	ReserveBytes int64
	// QuarantineBytes bounds the copies of damaged bytes that are kept in the
	// quarantine folder, default 64 MiB; negative keeps none. Past it damage is
	// still reported, but not copied.
	QuarantineBytes int64
	// Now is the wall clock, for tests of clock jumps; nil is time.Now.
	Now func() time.Time
	// Logger hears of recovery, damage, failures and their end; nil discards.
	Logger *slog.Logger
	// OnCommit, if set, is called after each commit by the goroutine that
	// commits; it must not block or call the log.
	OnCommit func(Commit)

	exclusive bool // ReadOnly, but nobody else may even read
}

// Commit describes one group commit, for histograms.
type Commit struct {
	Sync    time.Duration // how long the sync took; 0 where none was made
	Total   time.Duration // encoding, writing and sync
	Entries int
	Events  int
	Bytes   int64 // bytes written to the segment file
	RawSize int64 // bytes of the payload before compression
}

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, errors.New("wal: Options.Dir is empty")
	}
	setDefault(&o.SegmentBytes, DefaultSegmentBytes)
	setDefault(&o.MaxPendingBytes, DefaultMaxPendingBytes)
	setDefault(&o.MaxBlockBytes, DefaultMaxBlockBytes)
	setDefault(&o.ReserveBytes, DefaultReserveBytes)
	setDefault(&o.QuarantineBytes, DefaultQuarantineBytes)
	switch {
	case o.SegmentBytes < 0 || o.SegmentBytes > 1<<30:
		return o, fmt.Errorf("wal: SegmentBytes %d: want 1 to %d", o.SegmentBytes, 1<<30)
	case o.MaxPendingBytes < 0:
		return o, fmt.Errorf("wal: MaxPendingBytes %d is negative", o.MaxPendingBytes)
	case o.MaxBlockBytes < 0 || o.MaxBlockBytes > maxPayloadSize-maxEntryFrame:
		return o, fmt.Errorf("wal: MaxBlockBytes %d: want 1 to %d", o.MaxBlockBytes, maxPayloadSize-maxEntryFrame)
	case o.SyncInterval < 0:
		return o, fmt.Errorf("wal: SyncInterval %v is negative", o.SyncInterval)
	case !o.Compression.known():
		return o, fmt.Errorf("wal: %v is unknown", o.Compression)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.ClockSettle <= 0 {
		o.ClockSettle = clockSettle
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

func setDefault[T int | int64](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}
