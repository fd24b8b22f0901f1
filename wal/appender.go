package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	tidwall "github.com/tidwall/wal"
)

// rollsPerAppender bounds the memory of the appender underneath, which keeps a
// record of every segment that it has made until it is closed.
const rollsPerAppender = 4096

// appender writes blocks to the newest segment through tidwall/wal. It uses
// Open, LastIndex, WriteBatch, Sync, ClearCache and Close alone; see FORMAT.md
// for why. It is used by one goroutine at a time and not at all after an error.
type appender struct {
	dir          string
	segmentBytes int64
	log          *tidwall.Log
	file         *os.File // the newest segment file, to tell whether it keeps its name
	batch        tidwall.Batch
	next         uint64 // number of the next block
	size         int64  // bytes in the newest segment file
	buffer       []byte // lent to the appender underneath, see lendBuffer
	rolls        int
}

// startAppender opens the log for appending to its newest segment, which must
// be empty and be named by the next block's number.
func startAppender(dir string, next uint64, segmentBytes int64) (*appender, error) {
	a := &appender{dir: dir, segmentBytes: segmentBytes, next: next}
	err := a.open()
	if err == nil {
		err = a.hold()
	}
	if err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

// hold opens the newest segment file, which is empty and named by the next block.
func (a *appender) hold() error {
	f, err := os.Open(filepath.Join(a.dir, segmentName(a.next)))
	if err != nil {
		return err
	}
	if a.file != nil {
		_ = a.file.Close() // it was only read
	}
	a.file = f
	return nil
}

// stays checks that the file of the last write still has its name. It is called
// after each write, once that is synced.
func (a *appender) stays(w written) error {
	if err := stays(a.file, a.file.Name()); err != nil || !w.rolled {
		return err
	}
	return a.hold()
}

func (a *appender) open() error {
	log, err := tidwall.Open(a.dir, &tidwall.Options{
		NoSync:           true,
		SegmentSize:      int(a.segmentBytes),
		SegmentCacheSize: 1,
		AllowEmpty:       true,
		DirPerms:         dirPerm,
		FilePerms:        filePerm,
	})
	if err != nil {
		return fmt.Errorf("open for appending: %w", err)
	}
	last, err := log.LastIndex()
	if err == nil && last != a.next-1 {
		err = fmt.Errorf("the appender is at block %d, not at %d: another program has written to the directory", last+1, a.next)
	}
	if err != nil {
		return errors.Join(err, log.Close())
	}
	a.log, a.size, a.rolls = log, 0, 0
	if a.buffer == nil {
		a.buffer = make([]byte, 0, a.segmentBytes+lastBlockRoom)
	}
	lendBuffer(a.log, a.buffer)
	return nil
}

// lastBlockRoom is how far the block that fills a segment may reach beyond its
// size before the lent buffer has to grow.
const lastBlockRoom = 256 << 10

// written is what one write did.
type written struct {
	bytes  int64 // by how much the segment file grew
	rolled bool  // the file is synced and sealed, and an empty one has been made
}

// write appends one block. Nothing is durable before sync, or before the
// directory is synced if it rolled.
func (a *appender) write(block []byte) (written, error) {
	a.batch.Clear()
	a.batch.Write(a.next, block)
	if err := a.log.WriteBatch(&a.batch); err != nil {
		return written{}, err
	}
	w := written{bytes: int64(uvarintLen(uint64(len(block))) + len(block))}
	a.next++
	a.size += w.bytes
	// The rule by which the appender underneath starts a new file.
	if a.size < a.segmentBytes {
		return w, nil
	}
	w.rolled = true
	a.size = 0
	a.rolls++
	if a.rolls >= rollsPerAppender {
		if err := a.log.Close(); err != nil {
			return w, err
		}
		return w, a.open()
	}
	// Only after this is the full segment's buffer free to be lent again.
	if err := a.log.ClearCache(); err != nil {
		return w, err
	}
	lendBuffer(a.log, a.buffer)
	return w, nil
}

func (a *appender) sync() error { return a.log.Sync() }

// close gives up the file. Its error tells nothing that a sync before did not.
func (a *appender) close() {
	if a.log != nil {
		_ = a.log.Close()
		a.log = nil
	}
	if a.file != nil {
		_ = a.file.Close()
		a.file = nil
	}
}

// onlyWriteFailed reports whether an append failed without any sync failing, so
// that what was synced before is known to be on the disk and in the file.
func onlyWriteFailed(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path) && (path.Op == "write" || path.Op == "open")
}

func uvarintLen(v uint64) int {
	var buf [binary.MaxVarintLen64]byte
	return binary.PutUvarint(buf[:], v)
}
