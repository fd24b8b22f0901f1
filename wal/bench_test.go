package wal_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"forebay/wal"
	"forebay/wal/waltest/benchmark"
)

// sampleRecord is about 3.5 KB that compress like a batch of ten events.
func sampleRecord(n int) []byte {
	var b bytes.Buffer
	for i := range 10 {
		fmt.Fprintf(&b, `{"eventType":"click","timestamp":"2026-11-23T10:%02d:%02d.%03dZ","sessionId":"5c2f%08x-%d","route":"/cart/%d",`+
			`"target":{"type":"element","id":"buy-%x","selector":"#main > div.cart:nth-child(%d) > button.buy","tagName":"button"},`+
			`"metadata":{"clientX":%d,"clientY":%d,"scrollDepth":%d},"environment":"production","idempotencyKey":"5c2f%08x-%d-%d"}`,
			n%60, i, (n*37+i)%1000, n*2654435761, i%3, n%977, n*31+i, i, (n*7919+i*13)%1920, (n*104729+i*7)%1080, (n+i)%100, n*2654435761, n, i)
	}
	return b.Bytes()
}

// benchDir is a folder on the disk to measure: the one for temporary files, or
// BENCH_DIR where that is memory.
func benchDir(b *testing.B) string {
	dir, err := os.MkdirTemp(os.Getenv("BENCH_DIR"), "wal-bench-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// BenchmarkAppend compares appends with a ceiling: the same compressed bytes in
// groups of the same size, written and synced to a plain file.
func BenchmarkAppend(b *testing.B) {
	for _, goroutines := range []int{1, 64} {
		b.Run(fmt.Sprintf("goroutines=%d", goroutines), func(b *testing.B) {
			benchmarkAppend(b, goroutines, 4)
		})
	}
	b.Run("goroutines=64/procs=1", func(b *testing.B) { benchmarkAppend(b, 64, 1) })
}

// appendRound is how many records each goroutine appends before the ceiling has
// its turn: short turns keep the ratio fair while others use the disk, but not so
// short that the half empty groups of a turn's beginning and end count.
const appendRound = 48

func benchmarkAppend(b *testing.B, goroutines, procs int) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
	records := make([][]byte, 512)
	for i := range records {
		records[i] = sampleRecord(i)
	}
	var groups []int64
	var syncs, took time.Duration
	var ratios rounds
	var use benchmark.Meter
	times := make([]time.Duration, 0, b.N)
	l, err := wal.Open(wal.Options{Dir: benchDir(b), Compression: wal.CompressionS2, OnCommit: func(c wal.Commit) {
		groups = append(groups, c.Bytes)
		syncs += c.Sync
	}})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	plain := newPlainFile(b)
	b.SetBytes(int64(len(records[0])))
	b.ResetTimer()
	total := 0
	round := appendRound * goroutines
	for left := b.N; left > 0; left -= round {
		groups = groups[:0]
		b.StartTimer()
		use.Begin(b)
		times = append(times, appendAll(b, l, records, goroutines, min(left, round))...)
		this := use.End(b)
		b.StopTimer()
		took += this
		total += len(groups)
		ratios.add(plain.writeAndSync(b, groups), this)
	}
	ratios.report(b, "ratio")
	use.Report(b, 10*float64(b.N)) // of ten events each
	slices.Sort(times)
	b.ReportMetric(times[len(times)/2].Seconds()*1000, "p50-ms")
	b.ReportMetric(times[len(times)*99/100].Seconds()*1000, "p99-ms")
	b.ReportMetric(float64(b.N)/float64(total), "records/group")
	b.ReportMetric(float64(syncs)/float64(took), "share-in-sync")
}

// rounds are ratios of a ceiling's time to a measured time, taken in turns. The
// median holds while the machine is busy with other things now and then.
type rounds []float64

func (r *rounds) add(ceiling, took time.Duration) {
	*r = append(*r, float64(ceiling)/float64(took))
}

func (r rounds) report(b *testing.B, unit string) {
	slices.Sort(r)
	b.ReportMetric(r[len(r)/2], unit)
}

// appendAll appends n records from several goroutines and returns how long each
// append took.
func appendAll(b *testing.B, l *wal.Log, records [][]byte, goroutines, n int) []time.Duration {
	times := make([]time.Duration, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for {
				i := int(next.Add(1))
				if i > n {
					return
				}
				began := time.Now()
				if _, err := l.Append(b.Context(), wal.Entry{Data: records[i%len(records)], Events: 10}); err != nil {
					b.Error(err)
					return
				}
				times[i-1] = time.Since(began)
			}
		})
	}
	wg.Wait()
	return times
}

// timed is how long f takes.
func timed(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}

// plainFile is the ceiling's file.
type plainFile struct {
	*os.File
	noise []byte
}

func newPlainFile(b *testing.B) plainFile {
	f, err := os.Create(filepath.Join(benchDir(b), "ceiling"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	noise := make([]byte, 8<<20)
	rand.NewChaCha8([32]byte{}).Read(noise)
	return plainFile{f, noise}
}

// writeAndSync writes groups of the given sizes, syncs after each, and returns
// how long that takes.
func (f plainFile) writeAndSync(b *testing.B, groups []int64) time.Duration {
	began := time.Now()
	for _, n := range groups {
		if _, err := f.Write(f.noise[:n]); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(began)
}
