package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"

	"forebay/wal/durable"
)

// ErrGone is in the error of an append whose file, or whose log's directory, is
// no longer where it was: removed, moved away, replaced, or below another mount.
// What is written to a file without its name is lost with the process.
var ErrGone = errors.New("wal: not where it was")

// stays returns an error that wraps ErrGone unless path names the file that is
// open as f.
func stays(f *os.File, path string) error {
	ours, err := f.Stat()
	if err != nil {
		return err
	}
	named, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %s was removed or moved away", ErrGone, path)
	case err != nil:
		return err
	case !os.SameFile(ours, named):
		return fmt.Errorf("%w: another file or folder has taken the place of %s", ErrGone, path)
	}
	return nil
}

// InPlace returns an error that wraps ErrGone if the log's directory is no longer
// the one that was opened. Put back, the log takes appends again by itself.
func (l *Log) InPlace() error { return stays(l.lock, l.opts.Dir) }

// bringBack writes the newest segment anew if its name was taken from it while
// the file is still open: nothing that was acknowledged is lost by that.
func (c *committer) bringBack(newest *segment) error {
	if c.held == nil {
		return nil
	}
	err := stays(c.held, newest.path)
	if !errors.Is(err, ErrGone) {
		return err
	}
	if there(newest.path) {
		return fmt.Errorf("%w: move it away", err)
	}
	c.logger.Error("the newest log file was removed: it is written anew", slog.String("file", newest.name()))
	err = durable.Replace(newest.path, filePerm, func(f *os.File) error {
		_, err := io.Copy(f, io.NewSectionReader(c.held, 0, newest.size))
		return err
	})
	if there(newest.path) {
		c.letGo() // the copy has taken its place, whatever failed behind that
	}
	return err
}

func there(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// letGo closes the file that a failed appender has left.
func (c *committer) letGo() {
	if c.held != nil {
		_ = c.held.Close() // it was only read
		c.held = nil
	}
}
