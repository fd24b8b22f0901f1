// Package file keeps API keys in a file: a list, in YAML or JSON, of
//
//	# acme's web shop
//	- project: shop
//	  key_sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
//	  requests_per_second: 1000               # 0 or absent: the node's default
//	  burst: 2000                             # likewise
//	  strict: false                           # true: the sender gets true answers
//	  origins: ["https://shop.example"]       # absent: any
//	  expires_at: 2027-01-01T00:00:00Z        # absent: never
//	  revoked_at: 2026-11-23T10:00:00Z        # absent: in force
//
// Only the SHA-256 of a key is in the file, never the key.
//
// A Source is for the node: it reads the file and follows its changes while the
// node runs. A Store is for the operator's commands: it changes the file, keeping
// its comments. A file that someone else writes is best replaced by a rename, so
// that nobody sees half of it.
package file

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"forebay/router/auth"
)

const (
	pollInterval = time.Second
	// settleTime is how old a file must be for its times to tell about every later
	// write: file systems stamp in steps of up to two seconds.
	settleTime = 3 * time.Second
)

// Source reads the keys from a file and follows it. A version that is missing or
// wrong leaves the directory as it is, and Stats tells why.
type Source struct {
	path   string
	logger *slog.Logger
	follow follower // used by Load and Run, one after the other

	refused error // entries that are no valid keys

	mu    sync.Mutex
	stats auth.SourceStats
}

// follower is what is known of the file.
type follower struct {
	seen    os.FileInfo // at the last poll, nil before
	read    os.FileInfo // when it was read last
	readAt  time.Time
	content [sha256.Size]byte // what was read then
	loaded  bool              // the directory was filled
}

// SourceName is what a Cache calls the keys of the file at path.
func SourceName(path string) string { return "file " + path }

// NewSource follows the file at path. It reads nothing yet.
func NewSource(path string, logger *slog.Logger) *Source {
	return &Source{path: path, logger: logger, stats: auth.SourceStats{Source: "file", Since: time.Now()}}
}

// Load fills the directory once, so that a node refuses to start on a file that
// it cannot use, unless the directory has keys from before. Run, called after it,
// goes on from there.
func (s *Source) Load(dir *auth.Directory) error {
	err := s.refresh(dir)
	s.report(err)
	if dir.Filled() {
		return nil
	}
	return err
}

// Run looks at the file every second until ctx ends, then returns nil.
func (s *Source) Run(ctx context.Context, dir *auth.Directory) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		s.report(s.refresh(dir))
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Stats tells how the source is doing. It is safe for concurrent use.
func (s *Source) Stats() auth.SourceStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// refresh brings the directory up to the file.
func (s *Source) refresh(dir *auth.Directory) error {
	f := &s.follow
	info, err := os.Stat(s.path)
	if err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	writing := f.seen != nil && os.SameFile(f.seen, info) && !sameVersion(f.seen, info)
	f.seen = info
	if writing {
		return nil // in place, maybe not finished: wait until it stays the same for a while
	}
	if f.loaded && sameVersion(f.read, info) && f.readAt.Sub(info.ModTime()) > settleTime {
		dir.Confirm()
		return nil
	}
	f.readAt = time.Now()
	text, err := readFile(s.path)
	if err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	content := sha256.Sum256(text)
	if f.loaded && content == f.content {
		f.read = info
		dir.Confirm()
		return nil
	}
	list, err := read(text)
	if err == nil && len(list.keys) == 0 {
		err = list.refused()
	}
	if err == nil {
		err = dir.Offer(list.keys)
	}
	if err != nil {
		return fmt.Errorf("key file %s: %w", s.path, err)
	}
	s.refused = nil
	if refused := list.refused(); refused != nil {
		s.refused = fmt.Errorf("key file %s: %w", s.path, refused)
	}
	f.read, f.content, f.loaded = info, content, true
	s.mu.Lock()
	s.stats.Reloads++
	s.mu.Unlock()
	s.logger.Info("keys loaded", "source", "file", "keys", len(list.keys))
	return nil
}

// report keeps the outcome of a refresh and logs it when it is another one. Lost is
// why the file cannot be used, nil if it can.
func (s *Source) report(lost error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := ""
	if err := cmp.Or(lost, s.refused); err != nil {
		text = err.Error()
	}
	if connected := lost == nil; connected != s.stats.Connected {
		s.stats.Connected, s.stats.Since = connected, time.Now()
	}
	if text != "" && text != s.stats.LastError {
		s.logger.Error("the key file is wrong; what cannot be read of it stays as it was, or is left out", "err", text)
	}
	s.stats.LastError = text
}

// sameVersion tells whether nothing was written between two looks, as far as the
// file system tells.
func sameVersion(a, b os.FileInfo) bool {
	return a != nil && os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(io.LimitReader(f, MaxFileBytes+1)); err != nil {
		return nil, err
	}
	if text.Len() > MaxFileBytes {
		return nil, fmt.Errorf("%s is larger than %d MiB; keep so many keys in PostgreSQL", path, MaxFileBytes>>20)
	}
	return text.Bytes(), nil
}
