package archive

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/klauspost/compress/zstd"

	"forebay/shipper"
	"forebay/shipper/columns"
	"forebay/wal"
)

const hourLayout = "20060102T15"

// hourOf numbers the hours of UTC.
func hourOf(t time.Time) int64 { return t.Unix() / 3600 }

// file is the one that is being written.
type file struct {
	dir        string
	unfinished string // path until it is complete
	fill       bool
	received   time.Time // of its first event, which says its hour
	log        wal.ID
	epoch      uint64
	first      uint64 // seq in its name
	firstEvent uint64
	old        *time.Timer // fires when the file has waited long enough

	encoder *zstd.Encoder
	out     handle // nil: not open
	line    []byte
	events  int
	size    int64 // of lines, before compression

	name    string // once it is complete
	written int64  // bytes on disk, once it is complete
}

// newFile is a file for e and what follows; it is not opened.
func newFile(s *Sink, feed *shipper.Feed, e shipper.Event, first uint64) *file {
	name := fmt.Sprintf(".%s-%s.unfinished", feed.Cursor(), logDigits(e.LogID))
	return &file{
		dir: s.options.Dir, unfinished: filepath.Join(s.options.Dir, name), fill: feed.Fill(),
		received: e.ReceivedAt, log: e.LogID, epoch: feed.Epoch(),
		first: first, firstEvent: e.Seq, old: time.NewTimer(s.options.Age), encoder: s.encoder,
	}
}

// takes reports whether e may be in the same file as what is in it.
func (f *file) takes(e shipper.Event) bool {
	return e.LogID == f.log && hourOf(e.ReceivedAt) == hourOf(f.received)
}

func (f *file) isOpen() bool { return f.out != nil }

// open makes the file, empty, under its unfinished name.
func (f *file) open(d disk) error {
	out, err := d.create(f.unfinished)
	if err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	f.out, f.events, f.size = out, 0, 0
	f.encoder.Reset(out)
	return nil
}

// write adds a row.
func (f *file) write(row *columns.Row) error {
	f.line = appendRow(f.line[:0], row)
	if _, err := f.encoder.Write(f.line); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	f.events++
	f.size += int64(len(f.line))
	return nil
}

// complete makes everything durable under the final name.
func (f *file) complete(d disk, last uint64) error {
	if err := f.encoder.Close(); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	size, err := f.out.Size()
	if err = errors.Join(err, f.out.Sync()); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	out := f.out
	f.out = nil
	if err := out.Close(); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	name := f.finalName(last)
	if err := d.rename(f.unfinished, filepath.Join(f.dir, name)); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	if err := d.syncDir(f.dir); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	f.old.Stop()
	f.name, f.written = name, size
	return nil
}

// discard closes and removes what is not complete. If that fails the next file takes its place.
func (f *file) discard(d disk) {
	if f.out != nil {
		_ = f.out.Close()
		f.out = nil
	}
	_ = d.remove(f.unfinished)
}

// finalName is the name of the complete file.
func (f *file) finalName(last uint64) string {
	suffix := ""
	if f.fill {
		suffix = "-fill"
	}
	return fmt.Sprintf("%s-%020d-%020d-e%d-%s%s.ndjson.zst", f.received.UTC().Format(hourLayout), f.first, last, f.epoch, logDigits(f.log), suffix)
}

// logDigits is how a log is named in a file's name.
func logDigits(id wal.ID) string { return id.String()[:12] }

// completeName matches the names of complete files, those of a fill aside.
var completeName = regexp.MustCompile(`^\d{8}T\d{2}-(\d{20})-(\d{20})-e(\d+)-([0-9a-f]{12})\.ndjson\.zst$`)

// place is where a file begins.
type place struct {
	first uint64
	log   string
}

// findComplete is the last seq of each complete file of the epoch that begins at position or later.
func findComplete(dir string, epoch, position uint64) (map[place]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	found := map[place]uint64{}
	for _, entry := range entries {
		m := completeName.FindStringSubmatch(entry.Name())
		if m == nil || m[3] != strconv.FormatUint(epoch, 10) {
			continue
		}
		first, firstErr := strconv.ParseUint(m[1], 10, 64)
		last, lastErr := strconv.ParseUint(m[2], 10, 64)
		if firstErr == nil && lastErr == nil && first >= position && last >= first {
			found[place{first, m[4]}] = last
		}
	}
	return found, nil
}
