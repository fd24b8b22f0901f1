package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"forebay/wal/durable"
)

// Names in the log's directory beside the segment files.
const (
	identityName   = "identity.json"
	stepsName      = "clock.json"
	reserveName    = "reserve"
	quarantineName = "quarantine"
	filePerm       = 0o640
	dirPerm        = 0o750
)

// maxBlockNumber leaves the appender underneath room to count.
const maxBlockNumber = 1 << 62

// segmentName is the name of the segment file whose first block is number; the
// appender underneath has fixed it.
func segmentName(number uint64) string { return fmt.Sprintf("%020d", number) }

// parseSegmentName reads what segmentName writes.
func parseSegmentName(name string) (uint64, bool) {
	if len(name) != 20 {
		return 0, false
	}
	number, err := strconv.ParseUint(name, 10, 64)
	return number, err == nil && number > 0 && number <= maxBlockNumber
}

// listing is what a log's directory holds.
type listing struct {
	segments []fs.FileInfo // by number, ascending
	temp     []string      // left behind by a crash before a rename
	foreign  []string      // not ours, and harmless
	hostile  []string      // the appender underneath would act on these
}

// listDir sorts a log's directory by what each entry is.
func listDir(dir string) (listing, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return listing{}, err
	}
	var l listing
	for _, e := range entries {
		name := e.Name()
		_, isSegment := parseSegmentName(name)
		switch {
		case isSegment && e.Type().IsRegular():
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // retention was faster
			}
			if err != nil {
				return listing{}, err
			}
			l.segments = append(l.segments, info)
		case name == identityName, name == stepsName, name == reserveName, name == quarantineName:
		case strings.HasSuffix(name, durable.TempSuffix) && e.Type().IsRegular():
			l.temp = append(l.temp, name)
		case !e.IsDir() && lureForAppender(name):
			l.hostile = append(l.hostile, name)
		default:
			l.foreign = append(l.foreign, name)
		}
	}
	return l, nil
}

// lureForAppender reports whether tidwall/wal would take a foreign file for one
// of its own: it reads any name of 20 digits as a segment and deletes segments
// where it sees its truncation markers, which this package never makes.
func lureForAppender(name string) bool {
	base := strings.TrimSuffix(strings.TrimSuffix(name, ".START"), ".END")
	if len(base) != 20 {
		return false
	}
	number, err := strconv.ParseUint(base, 10, 64)
	return err == nil && number > 0
}

// createEmpty makes an empty file and makes it durable, directory included.
func createEmpty(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, filePerm)
	if err != nil {
		return err
	}
	err = f.Sync()
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

// truncateFile cuts a file to size and makes that durable.
func truncateFile(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	err = f.Truncate(size)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// keepPrefix rewrites a file as a new one that holds its first size bytes.
func keepPrefix(path string, size int64) error {
	old, err := os.Open(path)
	if err != nil {
		return err
	}
	err = durable.Replace(path, filePerm, func(f *os.File) error {
		_, err := io.CopyN(f, old, size)
		return err
	})
	return errors.Join(err, old.Close())
}

func removeIfThere(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// lockDir takes the log's directory for this process, shared for readers.
// Closing the file gives it back.
func lockDir(dir string, shared bool) (*os.File, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := durable.Lock(d, shared); err != nil {
		if errors.Is(err, durable.ErrLocked) {
			err = ErrLocked
		}
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// isDiskFull reports whether an error means that there is no space left.
func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
