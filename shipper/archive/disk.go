package archive

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// disk is what the archive does to a file system; tests make it fail.
type disk interface {
	create(path string) (handle, error) // empty, replacing what is there
	rename(from, to string) error
	remove(path string) error
	syncDir(path string) error
}

// handle is a file that is being written.
type handle interface {
	io.WriteCloser
	Sync() error
	Size() (int64, error)
}

type osDisk struct{}

type osHandle struct{ *os.File }

func (h osHandle) Size() (int64, error) {
	info, err := h.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (osDisk) create(path string) (handle, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, err
	}
	return osHandle{f}, nil
}

func (osDisk) rename(from, to string) error { return os.Rename(from, to) }

func (osDisk) remove(path string) error { return os.Remove(path) }

func (osDisk) syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// makeDir makes a directory and its parents, each durable in the one above it: otherwise a crash could
// take away a directory together with files that the cursor has passed.
func makeDir(path string) error {
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		return &fs.PathError{Op: "mkdir", Path: path, Err: errors.New("is not a directory")}
	} else if err == nil {
		return nil
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return osDisk{}.syncDir(parent)
}
