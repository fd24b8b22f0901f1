package wal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"forebay/wal/durable"
)

// errNoReserve is returned by release when there is nothing to release.
var errNoReserve = errors.New("wal: no reserve file is held")

// reserve is a file that holds space on the disk which can be given up.
type reserve struct {
	path string
	size int64 // 0 or less: none is kept

	mu     sync.Mutex  // held while the file is made
	held   atomic.Bool // changed under mu, but read without it: Stats must not wait for a sick disk
	closed bool        // the directory is given up, and the file with it
}

func newReserve(o *Options) reserve {
	return reserve{path: filepath.Join(o.Dir, reserveName), size: o.ReserveBytes}
}

// restore makes the reserve if it is not there.
func (r *reserve) restore() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held.Load() || r.size <= 0 {
		return nil
	}
	info, err := os.Stat(r.path)
	if err == nil && info.Size() == r.size {
		r.held.Store(true)
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err = durable.Replace(r.path, filePerm, func(f *os.File) error { return allocate(f, r.size) })
	r.held.Store(err == nil)
	return err
}

// release deletes the reserve.
func (r *reserve) release() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	if !r.held.Load() {
		return errNoReserve
	}
	if err := os.Remove(r.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	r.held.Store(false)
	return durable.SyncDir(filepath.Dir(r.path))
}

// close waits for what is under way and refuses to release the file from then on.
func (r *reserve) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}

// ReleaseReserve gives up the reserve file, for a neighbour on the same disk
// that has run out of space. The log makes it again when Retain or a recovery
// finds room. It reports whether there was one to give up.
func (l *Log) ReleaseReserve() (bool, error) {
	err := l.reserve.release()
	if errors.Is(err, errNoReserve) {
		return false, nil
	}
	return err == nil, err
}

// writeZeros fills a file up to size, where the file system cannot reserve
// space without writing.
func writeZeros(f *os.File, size int64) error {
	zeros := make([]byte, 64<<10)
	for size > 0 {
		n, err := f.Write(zeros[:min(size, int64(len(zeros)))])
		if err != nil {
			return err
		}
		size -= int64(n)
	}
	return nil
}
