package wal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"iter"
	"math/rand/v2"
	"slices"
	"time"
)

// The block header. The first prologueSize bytes, and the header checksum in
// the header's last four, keep their place in every format version: that is
// what lets a reader tell a newer block from a damaged one. FORMAT.md is the
// specification.
const (
	formatVersion = 1

	offMagic        = 0
	offVersion      = 8
	offFlags        = 9
	offReserved     = 10
	offHeaderSize   = 12
	offLogID        = 16
	offNumber       = 32
	offFirstSeq     = 40
	offTime         = 48
	offEvents       = 56
	offEntries      = 60
	offStoredSize   = 64
	offRawSize      = 68
	offMask         = 72
	offDigestCount  = 76
	offPayloadCRC   = 80
	offDigests      = 84
	prologueSize    = 32 // magic to log ID: fixed for every version
	crcSize         = 4
	digestSize      = 8
	minHeaderSize   = offDigests + crcSize
	flagCompression = 0x03 // the bits of the flags byte that name the compression

	// Limits of the format, which hold for every version. The options may set
	// tighter ones for what is written.
	maxBlockDigests = 1 << 16
	maxBlockEvents  = 1 << 20
	maxHeaderSize   = minHeaderSize + digestSize*maxBlockDigests
	maxPayloadSize  = 64 << 20
)

// blockMagic starts every block. Its first byte occurs nowhere else in it, so
// two occurrences never overlap, and it is not valid UTF-8, so JSON that is
// stored without compression never needs a mask.
var blockMagic = [8]byte{0xF7, 'F', 'B', 'Y', '\r', '\n', 0x1A, 0xBE}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Header describes one block: one commit group, written with one write and
// made durable with one sync.
type Header struct {
	Number     uint64 // the block's index in the log, from 1
	LogID      ID     // the log that wrote it
	FirstSeq   uint64 // the seq of its first event
	Events     uint32 // how many seqs it takes, at least 1
	EntryCount uint32 // how many appended entries it holds, at least 1
	// Time is the commit time in milliseconds, UTC: the received_at of every event in
	// it. It never changes once it is believed.
	Time time.Time
	// Doubted says that the clock was not believed, and has not been set since. Time
	// is what it said, and will be another.
	Doubted bool
	// Adjusted is the commit time by the clock as it is set now: in the order of the
	// log it never runs backwards. It is Time but for blocks that were stamped by a
	// clock that was believed, and set later.
	Adjusted time.Time

	Compression Compression
	HeaderSize  int    // bytes of the header, digests and checksum included
	StoredSize  int    // bytes of the payload as stored
	RawSize     int    // bytes of the payload before compression
	DigestCount int    // how many digests the header carries
	Mask        uint32 // XORed over digests and payload; 0 for nearly every block
	payloadCRC  uint32
	stamp       time.Time // as it is in the file, once the header has been dated
	aged        time.Time // what its age is counted from
}

// LastSeq is the seq of the block's last event.
func (h *Header) LastSeq() uint64 { return h.FirstSeq + uint64(h.Events) - 1 }

// Size is the whole block's size in bytes, without the segment file's length
// prefix.
func (h *Header) Size() int { return h.HeaderSize + h.StoredSize }

// Block is one block as a [Reader] returns it. It owns its memory.
type Block struct {
	Header
	Digests []uint64 // keyed digests of the idempotency keys of its events
	Gaps    []Gap    // seqs lost directly before this block
	File    string   // the segment file's name
	Offset  int64    // where the block starts in it

	payload []byte
	spare   *spareBuffer
}

// Release gives the block's memory back to its reader, which uses it for a
// later block: worth its while for who reads history fast. Nothing that came
// out of the block may be used afterwards. A block that is not released is left
// to the garbage collector.
func (b *Block) Release() {
	if b.spare != nil {
		b.spare.put(b.payload)
		b.payload, b.spare = nil, nil
	}
}

// Entries yields each entry's first seq and its Data and Events, in order. The
// bytes belong to the block and stay valid as long as it is referenced.
func (b *Block) Entries() iter.Seq2[uint64, Entry] {
	return func(yield func(uint64, Entry) bool) {
		seq, rest := b.FirstSeq, b.payload
		for len(rest) > 0 {
			events, data, next, ok := cutEntry(rest)
			if !ok || !yield(seq, Entry{Data: data, Events: int(events)}) {
				return // framing was checked when the block was decoded
			}
			seq, rest = seq+events, next
		}
	}
}

// Gap is a range of seqs that the log cannot deliver.
type Gap struct {
	First  uint64 `json:"first"`
	Last   uint64 `json:"last"`
	Reason string `json:"reason"` // one of the Reason constants, or what was wrong with the damaged block
	File   string `json:"file,omitempty"`
	Offset int64  `json:"offset,omitempty"`
}

// blame gives a gap its reason if that is known better than [ReasonFloor]: damage
// was passed in it, or there are numbers between the block before it, last, and
// the block behind it, next.
func (g *Gap) blame(damage *Damage, last, next uint64) {
	switch {
	case damage != nil:
		g.Reason, g.File, g.Offset = damage.Reason, damage.File, damage.Offset
	case next > last+1:
		g.Reason, g.File, g.Offset = ReasonMissing, segmentName(last+1), 0
	}
}

// appendEntryFrame frames one entry behind dst.
func appendEntryFrame(dst []byte, events int, data []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(events))
	dst = binary.AppendUvarint(dst, uint64(len(data)))
	return append(dst, data...)
}

// maxEntryFrame is the most that framing adds to an entry's data.
const maxEntryFrame = 2 * binary.MaxVarintLen32

// cutEntry takes the first entry off a payload.
func cutEntry(payload []byte) (events uint64, data, rest []byte, ok bool) {
	events, n := binary.Uvarint(payload)
	if n <= 0 || events == 0 || events > maxBlockEvents {
		return 0, nil, nil, false
	}
	payload = payload[n:]
	size, n := binary.Uvarint(payload)
	if n <= 0 || size > uint64(len(payload)-n) {
		return 0, nil, nil, false
	}
	payload = payload[n:]
	return events, payload[:size:size], payload[size:], true
}

// checkEntries reports whether a payload is exactly the entries that its header
// promises.
func checkEntries(h *Header, payload []byte) bool {
	var events, entries uint64
	for len(payload) > 0 {
		n, _, rest, ok := cutEntry(payload)
		if !ok {
			return false
		}
		events, entries, payload = events+n, entries+1, rest
	}
	return events == uint64(h.Events) && entries == uint64(h.EntryCount)
}

// crcSeed is the checksum state that every checksum of a log starts from, so
// that bytes of another log, or bytes made by someone who does not know the
// ID, do not pass.
func crcSeed(id ID) uint32 { return crc32.Checksum(id[:], castagnoli) }

// appendBlock encodes a block behind dst. stored is the payload after
// compression; h's sizes, mask and checksums are filled in here. stored may be
// changed in place.
func appendBlock(dst []byte, h *Header, digests []uint64, stored []byte) []byte {
	h.DigestCount, h.StoredSize = len(digests), len(stored)
	h.HeaderSize = minHeaderSize + digestSize*len(digests)
	h.Mask = 0
	start := len(dst)
	for {
		dst = appendMasked(dst[:start], h, digests, stored)
		// A block must not contain the magic twice: see FORMAT.md, "Masking".
		if !bytes.Contains(dst[start+len(blockMagic):], blockMagic[:]) {
			return dst
		}
		for h.Mask = 0; h.Mask == 0; {
			h.Mask = rand.Uint32()
		}
	}
}

func appendMasked(dst []byte, h *Header, digests []uint64, stored []byte) []byte {
	seed := crcSeed(h.LogID)
	start := len(dst)
	bodyStart := start + h.HeaderSize
	dst = append(dst, blockMagic[:]...)
	dst = append(dst, formatVersion, byte(h.Compression), 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(h.HeaderSize))
	dst = append(dst, h.LogID[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, h.Number)
	dst = binary.LittleEndian.AppendUint64(dst, h.FirstSeq)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.Time.UnixMilli()))
	dst = binary.LittleEndian.AppendUint32(dst, h.Events)
	dst = binary.LittleEndian.AppendUint32(dst, h.EntryCount)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(h.StoredSize))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(h.RawSize))
	dst = binary.LittleEndian.AppendUint32(dst, h.Mask)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(h.DigestCount))
	dst = binary.LittleEndian.AppendUint32(dst, 0) // payload checksum, below
	mask64 := uint64(h.Mask)<<32 | uint64(h.Mask)
	for _, d := range digests {
		dst = binary.LittleEndian.AppendUint64(dst, d^mask64)
	}
	dst = append(dst, 0, 0, 0, 0) // header checksum, below
	dst = append(dst, stored...)

	header, body := dst[start:bodyStart], dst[bodyStart:]
	applyMask(body, h.Mask)
	h.payloadCRC = crc32.Update(seed, castagnoli, body)
	binary.LittleEndian.PutUint32(header[offPayloadCRC:], h.payloadCRC)
	sum := crc32.Update(seed, castagnoli, header[:len(header)-crcSize])
	binary.LittleEndian.PutUint32(header[len(header)-crcSize:], sum)
	return dst
}

// applyMask XORs p with the little-endian mask, repeated.
func applyMask(p []byte, mask uint32) {
	if mask == 0 {
		return
	}
	for ; len(p) >= 4; p = p[4:] {
		binary.LittleEndian.PutUint32(p, binary.LittleEndian.Uint32(p)^mask)
	}
	for i := range p {
		p[i] ^= byte(mask >> (8 * i))
	}
}

// FormatError reports a block that is whole but that this release cannot read:
// an unknown version, flag or compression. It is not damage. Run the release
// that wrote it, or a newer one.
type FormatError struct {
	File   string
	Offset int64
	What   string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("wal: %s at offset %d: %s is unknown to this release: run the release that wrote the log, or a newer one", e.File, e.Offset, e.What)
}

// Damage reasons, as they appear in [Gap].Reason and [Damage].Reason.
const (
	reasonPrefix        = "length prefix damaged"
	reasonMagic         = "no block where one must start"
	reasonShort         = "block cut short"
	reasonHeaderCRC     = "header checksum mismatch"
	reasonHeaderFields  = "header fields contradict each other"
	reasonForeign       = "block of another log"
	reasonOrder         = "block out of order"
	reasonPayloadCRC    = "payload checksum mismatch"
	reasonPayloadFormat = "payload does not decode"
)

// damageError says why bytes are not a block.
type damageError string

func (e damageError) Error() string { return string(e) }

// headerSizeOf reads the header's size from its prologue: at least
// prologueSize bytes that start with the magic.
func headerSizeOf(p []byte) (int, error) {
	if !bytes.HasPrefix(p, blockMagic[:]) {
		return 0, damageError(reasonMagic)
	}
	size := binary.LittleEndian.Uint32(p[offHeaderSize:])
	if size < minHeaderSize || size > maxHeaderSize {
		return 0, damageError(reasonHeaderCRC)
	}
	return int(size), nil
}

// parseHeader decodes a header that fills p, as sized by headerSizeOf. A header
// with a good checksum that this release does not know is a *FormatError; all
// else that is wrong is a damageError.
func parseHeader(p []byte) (Header, error) {
	h := Header{HeaderSize: len(p)}
	copy(h.LogID[:], p[offLogID:])
	sum := crc32.Update(crcSeed(h.LogID), castagnoli, p[:len(p)-crcSize])
	if sum != binary.LittleEndian.Uint32(p[len(p)-crcSize:]) {
		return Header{}, damageError(reasonHeaderCRC)
	}
	if p[offVersion] != formatVersion {
		return Header{}, &FormatError{What: fmt.Sprintf("block format version %d", p[offVersion])}
	}
	flags := uint32(p[offFlags]) | uint32(binary.LittleEndian.Uint16(p[offReserved:]))<<8
	h.Compression = Compression(flags & flagCompression)
	if flags&^flagCompression != 0 || !h.Compression.known() {
		return Header{}, &FormatError{What: fmt.Sprintf("block flags %#x", flags)}
	}
	h.Number = binary.LittleEndian.Uint64(p[offNumber:])
	h.FirstSeq = binary.LittleEndian.Uint64(p[offFirstSeq:])
	h.Time = time.UnixMilli(int64(binary.LittleEndian.Uint64(p[offTime:]))).UTC()
	h.Events = binary.LittleEndian.Uint32(p[offEvents:])
	h.EntryCount = binary.LittleEndian.Uint32(p[offEntries:])
	h.Mask = binary.LittleEndian.Uint32(p[offMask:])
	h.payloadCRC = binary.LittleEndian.Uint32(p[offPayloadCRC:])
	stored := binary.LittleEndian.Uint32(p[offStoredSize:])
	raw := binary.LittleEndian.Uint32(p[offRawSize:])
	digests := binary.LittleEndian.Uint32(p[offDigestCount:])
	h.StoredSize, h.RawSize, h.DigestCount = int(stored), int(raw), int(digests)

	switch {
	case h.Number == 0, h.FirstSeq == 0,
		h.Events == 0 || h.Events > maxBlockEvents,
		h.EntryCount == 0 || h.EntryCount > h.Events,
		h.FirstSeq+uint64(h.Events) < h.FirstSeq,
		raw > maxPayloadSize || stored > raw,
		h.Compression == CompressionNone && stored != raw,
		digests > maxBlockDigests,
		len(p) != minHeaderSize+digestSize*int(digests):
		return Header{}, damageError(reasonHeaderFields)
	}
	return h, nil
}

// parseDigests reads the digests of a header that parseHeader accepted into dst,
// if that has the room.
func parseDigests(dst []uint64, h *Header, p []byte) []uint64 {
	if h.DigestCount == 0 {
		return nil
	}
	mask64 := uint64(h.Mask)<<32 | uint64(h.Mask)
	dst = slices.Grow(dst[:0], h.DigestCount)[:h.DigestCount]
	for i := range dst {
		dst[i] = binary.LittleEndian.Uint64(p[offDigests+digestSize*i:]) ^ mask64
	}
	return dst
}

// checkPayload reports whether stored is the payload that the header promises.
func checkPayload(h *Header, stored []byte) bool {
	return crc32.Update(crcSeed(h.LogID), castagnoli, stored) == h.payloadCRC
}
