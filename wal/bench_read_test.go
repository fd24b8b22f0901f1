package wal_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"

	"forebay/wal"
	"forebay/wal/waltest/benchmark"
)

// buildLog makes a log of about size bytes on the disk, as fast as it can.
func buildLog(b *testing.B, o wal.Options, size int64) *wal.Log {
	b.Helper()
	o.SyncInterval = time.Minute
	l, err := wal.Open(o)
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	for c := range 32 {
		wg.Go(func() {
			for n := c; l.Stats().Bytes < size; n += 32 {
				record := sampleRecord(n)
				digests := make([]uint64, 10)
				for i := range digests {
					digests[i] = uint64(n*10+i) * 0x9E3779B97F4A7C15
				}
				if _, err := l.Append(b.Context(), wal.Entry{Data: record, Events: 10, Digests: digests}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return l
}

// BenchmarkReadHistory compares a reader over history with a loop that reads the
// same files in large pieces, checks CRC-32C and decompresses.
func BenchmarkReadHistory(b *testing.B) {
	b.Run("blocks=released", func(b *testing.B) { benchmarkReadHistory(b, true) })
	b.Run("blocks=kept", func(b *testing.B) { benchmarkReadHistory(b, false) })
}

func benchmarkReadHistory(b *testing.B, release bool) {
	o := wal.Options{Dir: filepath.Join(benchDir(b), "log"), Compression: wal.CompressionS2, ReserveBytes: -1}
	l := buildLog(b, o, 64<<20)
	defer l.Close()
	var ratios rounds
	var use benchmark.Meter
	b.ResetTimer()
	for range b.N {
		use.Begin(b)
		n := readHistory(b, l, release)
		took := use.End(b)
		b.StopTimer()
		began := time.Now()
		if m := readPlain(b, o.Dir); m != n {
			b.Fatalf("the loop read %d bytes, the reader %d", m, n)
		}
		ratios.add(time.Since(began), took)
		b.SetBytes(n)
		b.StartTimer()
	}
	ratios.report(b, "ratio")
	use.Report(b, float64(l.DurableSeq())*float64(b.N))
}

func readHistory(b *testing.B, l *wal.Log, release bool) (raw int64) {
	r := l.NewReader(1)
	defer r.Close()
	ctx := ended()
	for {
		block, err := r.Next(ctx)
		if err != nil {
			return raw
		}
		raw += int64(block.RawSize)
		if release {
			block.Release()
		}
	}
}

// readPlain is the ceiling: it knows where the fields are and checks nothing but
// the checksums.
func readPlain(b *testing.B, dir string) (raw int64) {
	table := crc32.MakeTable(crc32.Castagnoli)
	buf, out := make([]byte, 0, 1<<20), make([]byte, 8<<20)
	for _, path := range segmentFiles(b, dir) {
		f, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		in := &pieces{file: f, buf: buf[:0]}
		for {
			p := in.peek(10)
			if len(p) == 0 {
				break
			}
			size, n := binary.Uvarint(p)
			block := in.peek(n + int(size))[n:]
			head := int(binary.LittleEndian.Uint32(block[12:]))
			sum := crc32.Update(0, table, block[:head])
			sum = crc32.Update(sum, table, block[head:])
			runtime.KeepAlive(sum)
			got, err := s2.Decode(out, block[head:])
			if err != nil {
				b.Fatal(err)
			}
			raw += int64(len(got))
			in.skip(n + int(size))
		}
		buf = in.buf
		f.Close()
	}
	return raw
}

// pieces reads a file 256 KiB at a time.
type pieces struct {
	file io.Reader
	buf  []byte
	used int
}

func (p *pieces) peek(n int) []byte {
	for len(p.buf)-p.used < n {
		rest := copy(p.buf, p.buf[p.used:])
		p.buf, p.used = p.buf[:rest], 0
		want := max(256<<10, n-rest)
		if cap(p.buf) < rest+want {
			p.buf = append(make([]byte, 0, rest+want), p.buf...)
		}
		got, err := p.file.Read(p.buf[rest : rest+want])
		p.buf = p.buf[:rest+got]
		if err != nil {
			return p.buf[p.used:]
		}
	}
	return p.buf[p.used : p.used+n]
}

func (p *pieces) skip(n int) { p.used += n }

// BenchmarkTailReader measures what readers at the tail cost the appenders: it
// compares rounds with one and without. The disk makes single rounds differ by
// more than the reader costs: with -benchtime 60s, some 800 rounds, runs agree
// within a hundredth, with 6s they scatter by three.
func BenchmarkTailReader(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4)) // as the node does
	records := make([][]byte, 512)
	for i := range records {
		records[i] = sampleRecord(i)
	}
	l, err := wal.Open(wal.Options{Dir: benchDir(b), Compression: wal.CompressionS2, ReserveBytes: -1})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	const round = appendRound * 64
	var ratios rounds
	b.ResetTimer()
	for left := b.N; left > 0; left -= round {
		n := min(left, round)
		appends := func() { appendAll(b, l, records, 64, n) }
		var with, without time.Duration
		if len(ratios)%2 == 0 { // whichever is second finds the first one's garbage
			with = besideReader(b, l, appends)
			without = timed(appends)
		} else {
			without = timed(appends)
			with = besideReader(b, l, appends)
		}
		ratios.add(without, with)
	}
	ratios.report(b, "of-no-reader")
}

// besideReader runs f while a reader follows the log's tail.
func besideReader(b *testing.B, l *wal.Log, f func()) time.Duration {
	r := l.NewReader(l.DurableSeq() + 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			block, err := r.Next(b.Context())
			if err != nil {
				return
			}
			block.Release()
		}
	})
	took := timed(f)
	r.Close()
	wg.Wait()
	return took
}

// BenchmarkOpen opens a log of as many segments as 10 GB have at the default
// size, with their headers in the page cache.
func BenchmarkOpen(b *testing.B) {
	const segments = 1250
	o := wal.Options{Dir: filepath.Join(benchDir(b), "log"), SegmentBytes: 64 << 10, Compression: wal.CompressionS2, ReserveBytes: -1}
	l := buildLog(b, o, segments*64<<10)
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	var before, after runtime.MemStats
	b.ResetTimer()
	for range b.N {
		runtime.ReadMemStats(&before)
		l, err := wal.Open(o)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := l.Append(b.Context(), wal.Entry{Data: []byte("x"), Events: 1}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		runtime.ReadMemStats(&after)
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/(1<<20), "MB-allocated")
	b.ReportMetric(float64(len(segmentFiles(b, o.Dir))), "segments")
}

// BenchmarkDigests reads the digests of 4,000,000 idempotency keys from block
// headers, beside a loop that reads the same files whole.
func BenchmarkDigests(b *testing.B) {
	const keys = 4_000_000
	o := wal.Options{Dir: filepath.Join(benchDir(b), "log"), Compression: wal.CompressionS2, ReserveBytes: -1, SyncInterval: time.Minute}
	l, err := wal.Open(o)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	var wg sync.WaitGroup
	for c := range 32 {
		wg.Go(func() {
			for n := c; n < keys/100; n += 32 {
				data := bytes.Join([][]byte{sampleRecord(10 * n), sampleRecord(10*n + 1), sampleRecord(10*n + 2)}, nil)
				digests := make([]uint64, 100)
				for i := range digests {
					digests[i] = uint64(n*100+i) * 0x9E3779B97F4A7C15
				}
				if _, err := l.Append(b.Context(), wal.Entry{Data: data, Events: 100, Digests: digests}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	var ratios rounds
	b.ResetTimer()
	for range b.N {
		began := time.Now()
		total := 0
		if err := l.Digests(b.Context(), 1, func(_ wal.Header, d []uint64) error { total += len(d); return nil }); err != nil || total != keys {
			b.Fatal(total, err)
		}
		took := time.Since(began)
		b.StopTimer()
		began = time.Now()
		for _, path := range segmentFiles(b, o.Dir) {
			readFile(b, path)
		}
		ratios.add(time.Since(began), took)
		b.StartTimer()
	}
	ratios.report(b, "of-no-reader")
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/4M-keys")
}

// BenchmarkCompression measures ratio and cost on groups of sample records.
func BenchmarkCompression(b *testing.B) {
	for _, group := range []int{1, 32} {
		var data []byte
		for i := range group {
			data = append(data, sampleRecord(i*7919)...)
		}
		for _, c := range []wal.Compression{wal.CompressionNone, wal.CompressionS2, wal.CompressionZstd} {
			b.Run(fmt.Sprintf("%v/records=%d", c, group), func(b *testing.B) {
				z := wal.NewCompressor(c, true)
				b.SetBytes(int64(len(data)))
				stored := 0
				for b.Loop() {
					stored = len(z(data))
				}
				b.ReportMetric(float64(len(data))/float64(stored), "times-smaller")
			})
		}
	}
}
