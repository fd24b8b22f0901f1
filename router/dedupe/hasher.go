package dedupe

import (
	"encoding/binary"

	"github.com/dchest/siphash"
)

// Hasher makes the digests that stand for idempotency keys. They are keyed by
// the identity of the log, so that a sender cannot prepare keys that collide.
type Hasher struct{ k0, k1 uint64 }

// NewHasher makes the hasher of the log with this identity (a wal.ID). Digests
// that stand in a log's blocks can be compared with those of its hasher alone.
func NewHasher(log [16]byte) Hasher {
	return Hasher{
		k0: binary.LittleEndian.Uint64(log[:8]),
		k1: binary.LittleEndian.Uint64(log[8:]),
	}
}

// Digest is the SipHash-2-4 of project and key. It is never NoKey. Two different
// keys of a window of a million share one with a chance of 1 in 37 million.
func (h Hasher) Digest(project, key string) uint64 {
	var buf [512]byte // spills to the heap for longer keys
	// The length in front keeps ("ab", "c") apart from ("a", "bc").
	text := binary.AppendUvarint(buf[:0], uint64(len(project)))
	text = append(text, project...)
	text = append(text, key...)
	if d := siphash.Hash(h.k0, h.k1, text); d != NoKey {
		return d
	}
	return 1
}
