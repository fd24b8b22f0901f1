package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"forebay/wal/durable"
)

// replace puts text in the place of the file, durable when it returns; a crash
// leaves the old file or the new one. Owner and mode stay as they were; a new
// file is readable by all, since digests give nothing away.
func replace(path string, text []byte) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // a link stays a link
	}
	if err := durable.Replace(path, 0o644, func(temp *os.File) error { return fill(temp, text, path) }); err != nil {
		return fmt.Errorf("write the key file: %w", err)
	}
	return nil
}

// fill writes what will stand in the place of the file at path.
func fill(temp *os.File, text []byte, path string) error {
	if err := inherit(temp, path); err != nil {
		return err
	}
	_, err := temp.Write(text)
	return err
}

// inherit gives temp the owner and mode of the file that it will replace.
func inherit(temp *os.File, path string) error {
	var old unix.Stat_t
	if err := unix.Stat(path, &old); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if err := temp.Chown(int(old.Uid), int(old.Gid)); err != nil {
		return err
	}
	return temp.Chmod(fs.FileMode(old.Mode).Perm())
}
