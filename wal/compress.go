package wal

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// Compression is how a block's payload is stored. A block that does not become
// smaller is stored as it is, whatever was asked for.
type Compression uint8

// The compressions that a block can name. FORMAT.md gives measured ratios and
// costs.
const (
	CompressionNone Compression = 0
	CompressionS2   Compression = 1
	CompressionZstd Compression = 2
)

func (c Compression) known() bool { return c <= CompressionZstd }

// String returns the name that [ParseCompression] reads.
func (c Compression) String() string {
	switch c {
	case CompressionNone:
		return "none"
	case CompressionS2:
		return "s2"
	case CompressionZstd:
		return "zstd"
	}
	return fmt.Sprintf("compression(%d)", uint8(c))
}

// ParseCompression reads "none", "s2" or "zstd".
func ParseCompression(s string) (Compression, error) {
	for c := CompressionNone; c.known(); c++ {
		if s == c.String() {
			return c, nil
		}
	}
	return 0, fmt.Errorf("wal: compression %q: want none, s2 or zstd", s)
}

// minChunk is from how much of a group's payload on it is compressed while the
// group is still open, by the appender that makes it as much: when the disk is
// free for the group, little is left to do. Chunks are joined to one payload: S2
// blocks and zstd frames can be. They cost about a tenth of the ratio.
const minChunk = 32 << 10

// chunk is a part of a group's payload that is being compressed.
type chunk struct {
	raw    []byte
	stored []byte
	done   chan struct{}
}

// compressor turns payloads into what is stored. Chunks may be compressed
// concurrently; join belongs to the committer.
type compressor struct {
	compression Compression
	zstd        *zstd.Encoder
	spare       sync.Pool // of *[]byte, for compressed chunks
	parts       [][]byte
	joined      []byte
}

func newCompressor(c Compression) (*compressor, error) {
	z := &compressor{compression: c}
	if c == CompressionZstd {
		var err error
		z.zstd, err = zstd.NewWriter(nil,
			zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithEncoderConcurrency(2),
			zstd.WithWindowSize(1<<20),
			zstd.WithEncoderCRC(false),
			zstd.WithLowerEncoderMem(true))
		if err != nil {
			return nil, fmt.Errorf("wal: zstd: %w", err)
		}
	}
	return z, nil
}

// compress compresses a chunk and reports it done.
func (z *compressor) compress(c *chunk) {
	buf, _ := z.spare.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	switch z.compression {
	case CompressionS2:
		if n := s2.MaxEncodedLen(len(c.raw)); cap(*buf) < n {
			*buf = make([]byte, n)
		}
		c.stored = s2.Encode((*buf)[:cap(*buf)], c.raw)
	case CompressionZstd:
		c.stored = z.zstd.EncodeAll(c.raw, (*buf)[:0])
	}
	close(c.done)
}

// join returns a payload as it is to be stored, and the compression to record.
// chunks are its beginning; the rest is compressed here. The result is valid
// until the next call.
func (z *compressor) join(raw []byte, chunks []*chunk) ([]byte, Compression, error) {
	if z.compression == CompressionNone {
		return raw, CompressionNone, nil
	}
	rest := raw
	for _, c := range chunks {
		rest = rest[len(c.raw):]
	}
	if len(rest) > 0 {
		last := &chunk{raw: rest, done: make(chan struct{})}
		z.compress(last)
		chunks = append(chunks, last)
	}
	z.parts = z.parts[:0]
	size := 0
	for _, c := range chunks {
		<-c.done
		z.parts = append(z.parts, c.stored)
		size += len(c.stored)
	}
	defer z.recycle(chunks)
	if size >= len(raw) {
		return raw, CompressionNone, nil
	}
	z.joined = z.joined[:0]
	if z.compression == CompressionS2 {
		var err error
		if z.joined, err = s2.ConcatBlocks(z.joined, z.parts...); err != nil {
			return nil, 0, fmt.Errorf("wal: join compressed parts: %w", err)
		}
		return z.joined, CompressionS2, nil
	}
	for _, p := range z.parts {
		z.joined = append(z.joined, p...)
	}
	return z.joined, CompressionZstd, nil
}

func (z *compressor) recycle(chunks []*chunk) {
	clear(z.parts)
	for _, c := range chunks {
		z.spare.Put(&c.stored)
	}
}

// decompressor is the reading side; safe for concurrent use. The zstd decoder
// is made when the first zstd block comes by. It is never closed, since whoever
// decodes is not waited for; without a stream it holds memory alone.
type decompressor struct {
	once sync.Once
	zstd *zstd.Decoder
	err  error
}

// decompress returns the raw payload, in dst if that is large enough. Stored
// bytes have passed their checksum and had their mask taken off.
func (d *decompressor) decompress(dst []byte, h *Header, stored []byte) ([]byte, error) {
	if cap(dst) < h.RawSize {
		dst = make([]byte, 0, h.RawSize)
	}
	switch h.Compression {
	case CompressionNone:
		return append(dst[:0], stored...), nil
	case CompressionS2:
		if n, err := s2.DecodedLen(stored); err != nil || n != h.RawSize {
			return nil, damageError(reasonPayloadFormat)
		}
		raw, err := s2.Decode(dst[:0:cap(dst)], stored)
		if err != nil {
			return nil, damageError(reasonPayloadFormat)
		}
		return raw, nil
	}
	d.once.Do(func() {
		d.zstd, d.err = zstd.NewReader(nil,
			zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(maxPayloadSize))
	})
	if d.err != nil {
		return nil, fmt.Errorf("wal: zstd: %w", d.err)
	}
	raw, err := d.zstd.DecodeAll(stored, dst[:0])
	if err != nil || len(raw) != h.RawSize {
		return nil, damageError(reasonPayloadFormat)
	}
	return raw, nil
}
