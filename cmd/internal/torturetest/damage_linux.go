package torturetest

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"forebay/node/state"
	"forebay/shipper"
	"forebay/wal"
	"forebay/wal/record"
)

// placed is one block in a segment file, found by what wal/FORMAT.md says and without the log's own code.
type placed struct {
	prefix, start, end int // of its length, its first byte, and the byte behind it
	first, last        uint64
}

// segment is a file of the log that begins with whole blocks.
type segment struct {
	path   string
	bytes  []byte
	blocks []placed
}

var segmentName = regexp.MustCompile(`^[0-9]{20}$`)

// readSegments reads the files of a log, oldest first. Behind damage nothing is looked for.
func readSegments(dir string) ([]segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []segment
	for _, e := range entries {
		if !segmentName.MatchString(e.Name()) {
			continue
		}
		s := segment{path: filepath.Join(dir, e.Name())}
		if s.bytes, err = os.ReadFile(s.path); err != nil {
			return nil, err
		}
		s.place()
		all = append(all, s)
	}
	return all, nil
}

func (s *segment) place() {
	const magic, firstAt, eventsAt, least = "\xF7FBY\r\n\x1A\xBE", 40, 56, 88
	for at := 0; ; {
		length, n := binary.Uvarint(s.bytes[at:])
		start := at + max(n, 0)
		if n <= 0 || length < least || length > uint64(len(s.bytes)-start) || string(s.bytes[start:start+len(magic)]) != magic {
			return
		}
		end := start + int(length)
		first := binary.LittleEndian.Uint64(s.bytes[start+firstAt:])
		events := binary.LittleEndian.Uint32(s.bytes[start+eventsAt:])
		s.blocks = append(s.blocks, placed{prefix: at, start: start, end: end, first: first, last: first + uint64(events) - 1})
		at = end
	}
}

// damageLog kills the node, compares the log with the book, and breaks bytes of a segment.
func (w *world) damageLog(r *rand.Rand) (func(), error) {
	kind, where, at := r.IntN(6), r.Float64(), r.Float64()
	w.links[toNode].Resume()
	w.node.kill()
	// Whoever has an answer notes it before anything is damaged.
	w.noting.Lock()
	defer w.noting.Unlock()
	known, firstKept, err := w.logged()
	if err == nil {
		w.compareLog(known, firstKept)
		err = w.damage(kind, where, at, known)
	}
	if err != nil {
		w.startNode()
		return nil, err
	}
	return w.startNode, nil
}

// damage breaks something and condemns the seqs that are lost by it.
func (w *world) damage(kind int, where, at float64, known map[uint64]string) error {
	segments, err := readSegments(filepath.Join(w.data, "wal"))
	if err != nil {
		return err
	}
	segments = slices.DeleteFunc(segments, func(s segment) bool { return len(s.blocks) == 0 || w.damaged[s.path] })
	if len(segments) == 0 {
		return errors.New("there is nothing to damage")
	}
	newest := len(segments) - 1
	if kind >= 3 { // half of the times the newest, else any
		where = 1
	}
	i := min(int(where*float64(len(segments))), newest)
	s := segments[i]
	block := min(int(at*float64(len(s.blocks))), len(s.blocks)-1)
	b := s.blocks[block]
	offset := b.prefix + min(int(at*float64(len(s.bytes)))%(b.end-b.prefix), b.end-b.prefix-1)
	broken := slices.Clone(s.bytes)
	first, last := b.first, b.last // what is lost
	switch kind % 3 {
	case 0: // a bit
		broken[offset] ^= 1 << (offset % 8)
		if offset < b.start {
			first, last = 1, 0 // of a length, which is found without
		}
	case 1: // the end of the file
		broken = broken[:offset]
		last = s.blocks[len(s.blocks)-1].last
	default: // a stretch, as of a page that was never written
		clear(broken[offset:min(offset+4096, len(broken))])
		for _, other := range s.blocks[block:] {
			if other.prefix < offset+4096 {
				last = other.last
			}
		}
	}
	// The end of the log is lost without a trace but for what the state knows of it; of the last second, it may know
	// nothing. A disk that takes back what it has synced is then beyond what a node can tell.
	if end := s.blocks[len(s.blocks)-1].last; i == newest && last == end {
		floor, err := w.floor()
		if err != nil {
			return err
		}
		if floor < end {
			return fmt.Errorf("the state knows seqs up to %d, and the log ends at %d: what it lost could not be named", floor, end)
		}
	}
	w.book.condemn(first, last, known)
	w.damaged[s.path] = true // where its blocks are can no longer be told from its beginning
	return os.WriteFile(s.path, broken, 0o640)
}

// floor is the highest seq that the node's state knows.
func (w *world) floor() (uint64, error) {
	if free, err := freeBytes(w.data); err != nil {
		return 0, err
	} else if free < 8<<20 {
		return 0, errors.New("the disk is full, and a state that cannot be opened stays locked by the process that tried")
	}
	s, err := state.Open(filepath.Join(w.data, "state"), state.Options{})
	if err != nil {
		return 0, err
	}
	passed, err := shipper.FloorSeq(s)
	saved, savedErr := s.DurableSeq()
	return max(passed, saved), errors.Join(err, savedErr, s.Close())
}

// logged reads the keys of all events that the stopped log holds.
func (w *world) logged() (known map[uint64]string, firstKept uint64, err error) {
	log, err := wal.Open(wal.Options{Dir: filepath.Join(w.data, "wal"), ReadOnly: true})
	if err != nil {
		return nil, 0, err
	}
	reader := log.NewReader(1)
	defer func() { err = errors.Join(err, reader.Close(), log.Close()) }()
	known = map[uint64]string{}
	for {
		block, err := reader.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return known, log.FirstSeq(), nil
		}
		if err != nil {
			return nil, 0, err
		}
		for seq, entry := range block.Entries() {
			b, err := record.Decode(entry.Data)
			if err != nil {
				return nil, 0, fmt.Errorf("the record of seq %d: %w", seq, err)
			}
			for i, e := range b.Events {
				known[seq+uint64(i)] = keyIn(e.Raw)
			}
		}
	}
}

// keyIn is the idempotency key of an event.
func keyIn(raw []byte) string {
	var e struct {
		IdempotencyKey string `json:"idempotencyKey"`
	}
	_ = json.Unmarshal(raw, &e) // what is no JSON has no key, and is missed by it
	return e.IdempotencyKey
}

// compareLog holds the stopped log to the book: what was accepted is there, as it was.
func (w *world) compareLog(known map[uint64]string, firstKept uint64) {
	w.book.mu.Lock()
	defer w.book.mu.Unlock()
	for seq, key := range w.book.seqs {
		if seq >= firstKept && known[seq] != key {
			w.book.problemLocked("event %s was accepted as seq %d; the log has %q there", key, seq, known[seq])
		}
	}
}
