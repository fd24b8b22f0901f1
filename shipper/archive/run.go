package archive

import (
	"context"
	"errors"
	"io"
	"time"

	"forebay/shipper"
	"forebay/shipper/columns"
)

// rereadSeqs is how many seqs are read again at a time, to write a file anew.
const rereadSeqs = 1000

// run is one call of Ship.
type run struct {
	sink     *Sink
	feed     *shipper.Feed
	found    map[place]uint64 // complete files that the cursor may not have passed: last seqs
	position uint64           // the first seq that is in no complete file; of a fill, that the feed has not advanced over
	next     uint64           // the first seq that is in no file at all
	file     *file            // the unfinished one; nil: none
	backoff  shipper.Backoff
}

// ship takes batches until the feed ends.
func (r *run) ship(ctx context.Context, batches <-chan taken) error {
	if err := r.find(ctx); err != nil {
		return err
	}
	for {
		var old <-chan time.Time
		if r.file != nil {
			old = r.file.old.C
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-old:
			if err := r.complete(ctx); err != nil {
				return err
			}
		case t := <-batches:
			if errors.Is(t.err, io.EOF) {
				return r.complete(ctx)
			}
			if t.err != nil {
				return t.err
			}
			if err := r.take(ctx, t.batch); err != nil {
				return err
			}
		}
	}
}

// find lists the complete files from the cursor's position on. There is one at most, unless the node's
// state was put back to an older copy.
func (r *run) find(ctx context.Context) error {
	for {
		found, err := findComplete(r.sink.options.Dir, r.feed.Epoch(), r.position)
		if err == nil {
			r.found = found
			return nil
		}
		r.feed.Report(err)
		if err := r.feed.Rest(ctx, r.backoff.Next()); err != nil {
			return err
		}
	}
}

// take writes a batch, completing files where the hour, the log or the size asks for it.
func (r *run) take(ctx context.Context, b *shipper.Batch) error {
	for _, e := range b.Events {
		if r.file != nil && !r.file.takes(e) {
			if err := r.complete(ctx); err != nil {
				return err
			}
		}
		there, err := r.there(e)
		if err != nil {
			return err
		}
		if !there {
			if err := r.add(ctx, e); err != nil {
				return err
			}
		}
		r.next = max(r.next, e.Seq+1)
		if r.file != nil && r.file.size >= r.sink.options.Bytes {
			if err := r.complete(ctx); err != nil {
				return err
			}
		}
	}
	r.next = max(r.next, b.Last+1)
	if r.file == nil || r.feed.Fill() {
		return r.complete(ctx)
	}
	return nil
}

// there reports whether the event is in a complete file that the cursor had not passed, and lets the
// cursor pass such files.
func (r *run) there(e shipper.Event) (bool, error) {
	for r.file == nil && !r.feed.Fill() {
		if e.Seq < r.position {
			return true, nil
		}
		last, found := r.found[place{r.position, logDigits(e.LogID)}]
		if !found {
			break
		}
		if err := r.advance(last + 1); err != nil {
			return false, err
		}
	}
	return false, nil
}

// add writes one event to the unfinished file, making one if there is none.
func (r *run) add(ctx context.Context, e shipper.Event) error {
	row, err := columns.Decode(e, r.sink.options.NodeID)
	if err != nil { // the front door has checked it, so this is damage or a defect: somebody has to look
		return r.feed.Bury([]shipper.DeadLetter{shipper.NewDeadLetter(e, err.Error(), 1)})
	}
	if r.file != nil {
		return r.try(ctx, func() error { return r.file.write(&row) })
	}
	first := r.position
	if r.feed.Fill() {
		first = e.Seq
	}
	r.file = newFile(r.sink, r.feed, e, first)
	return r.try(ctx, func() error {
		if !r.file.isOpen() {
			if err := r.file.open(r.sink.disk); err != nil {
				return err
			}
		}
		return r.file.write(&row)
	})
}

// complete finishes the unfinished file, if there is one, and lets the cursor pass it.
func (r *run) complete(ctx context.Context) error {
	if r.file != nil {
		last := r.next - 1
		if err := r.try(ctx, func() error { return r.file.complete(r.sink.disk, last) }); err != nil {
			return err
		}
		r.sink.completed(r.file)
		r.file = nil
		r.feed.Report(nil)
	}
	return r.advance(r.next)
}

func (r *run) advance(next uint64) error {
	if next <= r.position {
		return nil
	}
	if err := r.feed.Advance(next); err != nil {
		return err
	}
	r.position, r.next = next, max(r.next, next)
	return nil
}

// try does op on the unfinished file until it works. After a failure the file is made anew, since what
// a disk has kept of it is not known.
func (r *run) try(ctx context.Context, op func() error) error {
	err := op()
	for err != nil {
		r.feed.Report(err)
		r.file.discard(r.sink.disk)
		if err := r.feed.Rest(ctx, r.backoff.Next()); err != nil {
			return err
		}
		if err = r.rewrite(ctx); err == nil {
			err = op()
		}
	}
	r.backoff.Reset()
	return nil
}

// rewrite opens the unfinished file and writes again what was in it.
func (r *run) rewrite(ctx context.Context) error {
	if err := r.file.open(r.sink.disk); err != nil {
		return err
	}
	for at := r.file.firstEvent; at < r.next; at += rereadSeqs {
		batch, err := r.feed.Read(ctx, at, min(at+rereadSeqs, r.next)-1)
		if err != nil {
			return err
		}
		for _, gap := range batch.Lost {
			r.sink.options.Logger.Error("archive: events were damaged in the log while their file was written",
				"first_seq", gap.First, "last_seq", gap.Last, "reason", gap.Reason)
		}
		for _, e := range batch.Events {
			row, err := columns.Decode(e, r.sink.options.NodeID)
			if err != nil {
				continue // among the dead letters already
			}
			if err := r.file.write(&row); err != nil {
				return err
			}
		}
	}
	return nil
}
