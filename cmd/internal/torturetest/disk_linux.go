package torturetest

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
)

// fillDisk leaves nothing, or little, of the small disk to the node.
func (w *world) fillDisk(r *rand.Rand) (func(), error) {
	room := []int64{0, 0, 64 << 10, 1 << 20, 8 << 20}[r.IntN(5)]
	disk := filepath.Dir(w.data)
	free, err := freeBytes(disk)
	if err != nil {
		return nil, err
	}
	size := free - room
	if size <= 0 {
		return nil, errors.New("it is full")
	}
	path := filepath.Join(disk, "ballast")
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	err = syscall.Fallocate(int(f.Fd()), 0, 0, size)
	if err := errors.Join(err, f.Close()); err != nil { // the node was faster with the last pages
		return nil, errors.Join(err, os.Remove(path))
	}
	return func() { w.must(os.Remove(path)) }, nil
}

// freeBytes is what the file system of a folder has left.
func freeBytes(dir string) (int64, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return 0, err
	}
	return int64(fs.Bavail) * fs.Bsize, nil
}
