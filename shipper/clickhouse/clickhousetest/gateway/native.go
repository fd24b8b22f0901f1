package main

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/ClickHouse/ch-go/compress"
)

// frameBytes is how much uncompressed output one compression frame holds.
const frameBytes = 1 << 20

// handshakeBlock is one row in Native format that answers handshakeQuery. The client reads this one block at its own
// newest revision, with block information and a serialization byte, and every later one at the revision that the block
// names: 0, because that is how the library encodes Native.
func handshakeBlock(version string) []byte {
	b := []byte{1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0} // block information: no overflow, no bucket
	text := func(s string) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	column := func(name, kind string) {
		text(name)
		text(kind)
		b = append(b, 0) // no custom serialization
	}
	b = binary.AppendUvarint(b, 4) // columns
	b = binary.AppendUvarint(b, 1) // rows
	column("displayName()", "String")
	text("gateway")
	column("version()", "String")
	text(version)
	column("revision()", "UInt32")
	b = binary.LittleEndian.AppendUint32(b, 0)
	column("timezone()", "String")
	text("UTC")
	return b
}

// compressFrames wraps output in the native protocol's compression frames.
func compressFrames(output []byte, method string) ([]byte, error) {
	var writer *compress.Writer
	switch method {
	case "", "LZ4":
		writer = compress.NewWriter(compress.LevelZero, compress.LZ4)
	case "ZSTD":
		writer = compress.NewWriter(compress.LevelZero, compress.ZSTD)
	default:
		return nil, fmt.Errorf("the gateway does not compress with %q", method)
	}
	var framed []byte
	for chunk := range slices.Chunk(output, frameBytes) {
		if err := writer.Compress(chunk); err != nil {
			return nil, fmt.Errorf("compress the answer: %w", err)
		}
		framed = append(framed, writer.Data...)
	}
	return framed, nil
}
