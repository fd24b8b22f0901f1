package state

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// disk is the file system as Pebble sees it once a store is open: one on which writing succeeds, waits
// for space, or never returns. Pebble answers other outcomes by ending the process, by a panic, some of
// which cannot be recovered from, or by trying again without a pause.
//
//	no space        the reserve is freed, then the write is repeated until there is space
//	any other error the store fails, and the goroutine that writes stands still for ever
//
// A failed sync is never repeated, whatever its reason: the system may have dropped the data, and the
// next sync would then succeed without it. (For this reason Pebble's own vfs.OnDiskFull, which does
// repeat it, is not used.) While the store is being opened errors are returned, as Open reports them.
// So are errors of reading and removing, which Pebble knows how to handle.
type disk struct {
	vfs.FS
	store *Store
}

// file is a file or directory that may be written or synced.
type file struct {
	vfs.File
	store *Store
}

func (d *disk) Unwrap() vfs.FS { return d.FS }

func (d *disk) open(op func() (vfs.File, error)) (vfs.File, error) {
	var f vfs.File
	err := d.store.write(func() (err error) { f, err = op(); return err })
	if err != nil {
		return nil, err
	}
	return &file{f, d.store}, nil
}

// markerPrefix begins the names of Pebble's markers: empty files whose name says which manifest counts, or which
// format.
const markerPrefix = "marker."

// Create makes a marker durable before it returns, and what the marker names before that. Pebble itself syncs the
// directory only once it has also removed the marker before; a disk that keeps the names of a directory in another
// order could then be left with a marker of a manifest that is not there, or with none.
func (d *disk) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if !strings.HasPrefix(d.PathBase(name), markerPrefix) {
		return d.open(func() (vfs.File, error) { return d.FS.Create(name, category) })
	}
	if err := d.syncDir(d.PathDir(name)); err != nil {
		return nil, err
	}
	marker, err := d.open(func() (vfs.File, error) { return d.FS.Create(name, category) })
	if err != nil {
		return nil, err
	}
	if err := d.syncDir(d.PathDir(name)); err != nil {
		return nil, errors.Join(err, marker.Close())
	}
	return marker, nil
}

// syncDir makes the names in a directory durable.
func (d *disk) syncDir(name string) error {
	dir, err := d.OpenDir(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (d *disk) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return d.open(func() (vfs.File, error) { return d.FS.OpenReadWrite(name, category, opts...) })
}

func (d *disk) ReuseForWrite(before, name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return d.open(func() (vfs.File, error) { return d.FS.ReuseForWrite(before, name, category) })
}

func (d *disk) OpenDir(name string) (vfs.File, error) {
	return d.open(func() (vfs.File, error) { return d.FS.OpenDir(name) })
}

func (d *disk) Link(before, name string) error {
	return d.store.write(func() error { return d.FS.Link(before, name) })
}

func (d *disk) Rename(before, name string) error {
	return d.store.write(func() error { return d.FS.Rename(before, name) })
}

func (d *disk) MkdirAll(name string, perm os.FileMode) error {
	return d.store.write(func() error { return d.FS.MkdirAll(name, perm) })
}

func (f *file) Write(p []byte) (n int, err error) {
	err = f.store.write(func() error {
		some, err := f.File.Write(p[n:])
		n += some
		return err
	})
	return n, err
}

func (f *file) WriteAt(p []byte, offset int64) (n int, err error) {
	err = f.store.write(func() error {
		some, err := f.File.WriteAt(p[n:], offset+int64(n))
		n += some
		return err
	})
	return n, err
}

func (f *file) Sync() error     { return f.store.once(f.File.Sync()) }
func (f *file) SyncData() error { return f.store.once(f.File.SyncData()) }
func (f *file) Close() error    { return f.store.once(f.File.Close()) }

func (f *file) SyncTo(length int64) (bool, error) {
	full, err := f.File.SyncTo(length)
	return full, f.store.once(err)
}

// once passes on the outcome of what must not be repeated.
func (s *Store) once(err error) error {
	if err != nil && s.opened.Load() {
		s.freeze(err)
	}
	return err
}

// write runs op until it has succeeded, or returns its error where that is for Pebble to handle.
func (s *Store) write(op func() error) error {
	err := op()
	if vfs.IsNoSpaceError(err) && s.onDiskFull != nil {
		s.freeReserve()
		err = op()
	}
	if err == nil || !s.opened.Load() || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
		return err
	}
	if vfs.IsNoSpaceError(err) {
		err = s.awaitSpace(op, err)
	}
	return s.once(err)
}

func (s *Store) freeReserve() {
	s.reserve.Lock()
	defer s.reserve.Unlock()
	s.diskFull.Add(1)
	s.onDiskFull()
}

// awaitSpace repeats op while there is no space for it, until the store is closed or fails.
func (s *Store) awaitSpace(op func() error, err error) error {
	s.full.begin(func(since time.Time) {
		s.logger.Error("state folder: the disk is full; saving waits until there is space", "dir", s.dir, "err", err)
	})
	defer s.full.end(func(since time.Time) {
		s.logger.Info("state folder: saving goes on", "dir", s.dir, "waited", time.Since(since))
	})
	pause := time.NewTicker(100 * time.Millisecond)
	defer pause.Stop()
	for vfs.IsNoSpaceError(err) {
		select {
		case <-pause.C:
			err = op()
		case <-s.closing:
			return err
		case <-s.failed:
			return err
		}
	}
	return err
}
