package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// readSize is how much a scan asks of the file system at a time.
const readSize = 256 << 10

// keepWindow is the largest buffer that a window keeps once the block that
// needed it has gone by.
const keepWindow = 1 << 20

// window is a forward view of a file, up to a limit that may grow. It reads
// large pieces and keeps one buffer.
type window struct {
	file  io.ReaderAt
	limit int64 // bytes of the file that may be looked at
	start int64 // file offset of buf[0]
	buf   []byte
	ahead int   // bytes to ask for at a time; 0 = readSize
	reads int64 // bytes read so far
}

// at returns the n bytes at offset, or fewer where the limit or the file's end
// cuts them off. They are valid until the next call.
func (w *window) at(offset int64, n int) ([]byte, error) {
	n = int(min(int64(n), w.limit-offset))
	if n <= 0 {
		return nil, nil
	}
	if offset < w.start || offset+int64(n) > w.start+int64(len(w.buf)) {
		if err := w.fill(offset, n); err != nil {
			return nil, err
		}
	}
	have := w.buf[offset-w.start:]
	return have[:min(n, len(have))], nil
}

// fill makes the buffer hold at least n bytes from offset, if the file has them.
func (w *window) fill(offset int64, n int) error {
	kept := 0
	if w.start <= offset && offset < w.start+int64(len(w.buf)) {
		kept = copy(w.buf, w.buf[offset-w.start:])
	}
	ahead := w.ahead
	if ahead == 0 {
		ahead = readSize
	}
	want := int(min(int64(max(n, ahead)), w.limit-offset))
	if cap(w.buf) < want || cap(w.buf) > keepWindow && want <= readSize {
		buf := make([]byte, want)
		copy(buf, w.buf[:kept])
		w.buf = buf
	}
	w.buf, w.start = w.buf[:want], offset
	got, err := w.file.ReadAt(w.buf[kept:], offset+int64(kept))
	w.reads += int64(got)
	w.buf = w.buf[:kept+got]
	if err != nil && err != io.EOF {
		w.buf = w.buf[:0]
		return err
	}
	return nil
}

// rawBlock is a block as it lies in a file, checked against its checksums but
// not decoded. Its slices are valid until the scan goes on.
type rawBlock struct {
	Header
	prefix int64 // where its length prefix starts, or the block if the prefix is damaged
	offset int64 // where the block itself starts
	end    int64
	head   []byte
	stored []byte
}

// Damage is a run of bytes in a segment file that no block can be read from. It
// has no bytes where all that is wrong is a length prefix that is not there.
type Damage struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Bytes  int64  `json:"bytes"`
	Reason string `json:"reason"`
}

// scanner walks the blocks of one segment file in order. Where a block is
// damaged it finds the next good one by its magic and checksums.
type scanner struct {
	window
	name    string
	offset  int64 // where the next block is expected
	headers bool  // take blocks on their header alone and never read payloads
	valid   func(ID) bool
	// last is the last block passed; blocks must come in ascending order.
	lastNumber, lastSeq uint64
}

// next returns the next block and the damage passed to reach it. At the limit
// it returns io.EOF, with the damage that runs up to it if there is any. Other
// errors are a *FormatError or the file system's.
func (s *scanner) next() (rawBlock, *Damage, error) {
	if s.offset >= s.limit {
		return rawBlock{}, nil, io.EOF
	}
	b, err := s.blockBehindPrefix(s.offset)
	if err == nil {
		s.pass(&b)
		return b, nil, nil
	}
	var why damageError
	if !errors.As(err, &why) {
		return rawBlock{}, nil, err
	}
	damage := &Damage{File: s.name, Offset: s.offset, Reason: string(why)}
	b, err = s.resync(s.offset)
	if err != nil && err != io.EOF {
		return rawBlock{}, nil, err
	}
	if err == io.EOF {
		damage.Bytes = s.limit - damage.Offset
		s.offset = s.limit
		return rawBlock{}, damage, io.EOF
	}
	damage.Bytes = b.offset - damage.Offset
	s.pass(&b)
	return b, damage, nil
}

func (s *scanner) pass(b *rawBlock) {
	s.offset, s.lastNumber, s.lastSeq = b.end, b.Number, b.LastSeq()
}

// blockBehindPrefix reads the block whose length prefix is at offset.
func (s *scanner) blockBehindPrefix(offset int64) (rawBlock, error) {
	p, err := s.at(offset, binary.MaxVarintLen32)
	if err != nil {
		return rawBlock{}, s.readError(offset, err)
	}
	size, n := binary.Uvarint(p)
	if n <= 0 {
		return rawBlock{}, damageError(reasonPrefix)
	}
	b, err := s.blockAt(offset + int64(n))
	if err != nil {
		return rawBlock{}, err
	}
	if size != uint64(b.Size()) {
		return rawBlock{}, damageError(reasonPrefix)
	}
	b.prefix = offset
	return b, nil
}

// blockAt reads the block whose magic is at offset.
func (s *scanner) blockAt(offset int64) (rawBlock, error) {
	p, err := s.at(offset, prologueSize)
	if err != nil {
		return rawBlock{}, s.readError(offset, err)
	}
	if len(p) < prologueSize {
		return rawBlock{}, damageError(reasonShort)
	}
	size, err := headerSizeOf(p)
	if err != nil {
		return rawBlock{}, err
	}
	if p, err = s.at(offset, size); err != nil {
		return rawBlock{}, s.readError(offset, err)
	}
	if len(p) < size {
		return rawBlock{}, damageError(reasonShort)
	}
	h, err := parseHeader(p)
	if err != nil {
		var unknown *FormatError
		if errors.As(err, &unknown) {
			unknown.File, unknown.Offset = s.name, offset
		}
		return rawBlock{}, err
	}
	if !s.valid(h.LogID) {
		return rawBlock{}, damageError(reasonForeign)
	}
	if h.Number <= s.lastNumber || h.FirstSeq <= s.lastSeq {
		return rawBlock{}, damageError(reasonOrder)
	}
	b := rawBlock{Header: h, prefix: offset, offset: offset, end: offset + int64(h.Size())}
	if b.end > s.limit {
		return rawBlock{}, damageError(reasonShort)
	}
	if s.headers {
		b.head = p
		return b, nil
	}
	if p, err = s.at(offset, h.Size()); err != nil {
		return rawBlock{}, s.readError(offset, err)
	}
	if len(p) < h.Size() {
		return rawBlock{}, damageError(reasonShort)
	}
	b.head, b.stored = p[:size], p[size:]
	if !checkPayload(&h, b.stored) {
		return rawBlock{}, damageError(reasonPayloadCRC)
	}
	return b, nil
}

// resync finds the first good block whose magic is at or after offset.
func (s *scanner) resync(offset int64) (rawBlock, error) {
	for offset < s.limit {
		p, err := s.at(offset, readSize)
		if err != nil {
			return rawBlock{}, s.readError(offset, err)
		}
		i := bytes.Index(p, blockMagic[:])
		if i < 0 {
			if len(p) < len(blockMagic) || offset+int64(len(p)) >= s.limit {
				break
			}
			offset += int64(len(p) - len(blockMagic) + 1)
			continue
		}
		offset += int64(i)
		b, err := s.blockAt(offset)
		var why damageError
		if !errors.As(err, &why) {
			return b, err
		}
		offset += int64(len(blockMagic))
	}
	return rawBlock{}, io.EOF
}

func (s *scanner) readError(offset int64, err error) error {
	return fmt.Errorf("wal: read %s at offset %d: %w", s.name, offset, err)
}

// undecodable is the damage of a block that decode has refused.
func (b *rawBlock) undecodable(file string, why damageError) *Damage {
	return &Damage{File: file, Offset: b.prefix, Bytes: b.end - b.prefix, Reason: string(why)}
}

// decode turns a checked block into one that owns its memory. Its payload goes
// to dst if that is large enough.
func (b *rawBlock) decode(dst []byte, d *decompressor, file string) (*Block, error) {
	stored := b.stored
	if b.Mask != 0 {
		stored = bytes.Clone(stored)
		applyMask(stored, b.Mask)
	}
	raw, err := d.decompress(dst, &b.Header, stored)
	if err != nil {
		return nil, err
	}
	if !checkEntries(&b.Header, raw) {
		return nil, damageError(reasonPayloadFormat)
	}
	return &Block{
		Header:  b.Header,
		Digests: parseDigests(nil, &b.Header, b.head),
		File:    file,
		Offset:  b.offset,
		payload: raw,
	}, nil
}
