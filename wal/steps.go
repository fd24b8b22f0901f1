package wal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"time"

	"forebay/wal/durable"
)

// stepsVersion is the version of the file of steps.
const stepsVersion = 1

// maxSteps bounds the file. Past it the oldest are forgotten, as if the clock had
// not been set there.
const maxSteps = 10_000

// step is a place in the log from which on blocks are stamped by a clock that
// has been set, or that is believed otherwise than before.
type step struct {
	Seq uint64 `json:"seq"` // blocks whose first seq is this or above come after the step
	// By is by how much the clock was set, in milliseconds. At the start of a log
	// whose newest block is from the future it is how far that is ahead.
	By int64 `json:"by_ms"`
	// Idle is how long, in milliseconds, the log may have been closed before the
	// step: nobody saw that time pass, so it makes nothing older.
	Idle int64 `json:"idle_ms,omitempty"`
	// Doubted says that what is stamped up to the next step is not believed.
	Doubted bool `json:"doubted,omitempty"`
}

// steps are all of a log, ascending. They are never changed in place.
type steps []step

// behind returns the index of the first step after a block.
func (s steps) behind(firstSeq uint64) int {
	return sort.Search(len(s), func(i int) bool { return s[i].Seq > firstSeq })
}

// date sets the times of a header as it was read.
func (s steps) date(h *Header) {
	if h.stamp.IsZero() {
		h.stamp = h.Time
	}
	h.Time, h.Adjusted, h.aged = h.stamp, h.stamp, h.stamp
	after := s.behind(h.FirstSeq)
	h.Doubted = after > 0 && s[after-1].Doubted
	for _, next := range s[after:] {
		by := time.Duration(next.By) * time.Millisecond
		h.Adjusted = h.Adjusted.Add(by)
		h.aged = h.aged.Add(by + time.Duration(next.Idle)*time.Millisecond)
		if h.Doubted {
			h.Time, h.Doubted = h.Adjusted, next.Doubted
		}
	}
	if h.Doubted {
		h.Time = h.stamp
	}
}

// with adds a step. Steps between which there is no block become one.
func (s steps) with(next step) steps {
	kept := s[:len(s):len(s)]
	for len(kept) > 0 && kept[len(kept)-1].Seq >= next.Seq {
		last := kept[len(kept)-1]
		next.By, next.Idle = next.By+last.By, next.Idle+last.Idle
		kept = kept[: len(kept)-1 : len(kept)-1]
	}
	if next.By == 0 && next.Idle == 0 && kept.doubted() == next.Doubted {
		return kept
	}
	return append(kept, next)
}

// doubted tells whether what comes after the last step is not believed.
func (s steps) doubted() bool { return len(s) > 0 && s[len(s)-1].Doubted }

// trailing is by how much the doubted clocks at the end of the log stand off
// the one that was believed last.
func (s steps) trailing() time.Duration {
	by := int64(0)
	for i := len(s) - 1; i >= 0 && s[i].Doubted; i-- {
		by += s[i].By
	}
	return time.Duration(by) * time.Millisecond
}

// stepsFile is the content of the file.
type stepsFile struct {
	Version int   `json:"version"`
	Steps   steps `json:"steps"`
}

// readSteps returns none if the directory has no such file.
func readSteps(dir string) (steps, error) {
	path := filepath.Join(dir, stepsName)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("steps of the clock: %w", err)
	}
	var f stepsFile
	err = json.Unmarshal(text, &f)
	ascending := slices.IsSortedFunc(f.Steps, func(a, b step) int {
		if a.Seq < b.Seq {
			return -1
		}
		return 1
	})
	switch {
	case err == nil && f.Version > stepsVersion:
		return nil, fmt.Errorf("%s has version %d, newer than this release reads (%d): run the release that wrote it, or a newer one", path, f.Version, stepsVersion)
	case err == nil && (f.Version < 1 || len(f.Steps) > maxSteps || !ascending):
		err = errors.New("its steps are not in order")
	}
	if err != nil {
		return nil, fmt.Errorf("%s is damaged (%w): move it away to take every block's time as it was stamped", path, err)
	}
	return f.Steps, nil
}

func writeSteps(dir string, s steps) error {
	text, err := json.Marshal(stepsFile{stepsVersion, s})
	if err != nil {
		return err
	}
	err = durable.Replace(filepath.Join(dir, stepsName), filePerm, func(f *os.File) error {
		_, err := f.Write(append(text, '\n'))
		return err
	})
	if err != nil {
		return fmt.Errorf("save the steps of the clock: %w", err)
	}
	return nil
}

// dated is a header with its times as the clock is set now.
func (l *Log) dated(h Header) Header {
	l.readSteps().date(&h)
	return h
}

func (l *Log) readSteps() steps {
	if s := l.steps.Load(); s != nil {
		return *s
	}
	return nil
}

// saveSteps makes a change of the steps durable, and readers see it.
func (l *Log) saveSteps(s steps) error {
	if slices.Equal(s, l.readSteps()) {
		return nil
	}
	if err := writeSteps(l.opts.Dir, s); err != nil {
		return err
	}
	l.steps.Store(&s)
	return nil
}

// Doubted tells whether the time of the block that holds seq, or would hold it,
// is not believed. It does no input or output.
func (l *Log) Doubted(seq uint64) bool {
	s := l.readSteps()
	after := s.behind(seq)
	return after > 0 && s[after-1].Doubted && s[after-1:].doubtedThrough()
}

// doubtedThrough tells whether no step is believed.
func (s steps) doubtedThrough() bool {
	return !slices.ContainsFunc(s, func(next step) bool { return !next.Doubted })
}
