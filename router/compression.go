package router

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"

	"forebay/router/event"
)

// encoding is a Content-Encoding that bodies may have.
type encoding uint8

const (
	encodingNone encoding = iota
	encodingGzip
	encodingDeflate
	encodingZstd
	encodingBrotli
	encodingUnknown
)

// parseEncoding reads the Content-Encoding headers of a request. One after the
// other is not taken.
func parseEncoding(headers []string) encoding {
	if len(headers) == 0 {
		return encodingNone
	}
	if len(headers) > 1 {
		return encodingUnknown
	}
	switch strings.ToLower(strings.TrimSpace(headers[0])) {
	case "", "identity":
		return encodingNone
	case "gzip", "x-gzip":
		return encodingGzip
	case "deflate":
		return encodingDeflate
	case "zstd":
		return encodingZstd
	case "br":
		return encodingBrotli
	}
	return encodingUnknown
}

// decompressors is a fixed number of decompressors that requests take turns
// with. That bounds the memory for their windows: each keeps at most about 16
// MiB for Brotli, 8 MiB for zstd, and 32 KiB for each of the others.
type decompressors struct {
	free chan *decompressor
}

// zstdWindowBytes is the largest window that RFC 8878 asks decoders to take.
const zstdWindowBytes = 8 << 20

func newDecompressors(n int) *decompressors {
	d := &decompressors{free: make(chan *decompressor, n)}
	for range n {
		d.free <- &decompressor{}
	}
	return d
}

// decompressor holds one reader of each kind, made when first needed.
type decompressor struct {
	source bytes.Reader
	gzip   members
	zlib   io.ReadCloser
	flate  io.ReadCloser
	zstd   *zstd.Decoder
	brotli *brotli.Reader
}

// decompress reads all of body into a buffer from pool, which the caller puts
// back. Of what comes out it takes limit bytes; more are refused.
func (d *decompressors) decompress(ctx context.Context, pool *buffers, body []byte, e encoding, limit int) (*buffer, event.Refusal) {
	if e == encodingUnknown {
		return nil, event.Refusal{Reason: event.Malformed, Rule: ruleEncoding}
	}
	var z *decompressor
	select {
	case z = <-d.free:
	case <-ctx.Done():
		return nil, event.Refusal{Reason: event.Malformed, Rule: ruleRead}
	}
	defer func() { d.free <- z }()
	src, err := z.reset(body, e)
	if err != nil {
		return nil, event.Refusal{Reason: event.Malformed, Rule: ruleCorrupt}
	}
	out, _, _, refusal := pool.readBody(src, limit, limit)
	switch {
	case refusal.Rule == ruleRead:
		return nil, event.Refusal{Reason: event.Malformed, Rule: ruleCorrupt}
	case refusal.Reason == event.TooLarge:
		return nil, event.Refusal{Reason: event.TooLarge, Rule: event.RuleBatchBytes}
	case refusal.Refused():
		return nil, refusal
	case z.source.Len() > 0:
		pool.put(out)
		return nil, event.Refusal{Reason: event.Malformed, Rule: ruleCorrupt}
	}
	return out, event.Refusal{}
}

var errEncoding = errors.New("unknown content encoding")

// reset starts the reader for e at the beginning of body.
func (z *decompressor) reset(body []byte, e encoding) (src io.Reader, err error) {
	z.source.Reset(body)
	switch e {
	case encodingGzip:
		return &z.gzip, z.gzip.reset(&z.source, body)
	case encodingDeflate:
		return z.resetDeflate(body)
	case encodingZstd:
		if z.zstd == nil {
			z.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
				zstd.WithDecoderMaxWindow(zstdWindowBytes))
			if err != nil {
				return nil, fmt.Errorf("make a zstd decoder: %w", err)
			}
		}
		return z.zstd, z.zstd.Reset(&z.source)
	case encodingBrotli:
		if z.brotli == nil {
			z.brotli = brotli.NewReader(&z.source)
		}
		return z.brotli, z.brotli.Reset(&z.source)
	}
	return nil, errEncoding
}

// members reads a gzip body: one member after the other and, as gzip does, past
// the zero bytes that a sender of whole blocks leaves behind them. Anything else
// there is an error.
type members struct {
	gzip.Reader
	body   []byte
	source *bytes.Reader // reads body
}

func (m *members) reset(source *bytes.Reader, body []byte) error {
	m.source, m.body = source, body
	return m.next()
}

// next starts the member at which source stands.
func (m *members) next() error {
	err := m.Reset(m.source)
	m.Multistream(false)
	return err
}

func (m *members) Read(p []byte) (n int, err error) {
	for {
		n, err = m.Reader.Read(p)
		if !errors.Is(err, io.EOF) {
			return n, err
		}
		if n > 0 {
			return n, nil // the end of this member comes again
		}
		if rest := m.body[len(m.body)-m.source.Len():]; len(bytes.TrimLeft(rest, "\x00")) == 0 {
			m.source.Reset(nil)
			return 0, io.EOF
		}
		if err := m.next(); err != nil {
			return 0, err
		}
	}
}

// resetDeflate tells the two layouts in use apart: zlib's, as HTTP defines
// deflate, and the bare stream, as some clients send it. A bare stream never
// starts like zlib's header: that would be a stored block with padding set.
func (z *decompressor) resetDeflate(body []byte) (io.Reader, error) {
	var err error
	if len(body) >= 2 && body[0]&0x0f == 8 && (int(body[0])<<8|int(body[1]))%31 == 0 {
		if z.zlib == nil {
			z.zlib, err = zlib.NewReader(&z.source)
			return z.zlib, err
		}
		return z.zlib, z.zlib.(zlib.Resetter).Reset(&z.source, nil)
	}
	if z.flate == nil {
		z.flate = flate.NewReader(&z.source)
		return z.flate, nil
	}
	return z.flate, z.flate.(flate.Resetter).Reset(&z.source, nil)
}
