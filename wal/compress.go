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

// compressor turns payloads into what is stored. It belongs to one goroutine.
type compressor struct {
	compression Compression
	zstd        *zstd.Encoder
	buf         []byte
}

func newCompressor(c Compression) (*compressor, error) {
	z := &compressor{compression: c}
	if c == CompressionZstd {
		var err error
		z.zstd, err = zstd.NewWriter(nil,
			zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(1<<20),
			zstd.WithEncoderCRC(false),
			zstd.WithLowerEncoderMem(true))
		if err != nil {
			return nil, fmt.Errorf("wal: zstd: %w", err)
		}
	}
	return z, nil
}

// compress returns raw as it is to be stored and the compression to record. The
// result is valid until the next call.
func (z *compressor) compress(raw []byte) ([]byte, Compression) {
	switch z.compression {
	case CompressionS2:
		if n := s2.MaxEncodedLen(len(raw)); cap(z.buf) < n {
			z.buf = make([]byte, n)
		}
		z.buf = s2.Encode(z.buf[:cap(z.buf)], raw)
	case CompressionZstd:
		z.buf = z.zstd.EncodeAll(raw, z.buf[:0])
	default:
		return raw, CompressionNone
	}
	if len(z.buf) >= len(raw) {
		return raw, CompressionNone
	}
	return z.buf, z.compression
}

// decompressor is the reading side; safe for concurrent use. The zstd decoder
// is made when the first zstd block comes by.
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

func (d *decompressor) close() {
	d.once.Do(func() {})
	if d.zstd != nil {
		d.zstd.Close()
	}
}
