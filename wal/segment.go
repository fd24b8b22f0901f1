package wal

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"time"
)

// segment is one segment file. Log.mu guards size and sealed.
type segment struct {
	number uint64 // of its first block, and its name
	path   string
	size   int64 // bytes that readers may see
	sealed bool  // size will not grow any more

	headMu sync.Mutex
	looked bool    // head has been looked for and need not be again
	head   *Header // its first good block; nil: none found
	damage *Damage // what had to be passed to find it
}

// SegmentInfo describes one segment file.
type SegmentInfo struct {
	Name     string    `json:"name"`
	Bytes    int64     `json:"bytes"`
	FirstSeq uint64    `json:"first_seq"` // 0 if it holds no readable block
	LastSeq  uint64    `json:"last_seq"`  // up to the next segment's first, lost ones included
	Time     time.Time `json:"time"`      // of its first block, see Header.Adjusted
	Sealed   bool      `json:"sealed"`
}

func newSegment(dir string, number uint64) *segment {
	return &segment{number: number, path: filepath.Join(dir, segmentName(number))}
}

func (s *segment) name() string { return filepath.Base(s.path) }

// extent returns how far readers may read s and whether that is final.
func (l *Log) extent(s *segment) (size int64, sealed bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return s.size, s.sealed
}

// newScanner scans s from its start up to limit.
func (l *Log) newScanner(s *segment, file io.ReaderAt, limit int64) scanner {
	return scanner{
		window:     window{file: file, limit: limit},
		name:       s.name(),
		valid:      l.isOurs,
		lastNumber: s.number - 1,
	}
}

// isOurs reports whether a block may carry an ID.
func (l *Log) isOurs(id ID) bool {
	if l.identity == nil {
		return !id.IsZero()
	}
	return l.identity.has(id)
}

// head returns the header of the first good block of s, or nil if there is none
// (yet), and the damage before it.
func (l *Log) head(s *segment) (*Header, *Damage, error) {
	s.headMu.Lock()
	defer s.headMu.Unlock()
	if s.looked {
		return s.head, s.damage, nil
	}
	size, sealed := l.extent(s)
	if size == 0 {
		s.looked = sealed
		return nil, nil, nil
	}
	file, err := os.Open(s.path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	scan := l.newScanner(s, file, size)
	scan.headers, scan.ahead = true, 4<<10
	b, damage, err := scan.next()
	if damage != nil {
		// Only a full check tells which block is the first good one.
		scan = l.newScanner(s, file, size)
		b, damage, err = scan.next()
	}
	if err != nil && err != io.EOF {
		return nil, nil, err
	}
	if err == nil {
		s.head = &b.Header
	}
	s.looked, s.damage = sealed || err == nil, damage
	return s.head, s.damage, nil
}

// view returns the segments as they are now. The slice is never changed.
func (l *Log) view() []*segment {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.segments
}

// firstFrom returns the first good block at or behind segments[i], or nil.
func (l *Log) firstFrom(segments []*segment, i int) (*Header, error) {
	for ; i < len(segments); i++ {
		h, _, err := l.head(segments[i])
		if err != nil || h != nil {
			return h, err
		}
	}
	return nil, nil
}

// search finds the last segment whose first block is not after what is sought,
// by halving: only the segments that it looks at are opened. It returns 0 if
// all are after it.
func (l *Log) search(segments []*segment, after func(*Header) bool) (int, error) {
	var failed error
	i := sort.Search(len(segments), func(i int) bool {
		h, err := l.firstFrom(segments, i)
		if err != nil {
			failed = err
		}
		return err != nil || h == nil || after(h)
	})
	return max(i-1, 0), failed
}

// Segments describes the segment files, oldest first. It reads the first header
// of each that has not been looked at yet.
func (l *Log) Segments() ([]SegmentInfo, error) {
	segments := l.view()
	infos := make([]SegmentInfo, len(segments))
	last := l.DurableSeq()
	for i := len(segments) - 1; i >= 0; i-- {
		s := segments[i]
		info := SegmentInfo{Name: s.name()}
		info.Bytes, info.Sealed = l.extent(s)
		h, _, err := l.head(s)
		if err != nil {
			if !l.holds(s) {
				continue // retention was faster
			}
			return nil, err
		}
		if h != nil {
			info.FirstSeq, info.LastSeq, info.Time = h.FirstSeq, last, l.dated(*h).Adjusted
			last = h.FirstSeq - 1
		}
		infos[i] = info
	}
	for len(infos) > 0 && infos[0].Name == "" {
		infos = infos[1:]
	}
	return infos, nil
}

// holds reports whether s is still part of the log.
func (l *Log) holds(s *segment) bool {
	segments := l.view()
	return len(segments) > 0 && s.number >= segments[0].number
}

// deleted reports whether err is that of opening s after retention has deleted it.
func (l *Log) deleted(s *segment, err error) bool {
	return errors.Is(err, fs.ErrNotExist) && !l.holds(s)
}

// setHead records the first block of a segment that has just been written.
func (s *segment) setHead(h *Header) {
	s.headMu.Lock()
	defer s.headMu.Unlock()
	s.head, s.looked = h, true
}
