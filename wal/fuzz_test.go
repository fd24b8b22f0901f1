package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var fuzzID = ID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

// fuzzBlock encodes a block as the committer does, behind its length prefix.
func fuzzBlock(t testing.TB, c Compression, number, seq uint64, datas ...[]byte) []byte {
	t.Helper()
	z, err := newCompressor(c)
	if err != nil {
		t.Fatal(err)
	}
	var payload []byte
	for _, data := range datas {
		payload = appendEntryFrame(payload, 1, data)
	}
	h := Header{
		Number: number, LogID: fuzzID, FirstSeq: seq, Events: uint32(len(datas)), EntryCount: uint32(len(datas)),
		Time: time.UnixMilli(1700000000000).UTC(), RawSize: len(payload),
	}
	stored, used, err := z.join(payload, nil)
	if err != nil {
		t.Fatal(err)
	}
	h.Compression = used
	block := appendBlock(nil, &h, []uint64{number, seq}, stored)
	return append(binary.AppendUvarint(nil, uint64(len(block))), block...)
}

// FuzzSegment scans arbitrary bytes as a segment file, as a reader, as recovery
// and as Digests do. Whatever they are: no panic, no endless loop, and only
// blocks that pass every check.
func FuzzSegment(f *testing.F) {
	none := fuzzBlock(f, CompressionNone, 1, 1, []byte("hello"), nil)
	s2 := fuzzBlock(f, CompressionS2, 2, 3, bytes.Repeat([]byte("abc"), 100))
	zstd := fuzzBlock(f, CompressionZstd, 3, 4, bytes.Repeat([]byte("xyz"), 200))
	masked := fuzzBlock(f, CompressionNone, 4, 5, none)
	all := slices.Concat(none, s2, zstd, masked)
	f.Add([]byte{})
	f.Add(none)
	f.Add(all)
	f.Add(all[:len(all)-9])
	f.Add(slices.Concat(none, make([]byte, 300), zstd))
	f.Add(slices.Concat(none[3:], s2))
	f.Add(slices.Concat(s2, none)) // out of order
	f.Add(none[1:])                // without its length prefix: damage of no bytes
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, headers := range []bool{false, true} {
			scanAll(t, text, headers)
		}
	})
}

func scanAll(t *testing.T, text []byte, headers bool) {
	var d decompressor
	s := scanner{
		window:  window{file: bytes.NewReader(text), limit: int64(len(text)), ahead: 64},
		valid:   func(id ID) bool { return id == fuzzID },
		headers: headers,
	}
	covered := int64(0)
	lastSeq := uint64(0)
	for {
		b, damage, err := s.next()
		if damage != nil {
			if damage.Offset != covered || damage.Bytes < 0 {
				t.Fatalf("damage %+v, read up to %d", damage, covered)
			}
			covered += damage.Bytes
		}
		var unknown *FormatError
		if errors.As(err, &unknown) {
			return
		}
		if err == io.EOF {
			if covered != int64(len(text)) {
				t.Fatalf("%d of %d bytes accounted for", covered, len(text))
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if b.FirstSeq <= lastSeq || b.end <= covered {
			t.Fatalf("block %+v behind seq %d, offset %d", b.Header, lastSeq, covered)
		}
		covered, lastSeq = b.end, b.LastSeq()
		if headers {
			parseDigests(nil, &b.Header, b.head)
			continue
		}
		block, err := b.decode(nil, &d, "fuzz")
		if err != nil {
			continue
		}
		seqs := 0
		for range block.Entries() {
			seqs++
		}
		if seqs != int(b.EntryCount) {
			t.Fatalf("%d entries, the header says %d", seqs, b.EntryCount)
		}
	}
}

// FuzzHeader decodes arbitrary bytes as a header that has a good checksum, which
// the fuzzer alone would never find.
func FuzzHeader(f *testing.F) {
	f.Add(fuzzBlock(f, CompressionNone, 1, 1, []byte("hello"))[2:][:minHeaderSize+16])
	f.Add(make([]byte, minHeaderSize))
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) < minHeaderSize || len(p) > maxHeaderSize {
			return
		}
		copy(p, blockMagic[:])
		binary.LittleEndian.PutUint32(p[offHeaderSize:], uint32(len(p)))
		Rechecksum(p, ID(p[offLogID:offNumber]))
		if size, err := headerSizeOf(p); err != nil || size != len(p) {
			t.Fatalf("%d, %v", size, err)
		}
		h, err := parseHeader(p)
		if err != nil {
			return
		}
		if h.LastSeq() < h.FirstSeq || h.StoredSize > h.RawSize || h.RawSize > maxPayloadSize || h.HeaderSize != len(p) {
			t.Fatalf("accepted %+v", h)
		}
		parseDigests(nil, &h, p)
	})
}

func TestBlockRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := Header{
			Number:   rapid.Uint64Range(1, maxBlockNumber).Draw(t, "number"),
			LogID:    ID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id")),
			FirstSeq: rapid.Uint64Range(1, 1<<60).Draw(t, "seq"),
			Time:     time.UnixMilli(rapid.Int64Range(0, 1<<42).Draw(t, "ms")).UTC(),
		}
		var payload []byte
		for _, data := range rapid.SliceOfN(rapid.SliceOf(rapid.Byte()), 1, 5).Draw(t, "entries") {
			if rapid.Bool().Draw(t, "magic") {
				data = append(data, blockMagic[:]...)
			}
			events := rapid.IntRange(1, 9).Draw(t, "events")
			payload = appendEntryFrame(payload, events, data)
			h.EntryCount++
			h.Events += uint32(events)
		}
		digests := rapid.SliceOf(rapid.Uint64()).Draw(t, "digests")
		if rapid.Bool().Draw(t, "magic in the digests") {
			digests = append(digests, binary.LittleEndian.Uint64(blockMagic[:]))
		}
		h.RawSize = len(payload)
		block := appendBlock([]byte("before"), &h, digests, payload)[len("before"):]
		if bytes.Contains(block[1:], blockMagic[:]) {
			t.Fatal("the block contains the magic twice")
		}
		parsed, err := parseHeader(block[:h.HeaderSize])
		if err != nil || parsed != h {
			t.Fatalf("%+v, %v; want %+v", parsed, err, h)
		}
		raw := rawBlock{Header: parsed, head: block[:h.HeaderSize], stored: block[h.HeaderSize:]}
		if !checkPayload(&h, raw.stored) {
			t.Fatal("payload checksum")
		}
		decoded, err := raw.decode(nil, &decompressor{}, "")
		if err != nil || !bytes.Equal(decoded.payload, payload) || !slices.Equal(decoded.Digests, digests) && len(digests) > 0 {
			t.Fatalf("%v: %+v", err, decoded)
		}
	})
}
