// Package header is the grammar of the headers that travel with every request
// to a Session Manager: names, values, and how they are written and read. The
// meaning of each is in shipper/DELIVERY.md.
//
//	Idempotency-Key: 0f…9c:4:7d…21:118-131   log, epoch, session, first-last seq
//	Forebay-Epoch:   4
//	Forebay-Seqs:    118,1,1,5,6             first absolute, then the distance to the one before
//	Forebay-Gaps:    101,110-112             seqs the session does not get
//	Forebay-Fill:    110-111                 the events fill these gaps
//	Forebay-Replay:  true                    delivered before a rewind, again on purpose
//
// The sink writes them, the reference receiver reads them; neither imports
// the other.
package header

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// The names of the headers, in canonical form.
const (
	IdempotencyKey = "Idempotency-Key"
	Epoch          = "Forebay-Epoch"
	Seqs           = "Forebay-Seqs"
	Gaps           = "Forebay-Gaps"
	Fill           = "Forebay-Fill"
	Replay         = "Forebay-Replay"
)

// MaxSeqs bounds how many seqs one header may name when it is read.
const MaxSeqs = 100_000

// SessionID names a session of a project in keys, marks and logs, without
// telling either: the first 16 bytes of sha256(project, zero byte, session).
type SessionID [16]byte

// NewSessionID hashes the pair.
func NewSessionID(project, session string) SessionID {
	h := sha256.New()
	h.Write([]byte(project))
	h.Write([]byte{0})
	h.Write([]byte(session))
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	return SessionID(sum[:16])
}

// String is 32 lower-case hex digits.
func (s SessionID) String() string { return hex.EncodeToString(s[:]) }

// ParseSessionID reads what String wrote.
func ParseSessionID(s string) (SessionID, error) {
	var id SessionID
	if len(s) != 2*len(id) {
		return id, fmt.Errorf("session hash %q: want %d hex digits", s, 2*len(id))
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return id, fmt.Errorf("session hash %q: %w", s, err)
	}
	return id, nil
}

// ReplayID is the log id under which a replay delivers events of a log: the
// first 16 bytes of sha256("replay", zero byte, log id, epoch as 8 bytes big
// endian). So each replay has marks of its own.
func ReplayID(log [16]byte, epoch uint64) [16]byte {
	b := append([]byte("replay\x00"), log[:]...)
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(b, epoch))
	return [16]byte(sum[:16])
}

// Key is the content of Idempotency-Key. Two requests with equal keys carry
// the same events; a retry repeats its key.
type Key struct {
	LogID       string // 32 hex digits
	Epoch       uint64
	Session     SessionID
	First, Last uint64 // seqs of the first and the last event
	Fill        bool   // written as a trailing ":fill", so that a fill never shares a key with what it fills
}

// String writes the key.
func (k Key) String() string {
	b := make([]byte, 0, 128)
	b = append(b, k.LogID...)
	b = append(b, ':')
	b = strconv.AppendUint(b, k.Epoch, 10)
	b = append(b, ':')
	b = hex.AppendEncode(b, k.Session[:])
	b = append(b, ':')
	b = strconv.AppendUint(b, k.First, 10)
	b = append(b, '-')
	b = strconv.AppendUint(b, k.Last, 10)
	if k.Fill {
		b = append(b, ":fill"...)
	}
	return string(b)
}

// ParseKey reads what String wrote.
func ParseKey(s string) (Key, error) {
	malformed := func(err error) (Key, error) {
		return Key{}, fmt.Errorf("%s %q is not log:epoch:session:first-last: %w", IdempotencyKey, s, err)
	}
	parts := strings.Split(s, ":")
	if len(parts) == 5 && parts[4] == "fill" {
		k, err := ParseKey(strings.TrimSuffix(s, ":fill"))
		k.Fill = true
		return k, err
	}
	if len(parts) != 4 {
		return malformed(fmt.Errorf("%d parts", len(parts)))
	}
	k := Key{LogID: parts[0]}
	if raw, err := hex.DecodeString(k.LogID); err != nil || len(raw) != 16 {
		return malformed(fmt.Errorf("the log is not 32 hex digits"))
	}
	var err error
	if k.Epoch, err = strconv.ParseUint(parts[1], 10, 64); err != nil {
		return malformed(err)
	}
	if k.Session, err = ParseSessionID(parts[2]); err != nil {
		return malformed(err)
	}
	first, last, found := strings.Cut(parts[3], "-")
	if !found {
		return malformed(fmt.Errorf("no range"))
	}
	if k.First, err = strconv.ParseUint(first, 10, 64); err != nil {
		return malformed(err)
	}
	if k.Last, err = strconv.ParseUint(last, 10, 64); err != nil {
		return malformed(err)
	}
	if k.First == 0 || k.First > k.Last {
		return malformed(fmt.Errorf("no ascending range"))
	}
	return k, nil
}

// AppendSeqs writes ascending seqs as Forebay-Seqs has them.
func AppendSeqs(dst []byte, seqs []uint64) []byte {
	before := uint64(0)
	for i, seq := range seqs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, seq-before, 10)
		before = seq
	}
	return dst
}

// ParseSeqs reads Forebay-Seqs: at least one seq, strictly ascending.
func ParseSeqs(s string) ([]uint64, error) {
	if s == "" {
		return nil, fmt.Errorf("%s is missing", Seqs)
	}
	if n := strings.Count(s, ",") + 1; n > MaxSeqs {
		return nil, fmt.Errorf("%s names %d seqs, more than %d", Seqs, n, MaxSeqs)
	}
	var seqs []uint64
	at := uint64(0)
	for part := range strings.SplitSeq(s, ",") {
		step, err := strconv.ParseUint(part, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", Seqs, err)
		}
		if step == 0 || at+step < at {
			return nil, fmt.Errorf("%s: %q does not ascend", Seqs, part)
		}
		at += step
		seqs = append(seqs, at)
	}
	return seqs, nil
}
