// Package state keeps the node's small state in Pebble: what must survive a restart and is not in the
// log. It is a store of plain text keys and opaque values; whoever owns a key owns the form of its value.
//
//	cursor/<name>          a cursor's position, epoch and pause     package shipper
//	plan/<cursor>          its delivery under way                   package shipper
//	lane/<cursor>/…        what its sink remembers                  the sinks, by way of package shipper
//	dead/<cursor>/<seq>    its dead letters                         package shipper
//	replay/<name>          what a replay is to do, or did           package shipper
//	audit/…                what operators did                       package shipper
//	proof/…                the last audit, how far the watch came   package shipper
//	meta/epoch             last epoch given out                     package shipper
//	meta/format            version of this key space                here
//	meta/log_id            identity of the log beside this store    here: LogID
//	meta/durable_seq       a seq that the log has reached           here: DurableSeq
//	key/at, key/about      API keys as they were last known         here: LoadKeys, SaveKeys
//	key/set/<hh>
//	key/denied/<digest>    API keys denied on this node             here: LoadDenials
//	ledger/…               the node's counters                      package node, by LoadJSON and SaveJSON
//
// # Durability
//
// [Store.Commit] applies all of its writes or none, and they are on disk when it returns nil. When it
// returns an error they may be there or not: that is known after the next Open. Nothing is ever written
// without a sync, so a crash loses nothing that was committed, whenever it comes. Damage of the files is
// found when they are read, with one exception: in the newest 32 KiB of Pebble's log, after a crash,
// damage looks like the torn end that a crash leaves, and what was committed from there on is gone. The
// cursors are then some way back and deliver again.
//
// # Failure
//
// A full disk is a state: Options.OnDiskFull may free a reserve, and until there is space commits wait
// (FullSince tells since when), while reading goes on. Any other failure to write, and damage found while
// running, is final, because Pebble itself cannot go on and a node that cannot save its cursors should
// not pretend to: the store is failed from then on, every call returns the same [FailedError], and
// [Store.Failed] tells the node to end with it. Pebble's own way, to end the process from within a
// library, is not taken.
package state

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"forebay/shipper"
)

// Bounds of one Commit. They are far above what the node's own parts use.
const (
	MaxKeyBytes    = 4 << 10
	MaxValueBytes  = 16 << 20
	MaxCommitBytes = 128 << 20
)

// Options say how a store is opened. The zero value is usable.
type Options struct {
	// Logger receives what Pebble has to say; nil discards it.
	Logger *slog.Logger
	// OnDiskFull is called when a write found no space, before it is tried again: each time, but never
	// twice at the same time. It should do no more than remove a reserve file.
	OnDiskFull func()
}

// Store is an open state directory. Its methods are safe for concurrent use.
type Store struct {
	dir        string
	db         *pebble.DB
	fresh      bool
	logger     *slog.Logger
	onDiskFull func()
	reserve    sync.Mutex // held while onDiskFull runs
	full       fullDisk
	keys       keySums

	mu      sync.Mutex
	opened  atomic.Bool // Pebble has been opened
	closed  bool
	closing chan struct{} // closed when closed is set
	failure error         // a *FailedError, set once
	failed  chan struct{} // closed when failure is set
	frozen  chan struct{} // closed when Pebble can no longer be called
	active  sync.WaitGroup

	freezeOnce sync.Once

	commits  atomic.Uint64
	bytes    atomic.Uint64
	diskFull atomic.Uint64
}

// ErrClosed is returned by every method after Close.
var ErrClosed = errors.New("state: the store is closed")

// FailedError is what every call returns once the store has failed for good.
type FailedError struct {
	Dir   string
	Cause error
}

func (e *FailedError) Error() string {
	return fmt.Sprintf("state folder %s failed, so cursors can no longer be saved and the node has to stop (check the disk, then start it again; nothing that was accepted is lost): %v", e.Dir, e.Cause)
}

func (e *FailedError) Unwrap() error { return e.Cause }

// Open opens the store in dir, making it if need be. It holds a lock on the directory until Close. The
// error says what an operator can do: [ErrInUse] when another process has it, [ErrNewer] when a newer
// version wrote it, [ErrDamaged] when its files cannot be made sense of.
func Open(dir string, o Options) (*Store, error) { return open(dir, o, vfs.Default) }

// open is Open on any file system.
func open(dir string, o Options, fs vfs.FS) (*Store, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{dir: dir, logger: o.Logger, onDiskFull: o.OnDiskFull,
		closing: make(chan struct{}), failed: make(chan struct{}), frozen: make(chan struct{})}
	d := &disk{fs, s}
	before, err := pebble.Peek(dir, d)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, openError(dir, err)
	}
	s.fresh = err != nil || !before.Exists
	if s.fresh && err == nil {
		if err := checkEmpty(dir, d); err != nil {
			return nil, openError(dir, err)
		}
	}
	if err == nil {
		// What a process that was killed has left may not be durable yet, and Pebble removes a marker for a newer one.
		if err := d.syncDir(dir); err != nil {
			return nil, openError(dir, err)
		}
	}
	err = s.guard(s.frozen, func() (err error) {
		s.db, err = pebble.Open(dir, s.options(d))
		return err
	})
	if err != nil {
		return nil, openError(dir, err)
	}
	s.opened.Store(true)
	if err := s.checkFormat(); err != nil {
		if closeErr := s.Close(); s.Err() == nil { // otherwise it is the error once more
			err = errors.Join(err, closeErr)
		}
		return nil, openError(dir, err)
	}
	return s, nil
}

// checkFormat holds the key space to the version that this program knows. Its mark is the first thing
// that is ever committed, so that its absence means that Pebble has lost a part of the store: Pebble
// takes a damaged end of its manifest for one that a crash left, and goes on without it.
func (s *Store) checkFormat() error {
	found, err := s.Get(metaFormat)
	if err != nil {
		return err
	}
	if found == nil {
		return s.markFormat()
	}
	if string(found) != formatVersion {
		return fmt.Errorf("%w %q, this program knows %q", errFormat, found, formatVersion)
	}
	return nil
}

func (s *Store) markFormat() error {
	err := s.Scan("", func(key string, _ []byte) error {
		return fmt.Errorf("%w: it holds %q and no mark of its format", errIncomplete, key)
	})
	if err != nil {
		return err
	}
	return s.Commit(shipper.Write{Key: metaFormat, Value: []byte(formatVersion)})
}

// checkEmpty refuses a directory that has data and lacks the file that names the manifest: Pebble would
// begin anew and delete the data. A creation that was cut short leaves neither tables nor logs.
func checkEmpty(dir string, fs vfs.FS) error {
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".log") {
			return fmt.Errorf("%w: it holds %s and no manifest", errIncomplete, name)
		}
	}
	return nil
}

// options keep Pebble small: the state is a few MiB, dead letters aside.
func (s *Store) options(fs vfs.FS) *pebble.Options {
	return &pebble.Options{
		FS:                          fs,
		CacheSize:                   8 << 20,
		MemTableSize:                4 << 20,
		MemTableStopWritesThreshold: 2,
		MaxOpenFiles:                128,
		// Named, so that a newer Pebble does not by itself write what an older node cannot read.
		FormatMajorVersion: pebble.FormatTableFormatV6,
		Logger:             pebbleLogger{s},
		EventListener: &pebble.EventListener{
			BackgroundError: s.failInBackground,
			DataCorruption:  func(info pebble.DataCorruptionInfo) { s.fail(info.Details) },
		},
	}
}

// Fresh reports whether Open found no store and made a new one.
func (s *Store) Fresh() bool { return s.fresh }

// Close waits for calls in flight and releases the directory. Commits that wait for space fail. After a
// failure it returns the failure, and the directory may stay locked until the process ends.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.closed = true
	close(s.closing)
	s.mu.Unlock()
	select {
	case <-s.frozen:
		return s.Err()
	default:
	}
	err := s.guard(s.frozen, func() error {
		s.active.Wait()
		var err error
		if s.Err() == nil && s.full.read().IsZero() {
			err = s.db.Flush() // tables are checked by checksums to the last byte, the end of a log is not
		}
		return errors.Join(err, s.db.Close())
	})
	if failure := s.Err(); failure != nil {
		return failure
	}
	if err != nil {
		return fmt.Errorf("close state folder %s: %w", s.dir, err)
	}
	return nil
}

// enter admits a call; the caller has to call s.active.Done when it returned nil.
func (s *Store) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.failure != nil:
		return s.failure
	case s.closed:
		return ErrClosed
	}
	s.active.Add(1)
	return nil
}

// Get returns a copy of the value of key, nil when there is none. A value of no bytes is not nil.
func (s *Store) Get(key string) (value []byte, err error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.active.Done()
	found, closer, err := s.db.Get([]byte(key))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("state: read %q: %w", key, err)
	}
	value = append([]byte{}, found...)
	if err := closer.Close(); err != nil {
		return nil, fmt.Errorf("state: read %q: %w", key, err)
	}
	return value, nil
}

// Scan calls fn for each key with the prefix, ascending by bytes, as of the moment of the call: what is
// committed meanwhile, by fn too, is not seen. fn may keep value. An error of fn ends the scan and is returned
// as it is.
func (s *Store) Scan(prefix string, fn func(key string, value []byte) error) (err error) {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.active.Done()
	bounds := &pebble.IterOptions{UpperBound: after(prefix)}
	if prefix != "" {
		bounds.LowerBound = []byte(prefix)
	}
	it, err := s.db.NewIter(bounds)
	if err != nil {
		return fmt.Errorf("state: scan %q: %w", prefix, err)
	}
	defer func() {
		if closeErr := it.Close(); err == nil && closeErr != nil {
			err = fmt.Errorf("state: scan %q: %w", prefix, closeErr)
		}
	}()
	for ok := it.First(); ok; ok = it.Next() {
		if err := fn(string(it.Key()), append([]byte{}, it.Value()...)); err != nil {
			return err
		}
	}
	return nil // an error of the iterator comes from Close
}

// after is the first key past all that have the prefix, nil when there is none.
func after(prefix string) []byte {
	bound := []byte(prefix)
	for i := len(bound) - 1; i >= 0; i-- {
		if bound[i]++; bound[i] != 0 {
			return bound[:i+1]
		}
	}
	return nil
}

// Commit applies the writes, in order and all together, and returns once they are on disk. A nil Value
// deletes. Commits of several goroutines share syncs. It does not keep the values.
func (s *Store) Commit(writes ...shipper.Write) error {
	if len(writes) == 0 {
		return nil
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.active.Done()
	size, err := check(writes)
	if err != nil {
		return err
	}
	err = s.guard(s.failed, func() error {
		batch := s.db.NewBatch()
		if err := fill(batch, writes); err != nil {
			return errors.Join(err, batch.Close())
		}
		return errors.Join(batch.Commit(pebble.Sync), batch.Close())
	})
	if err != nil {
		return fmt.Errorf("state: commit: %w", err)
	}
	s.commits.Add(1)
	s.bytes.Add(size)
	return nil
}

func fill(batch *pebble.Batch, writes []shipper.Write) error {
	for _, w := range writes {
		var err error
		if w.Value == nil {
			err = batch.Delete([]byte(w.Key), nil)
		} else {
			err = batch.Set([]byte(w.Key), w.Value, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// check holds the writes to the bounds, and is their size.
func check(writes []shipper.Write) (size uint64, err error) {
	for _, w := range writes {
		if len(w.Key) == 0 || len(w.Key) > MaxKeyBytes {
			return 0, fmt.Errorf("BUG: state: a key of %d bytes, allowed are 1 to %d", len(w.Key), MaxKeyBytes)
		}
		if len(w.Value) > MaxValueBytes {
			return 0, fmt.Errorf("state: the value of %q has %d bytes, at most %d fit", w.Key, len(w.Value), MaxValueBytes)
		}
		size += uint64(len(w.Key) + len(w.Value))
	}
	if size > MaxCommitBytes {
		return 0, fmt.Errorf("state: a commit of %d bytes, at most %d fit; write it in parts", size, MaxCommitBytes)
	}
	return size, nil
}
