// Package archive is the sink that needs nothing but a directory: it writes every event to compressed
// files of JSON lines, each line a row with the columns of package columns.
//
//	20261123T10-00000000000000000001-00000000000000004711-e1-8f0c2a44d1b7.ndjson.zst
//	│           │                    │                    │  └ the first 12 digits of the log's id
//	│           │                    │                    └ the cursor's epoch
//	│           │                    └ last seq
//	│           └ first seq
//	└ the hour of received_at, UTC
//
// A file with such a name is complete: it is written under another name, synced, renamed, and the
// directory synced, in this order; only then does the cursor move. It holds every event of the log with a
// seq from first to last, save those that were lost or became dead letters, in order. clickhouse local
// reads it as it is:
//
//	SELECT event_type, count() FROM file('archive/*.ndjson.zst', JSONEachRow) GROUP BY event_type
//
// A file is completed when the hour of received_at ends, at a size, or at an age, whichever comes first.
//
// # Once
//
// Within an epoch no event is in two files. What a crash left unfinished is removed and written anew
// from the cursor's position. A file that was completed before the position was saved is recognised
// by its name, and the position follows it. After a rewind the epoch is another one and so are the names:
// the events are then in files of both epochs, and (log_id, seq) tells which are the same. Letters that
// were requeued come in files of their own, whose names end in -fill, at least once.
//
// The archive deletes nothing. Files may be moved away at any time, except the newest: move that one only
// while the node is stopped, since its name may still be needed.
package archive

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"forebay/shipper"
	"forebay/wal/durable"
)

// Options say where and when files are written.
type Options struct {
	Dir    string        // made if it is missing
	NodeID string        // column node_id
	Bytes  int64         // of lines, before compression, at which a file is completed; 0: 64 MiB
	Age    time.Duration // longest time from a file's first event to its completion; 0: 10 s
	Logger *slog.Logger  // nil discards
}

// Sink writes the files. It implements shipper.Sink.
type Sink struct {
	options Options
	disk    disk
	encoder *zstd.Encoder // one Ship runs at a time

	mu    sync.Mutex
	stats Stats
}

// Stats counts what was completed since the start.
type Stats struct {
	Files  uint64 `json:"files"`
	Events uint64 `json:"events"`
	Bytes  uint64 `json:"bytes"`          // on disk
	Last   string `json:"last,omitempty"` // name of the newest file; empty: none yet
}

// New makes the directory and returns the sink. The error says what is wrong with the directory.
func New(o Options) (*Sink, error) {
	if o.Bytes <= 0 {
		o.Bytes = 64 << 20
	}
	if o.Age <= 0 {
		o.Age = 10 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if err := durable.MakeDir(o.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("archive: the directory cannot be made (choose another in shippers.archive.dir, or give this user the right to write there): %w", err)
	}
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	return &Sink{options: o, disk: osDisk{}, encoder: encoder}, nil
}

// Flush is what the cursor of an archive is to be added with: small steps, since the sink itself
// gathers them into files.
func Flush() shipper.Flush { return shipper.Flush{Rows: 5000, Bytes: 4 << 20} }

// Status implements shipper.Reporter.
func (s *Sink) Status() any { return s.Stats() }

// Stats returns the counters.
func (s *Sink) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// completed counts a file.
func (s *Sink) completed(f *file) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Files++
	s.stats.Events += uint64(f.events)
	s.stats.Bytes += uint64(f.written)
	s.stats.Last = f.name
}

// Ship implements shipper.Sink. A disk that is full or fails is tried again for ever, with pauses.
func (s *Sink) Ship(ctx context.Context, feed *shipper.Feed) error {
	ctx, cancel := context.WithCancel(ctx)
	batches := make(chan taken)
	var reader sync.WaitGroup
	reader.Go(func() { read(ctx, feed, batches) })
	defer reader.Wait() // feed.Next must have ended when Ship returns
	defer cancel()

	r := &run{sink: s, feed: feed}
	if !feed.Fill() {
		r.position, r.next = feed.Start(), feed.Start()
	}
	err := r.ship(ctx, batches)
	if r.file != nil { // the events in it are written again from the cursor's position
		r.file.discard(s.disk)
	}
	return err
}

// taken is what feed.Next returned.
type taken struct {
	batch *shipper.Batch
	err   error
}

// read hands over the feed's batches until its end, which it hands over too.
func read(ctx context.Context, feed *shipper.Feed, out chan<- taken) {
	for {
		batch, err := feed.Next(ctx)
		select {
		case out <- taken{batch, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// Dated implements shipper.Dated: files are named by the hour in which events came.
func (s *Sink) Dated() {}
