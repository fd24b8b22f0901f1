package wal

import (
	"encoding/binary"
	"hash/crc32"

	tidwall "github.com/tidwall/wal"
)

// Rechecksum gives a changed header its checksum again.
func Rechecksum(header []byte, id ID) {
	sum := crc32.Update(crcSeed(id), castagnoli, header[:len(header)-crcSize])
	binary.LittleEndian.PutUint32(header[len(header)-crcSize:], sum)
}

// NewCompressor returns the committer's way to compress a payload, in chunks or
// at once.
func NewCompressor(c Compression, chunked bool) func([]byte) []byte {
	z, err := newCompressor(c)
	if err != nil {
		panic(err)
	}
	return func(raw []byte) []byte {
		var chunks []*chunk
		for rest := raw; chunked && c != CompressionNone && len(rest) >= minChunk; rest = rest[minChunk:] {
			chunks = append(chunks, &chunk{raw: rest[:minChunk], done: make(chan struct{})})
			z.compress(chunks[len(chunks)-1])
		}
		stored, _, err := z.join(raw, chunks)
		if err != nil {
			panic(err)
		}
		return stored
	}
}

// LendBuffer lets a test see whether the appender underneath takes a buffer.
func LendBuffer(log *tidwall.Log, buffer []byte) bool { return lendBuffer(log, buffer) }
