package receiver

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"forebay/wal/durable"
)

// journal is an append-only file with a Delivery a line: all that took
// effect, in order for each session. Appends that wait share one fsync.
type journal struct {
	file *os.File

	mu      sync.Mutex
	done    sync.Cond // a sync has ended
	waiting []byte    // lines not yet written
	round   uint64    // the sync that will cover waiting
	synced  uint64    // rounds on disk
	busy    bool      // someone writes
	err     error     // the first failure; nothing is believed after it
}

// journalLine is a Delivery with its events as strings: encoding/json keeps a
// string's bytes, but rewrites raw JSON.
type journalLine struct {
	Delivery
	Events []string `json:"events"`
}

func newJournalLine(d Delivery) journalLine {
	l := journalLine{Delivery: d, Events: make([]string, len(d.Events))}
	for i, e := range d.Events {
		l.Events[i] = string(e)
	}
	return l
}

func (l journalLine) delivery() Delivery {
	d := l.Delivery
	for _, e := range l.Events {
		d.Events = append(d.Events, json.RawMessage(e))
	}
	return d
}

// openJournal opens or creates the file and calls fn for each line. A last
// line without its end was never acknowledged, and is cut off.
func openJournal(path string, fn func(Delivery) error) (*journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the receiver's state: %w", err)
	}
	end, err := readJournal(f, fn)
	if err == nil {
		err = errors.Join(f.Truncate(end), f.Sync(), durable.SyncDir(filepath.Dir(path)))
	}
	if err == nil {
		_, err = f.Seek(end, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the receiver's state %s: %w", path, err), f.Close())
	}
	j := &journal{file: f, round: 1}
	j.done.L = &j.mu
	return j, nil
}

// ReadStateFile calls fn for all that took effect according to a receiver's
// state file, for each session in order.
func ReadStateFile(path string, fn func(Delivery) error) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read a receiver's state: %w", err)
	}
	_, err = readJournal(f, fn)
	return errors.Join(err, f.Close())
}

// readJournal returns the offset behind the last whole line.
func readJournal(r io.Reader, fn func(Delivery) error) (end int64, err error) {
	in := bufio.NewReaderSize(r, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		if err == io.EOF {
			return end, nil
		}
		if err != nil {
			return end, err
		}
		var l journalLine
		if err := json.Unmarshal(line, &l); err != nil {
			return end, fmt.Errorf("line at byte %d is damaged: %w", end, err)
		}
		if err := fn(l.delivery()); err != nil {
			return end, fmt.Errorf("line at byte %d: %w", end, err)
		}
		end += int64(len(line))
	}
}

// append returns once d is on disk.
func (j *journal) append(d Delivery) error {
	line, err := json.Marshal(newJournalLine(d))
	if err != nil {
		return fmt.Errorf("encode delivery: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.waiting = append(append(j.waiting, line...), '\n')
	round := j.round
	for j.synced < round && j.err == nil {
		if j.busy {
			j.done.Wait()
			continue
		}
		j.sync()
	}
	if j.synced >= round {
		return nil
	}
	return j.err
}

// sync writes what waits; the lock is open meanwhile.
func (j *journal) sync() {
	lines, round := j.waiting, j.round
	j.waiting, j.busy = nil, true
	j.round++
	j.mu.Unlock()
	_, err := j.file.Write(lines)
	if err == nil {
		err = j.file.Sync()
	}
	j.mu.Lock()
	j.busy = false
	if err == nil {
		j.synced = round
	} else {
		j.err = fmt.Errorf("the receiver's state cannot be written, restart it: %w", err)
	}
	j.done.Broadcast()
}

func (j *journal) close() error { return j.file.Close() }
