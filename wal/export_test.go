package wal

import (
	"encoding/binary"
	"hash/crc32"
)

// Rechecksum gives a changed header its checksum again.
func Rechecksum(header []byte, id ID) {
	sum := crc32.Update(crcSeed(id), castagnoli, header[:len(header)-crcSize])
	binary.LittleEndian.PutUint32(header[len(header)-crcSize:], sum)
}

// NewCompressor returns the committer's way to compress a payload.
func NewCompressor(c Compression) func([]byte) []byte {
	z, err := newCompressor(c)
	if err != nil {
		panic(err)
	}
	return func(raw []byte) []byte {
		stored, _ := z.compress(raw)
		return stored
	}
}
