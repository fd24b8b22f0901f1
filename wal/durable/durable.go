// Package durable changes files and folders so that a crash undoes nothing: what a function has done survives the loss
// of power once it has returned nil. It is the only place that does so; file systems keep a new name only once the folder
// above it is synced, which is easily forgotten.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// TempSuffix ends the name of a file that Replace has not yet put in place. A crash may leave one; it holds nothing of
// use.
const TempSuffix = ".tmp"

// ErrLocked is returned by Lock for a file that another process has locked.
var ErrLocked = errors.New("locked by another process")

// MakeDir makes a folder and those above it that are missing, with mode perm before umask, each durable in the one above
// it. It returns nil if the folder is there, and an error if something else has its name.
func MakeDir(dir string, perm fs.FileMode) error {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
	}
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := MakeDir(parent, perm); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, perm); err != nil && !errors.Is(err, fs.ErrExist) { // another process may have been faster
		return err
	}
	return SyncDir(parent)
}

// SyncDir makes the names in a folder durable: those that were added and those that were removed.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// SyncFile makes the content of an existing file durable, not its name.
func SyncFile(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Replace puts what fill writes in the place of path, with exactly the mode perm unless fill sets another. After a crash
// path holds the old content or the new one, whole. After an error it holds the old one, but if only the sync of the
// folder failed. Two at once do not disturb each other: the later rename wins.
func Replace(path string, perm fs.FileMode, fill func(*os.File) error) error {
	temp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*"+TempSuffix)
	if err != nil {
		return err
	}
	err = temp.Chmod(perm)
	if err == nil {
		err = fill(temp)
	}
	if err == nil {
		err = temp.Sync()
	}
	if err = errors.Join(err, temp.Close()); err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return SyncDir(filepath.Dir(path))
}

// Write is Replace with content that is at hand.
func Write(path string, perm fs.FileMode, content []byte) error {
	return Replace(path, perm, func(f *os.File) error {
		_, err := f.Write(content)
		return err
	})
}

// Lock takes an open file or folder for this process, shared with others that ask for no more than that, until it is
// closed. It does not wait: it returns ErrLocked, wrapped, if another process has it.
func Lock(f *os.File, shared bool) error {
	how := syscall.LOCK_EX
	if shared {
		how = syscall.LOCK_SH
	}
	err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("%s: %w", f.Name(), ErrLocked)
	}
	return err
}
