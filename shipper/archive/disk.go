package archive

import (
	"io"
	"os"

	"forebay/wal/durable"
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

func (osDisk) syncDir(path string) error { return durable.SyncDir(path) }
